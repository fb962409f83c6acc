//! A server and real machines, each with a folder of its own in which its tasks leave their marks.

use std::path::PathBuf;
use std::time::Duration;

use muster_tests::{Agent, Api, Server, eventually, eventually_within};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a rollout may take.
const PATIENCE: Duration = Duration::from_mins(3);
/// What tells an agent which boot of its machine it is, where machines share their host's.
const BOOT_ID: &str = "MUSTER_AGENT_BOOT_ID";
/// The folder in which an agent runs, whichever it is: for paths that machines of one host share.
pub(crate) const OWN_FOLDER: &str = "/proc/self/cwd";

/// A server with a customer.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) api: Api,
    pub(crate) customer: String,
    token: String,
}

impl World {
    pub(crate) async fn start() -> Self {
        let server = Server::start().await;
        let api = server.admin().await;
        // Tests ask again and again what has come of something.
        api.put("/settings", &json!({ "rate_limits": false })).await;
        let customer = api.customer("Acme").await;
        let token = enrollment_token(&api, &customer).await;
        Self { server, api, customer, token }
    }

    /// Machines `device-0`, `device-1`, …
    pub(crate) async fn devices<const N: usize>(&self) -> [Device; N] {
        let mut devices = Vec::with_capacity(N);
        for number in 0..N {
            devices.push(Device::start(self, &format!("device-{number}")).await);
        }
        devices.try_into().unwrap()
    }

    /// A profile for Linux with these tasks; answers with its id.
    pub(crate) async fn profile(&self, name: &str, tasks: &[Value]) -> String {
        let wish = json!({ "name": name, "target_os_type": "linux" });
        let id = text(&self.api.post("/profiles", &wish).await["id"]);
        for task in tasks {
            self.api.post(&format!("/profiles/{id}/tasks"), task).await;
        }
        id
    }

    /// A script that `sh` reads; answers with its id.
    pub(crate) async fn script(&self, name: &str, content: &str, parameters: Value) -> String {
        let wish = json!({
            "name": name, "content": content, "script_type": "sh", "parameters": parameters,
        });
        text(&self.api.post("/scripts", &wish).await["id"])
    }

    /// Software that commands detect and install on Linux; answers with its id.
    pub(crate) async fn software(&self, name: &str, detect: &str, install: &str) -> String {
        let variant = json!({
            "os_type": "linux", "installer": "script", "detect": detect, "install": install,
        });
        let wish = json!({ "name": name, "variants": [variant] });
        text(&self.api.post("/software", &wish).await["id"])
    }

    /// Applies a profile; answers with the rollout's id.
    pub(crate) async fn apply(&self, profile: &str, wish: &Value) -> String {
        text(&self.api.post(&format!("/profiles/{profile}/apply"), wish).await["id"])
    }

    pub(crate) async fn rollout(&self, id: &str) -> Value {
        self.api.get(&format!("/rollouts/{id}")).await
    }

    /// How far a device is.
    pub(crate) async fn progress(&self, rollout: &str, device: &Device) -> Value {
        self.api.get(&format!("/rollouts/{rollout}/devices/{}", device.id)).await
    }

    /// The rollout, once it has ended.
    pub(crate) async fn ended(&self, rollout: &str) -> Value {
        eventually_within(PATIENCE, "the rollout ends", async || {
            let shown = self.rollout(rollout).await;
            (shown["status"] != "running").then_some(shown)
        })
        .await
    }

    /// Waits until the device is as far as that.
    pub(crate) async fn reaches(&self, rollout: &str, device: &Device, status: &str) -> Value {
        eventually_within(PATIENCE, status, async || {
            let progress = self.progress(rollout, device).await;
            (progress["status"] == status).then_some(progress)
        })
        .await
    }

    /// Applies a profile to these and waits for its end; answers with the rollout.
    pub(crate) async fn applied(&self, profile: &str, devices: &[&Device]) -> Value {
        self.ended(&self.apply(profile, &to(devices)).await).await
    }

    /// What a profile would do on these, once that is known.
    pub(crate) async fn dry_run(&self, profile: &str, devices: &[&Device]) -> Value {
        let wish = with(to(devices), json!({ "dry_run": true }));
        self.ended(&self.apply(profile, &wish).await).await
    }

    /// Has a device run a command to its end: whatever it was told before has begun by then.
    pub(crate) async fn echo(&self, device: &Device) {
        let id = self.api.queue(&device.id, &json!({ "command": "echo here" })).await;
        assert_eq!(self.api.ended(&id).await["output"], "here\n");
    }
}

/// A machine with a real agent, whose commands find its folder as `$DEVICE`.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) agent: Agent,
    folder: TempDir,
    settings: Vec<(String, String)>,
}

impl Device {
    pub(crate) async fn start(world: &World, name: &str) -> Self {
        Self::start_in(world, name, TempDir::new().unwrap(), Vec::new()).await
    }

    /// One with this folder, whose agent has these environment variables.
    pub(crate) async fn start_in(
        world: &World,
        name: &str,
        folder: TempDir,
        mut settings: Vec<(String, String)>,
    ) -> Self {
        settings.push(("DEVICE".into(), folder.path().display().to_string()));
        settings.push((BOOT_ID.into(), "boot-1".into()));
        let borrowed = borrowed(&settings);
        let agent = Agent::start_with(&world.server, name, &world.token, &borrowed);
        let id = world.api.connected(name).await;
        Self { id, agent, folder, settings }
    }

    /// Kills its agent, and starts it as a machine does that was booted again.
    pub(crate) fn reboot(&mut self, boot_id: &str) {
        self.agent.kill();
        self.boots(boot_id);
    }

    /// Starts its agent, which does not run, as a machine does that boots.
    pub(crate) fn boots(&mut self, boot_id: &str) {
        for (name, value) in &mut self.settings {
            if name == BOOT_ID {
                boot_id.clone_into(value);
            }
        }
        self.agent.restart_with(&borrowed(&self.settings));
    }

    /// A file in its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What tasks know as the file of that name in [`OWN_FOLDER`].
    pub(crate) fn own_file(&self, name: &str) -> PathBuf {
        self.agent.data_dir().with_file_name(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    pub(crate) fn touch(&self, name: &str) {
        std::fs::write(self.file(name), "").unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// How many lines tasks have written to a file in its folder.
    pub(crate) fn lines(&self, name: &str) -> usize {
        self.read(name).lines().count()
    }

    /// Waits until there is a file of that name in its folder.
    pub(crate) async fn gets(&self, name: &str) {
        eventually_within(PATIENCE, name, async || self.has(name).then_some(())).await;
    }

    /// Waits until the process has ended whose id a task wrote to a file in its folder.
    pub(crate) async fn process_ends(&self, name: &str) {
        let id: u32 = self.read(name).trim().parse().unwrap();
        let process = PathBuf::from(format!("/proc/{id}"));
        eventually("the process ends", async || (!process.exists()).then_some(())).await;
    }
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// A token that lets machines in as this customer's.
pub(crate) async fn enrollment_token(api: &Api, customer: &str) -> String {
    let wish = json!({ "customer_id": customer, "name": "tests", "max_uses": null });
    text(&api.post("/enrollment-tokens", &wish).await["token"])
}

/// What applies a profile to these.
pub(crate) fn to(devices: &[&Device]) -> Value {
    let ids: Vec<_> = devices.iter().map(|device| &device.id).collect();
    json!({ "device_ids": ids })
}

/// A task that runs a text.
pub(crate) fn command(name: &str, payload: &str) -> Value {
    json!({ "name": name, "action_type": "command", "payload": payload })
}

/// A task that notes that it ran, with the number of lines in `NAME`, and does what it is for.
pub(crate) fn counted(name: &str, payload: &str) -> Value {
    command(name, &format!("echo ran >> \"$DEVICE/{name}\"; {payload}"))
}

/// The same with more fields.
pub(crate) fn with(mut object: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("fields are expected: {more}") };
    object.as_object_mut().unwrap().extend(more);
    object
}

/// The same with a command that finds out whether there is anything to do.
pub(crate) fn unless(task: Value, check: &str) -> Value {
    with(task, json!({ "check": { "command": check } }))
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// This field of each thing in a list.
pub(crate) fn each(list: &Value, field: &str) -> Vec<Value> {
    let list = list.as_array().unwrap_or_else(|| panic!("not a list: {list}"));
    list.iter().map(|item| item[field].clone()).collect()
}

/// What came of each task of a device, in their order.
pub(crate) fn outcomes(progress: &Value) -> Vec<String> {
    each(&progress["tasks"], "outcome").iter().map(text).collect()
}

/// Deletes something that is there.
pub(crate) async fn delete(api: &Api, path: &str) {
    assert_eq!(api.problem(Method::DELETE, path, &json!({})).await.0, 204, "{path}");
}

/// Sends what is refused; answers with the status, the problem's code and where it points to.
pub(crate) async fn refused(
    api: &Api,
    method: Method,
    path: &str,
    body: &Value,
) -> (u16, String, String) {
    let answer = api.request(method, path).json(body).send().await.unwrap();
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap_or_default();
    let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (status, field(&problem["code"]), field(&problem["errors"][0]["pointer"]))
}
