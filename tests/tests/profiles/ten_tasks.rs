//! A profile of ten tasks on five machines, each with a package manager's root of its own.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::package::{self, Package};
use crate::world::{
    Device, OWN_FOLDER, World, command, counted, each, outcomes, text, to, unless, with,
};

/// How many machines.
const MACHINES: usize = 5;
/// What the profile writes to a file.
const MOTD: &str = "Unauthorised use is prohibited.\nAsk 'us' for \"access\": $HOME \\ `id`\n";
/// Tasks that write a line each time that they run, by the file in which they do.
const COUNTED: [&str; 7] =
    ["greeting", "folder", "installed", "licence", "colour", "shell", "after"];

/// Machines that a package can be installed on, and the profile for them.
struct Fleet {
    world: World,
    devices: Vec<Device>,
    profile: String,
    _package: Package,
}

impl Fleet {
    async fn start() -> Self {
        let world = World::start().await;
        let package = Package::build();
        let mut devices = Vec::new();
        for number in 0..MACHINES {
            let folder = TempDir::new().unwrap();
            let environment = package::root(folder.path());
            let name = format!("device-{number}");
            devices.push(Device::start_in(&world, &name, folder, environment).await);
        }
        let tasks = ten_tasks(&world, &package).await;
        let profile = world.profile("Linux Baseline", &tasks).await;
        Self { world, devices, profile, _package: package }
    }

    fn all(&self) -> Vec<&Device> {
        self.devices.iter().collect()
    }

    async fn progress(&self, rollout: &Value, number: usize) -> Value {
        self.world.progress(&text(&rollout["id"]), &self.devices[number]).await
    }

    /// Boots these machines as soon as their reboot was begun, the first of them when it is known.
    async fn reboot(&mut self, rollout: &str, numbers: &[usize]) {
        for number in numbers {
            let device = &mut self.devices[*number];
            device.gets("reboot").await;
            if numbers.first() == Some(number) {
                self.world.reaches(rollout, device, "waiting_for_reboot").await;
            }
            device.reboot("boot-2");
        }
    }

    /// How often each task of each machine ran.
    fn counts(&self) -> Vec<[usize; COUNTED.len()]> {
        self.devices.iter().map(|device| COUNTED.map(|task| device.lines(task))).collect()
    }
}

async fn ten_tasks(world: &World, package: &Package) -> Vec<Value> {
    let greeting = "echo ran >> \"$DEVICE/greeting\"; printf %s \"$who\" > \"$DEVICE/who\"";
    let parameters = json!([{ "name": "who", "type": "string", "required": true }]);
    let script = world.script("Greet", greeting, parameters).await;
    let greet = json!({
        "name": "Greet", "action_type": "script", "script_id": script,
        "parameters": { "who": "it's $(id)" },
    });
    let variant = json!({
        "os_type": "linux", "installer": "apt", "package": package::NAME,
        "url": package.file, "sha256": package.sha256,
    });
    let wish = json!({ "name": "Probe", "variants": [variant] });
    let software = world.api.post("/software", &wish).await["id"].clone();
    let probe = json!({ "name": "Probe", "action_type": "software", "software_id": software });
    let licence = counted("licence", "test ! -e \"$DEVICE/broken\" && touch \"$DEVICE/licensed\"");
    let file = json!({ "path": format!("{OWN_FOLDER}/motd"), "content": MOTD, "mode": "0640" });
    let colour = with(
        counted("colour", "printf '%s %s' \"$colour\" > \"$DEVICE/paint\""),
        json!({ "environment": { "colour": "green" }, "args": ["and $(red)"] }),
    );
    let shell = with(
        counted("shell", "[[ -n $BASH_VERSION ]] && touch \"$DEVICE/bash\""),
        json!({ "shell_type": "bash" }),
    );
    let wait = json!({
        "name": "Wait for the folder", "action_type": "wait", "payload": "test -d \"$DEVICE/data\"",
        "interval": 1, "timeout": 60,
    });
    let reboot = json!({
        "name": "Reboot", "action_type": "reboot",
        "reboot": { "only_if_changed": true, "command": "touch \"$DEVICE/reboot\"" },
    });
    vec![
        unless(greet, "test -s \"$DEVICE/who\""),
        unless(counted("folder", "mkdir -p \"$DEVICE/data\""), "test -d \"$DEVICE/data\""),
        probe,
        unless(licence, "test -e \"$DEVICE/licensed\""),
        json!({ "name": "Message of the day", "action_type": "file", "file": file }),
        unless(colour, "grep -q green \"$DEVICE/paint\""),
        wait,
        unless(shell, "test -e \"$DEVICE/bash\""),
        reboot,
        unless(counted("after", "touch \"$DEVICE/rebooted\""), "test -e \"$DEVICE/rebooted\""),
    ]
}

/// Every file beneath a folder, with what is in it and who may read it.
fn files(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
        if path.is_dir() {
            found.extend(files(&path));
            found.insert(path, (mode, Vec::new()));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path, (mode, bytes));
        }
    }
    found
}

fn assert_in_place(device: &Device) {
    assert_eq!(device.read("who"), "it's $(id)");
    assert_eq!(device.read("paint"), "green and $(red)");
    assert_eq!(device.read(&format!("usr/share/{}/README", package::NAME)), "It is here.\n");
    let motd = device.own_file("motd");
    assert_eq!(std::fs::read_to_string(&motd).unwrap(), MOTD);
    assert_eq!(std::fs::metadata(&motd).unwrap().permissions().mode() & 0o7777, 0o640);
}

#[tokio::test]
async fn ten_tasks_make_five_machines_what_the_profile_says_and_a_second_time_change_nothing() {
    let mut fleet = Fleet::start().await;
    let wish = to(&fleet.all());
    let rollout = fleet.world.apply(&fleet.profile, &wish).await;
    fleet.reboot(&rollout, &[0, 1, 2, 3, 4]).await;
    let first = fleet.world.ended(&rollout).await;
    assert_eq!((&first["status"], &first["done"]), (&json!("completed"), &json!(5)), "{first}");
    assert_eq!(each(&first["tasks"], "position"), (1..=10).map(Value::from).collect::<Vec<_>>());
    for (number, device) in fleet.devices.iter().enumerate() {
        let progress = fleet.progress(&first, number).await;
        assert_eq!((&progress["status"], &progress["position"]), (&json!("done"), &Value::Null));
        // To have waited is no change.
        let mut expected = ["changed"; 10];
        expected[6] = "unchanged";
        assert_eq!(outcomes(&progress), expected, "{progress}");
        assert_eq!((&progress["changed"], &progress["errors"]), (&json!(9), &json!(0)));
        assert_in_place(device);
    }
    assert_eq!(fleet.counts(), [[1; COUNTED.len()]; MACHINES]);

    for device in &fleet.devices {
        std::fs::remove_file(device.file("reboot")).unwrap();
    }
    let again = fleet.world.applied(&fleet.profile, &fleet.all()).await;
    assert_eq!((&again["status"], &again["done"]), (&json!("completed"), &json!(5)), "{again}");
    for (number, device) in fleet.devices.iter().enumerate() {
        let progress = fleet.progress(&again, number).await;
        assert_eq!(outcomes(&progress), ["unchanged"; 10], "{progress}");
        assert_eq!((&progress["changed"], &progress["unchanged"]), (&json!(0), &json!(10)));
        assert!(!device.has("reboot"), "nothing changed: nothing to reboot for");
    }
    assert_eq!(fleet.counts(), [[1; COUNTED.len()]; MACHINES]);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_none_of_it() {
    let fleet = Fleet::start().await;
    let before: Vec<_> = fleet.devices.iter().map(|it| files(it.file("").as_path())).collect();
    let dry = fleet.world.dry_run(&fleet.profile, &fleet.all()).await;
    assert_eq!((&dry["status"], &dry["dry_run"]), (&json!("completed"), &json!(true)), "{dry}");
    for number in 0..MACHINES {
        let progress = fleet.progress(&dry, number).await;
        // What the others would have done decides whether these two find anything to do.
        let mut expected = ["would_change"; 10];
        (expected[6], expected[8]) = ("would_run", "would_run");
        assert_eq!(outcomes(&progress), expected, "{progress}");
    }
    for (device, before) in fleet.devices.iter().zip(before) {
        assert_eq!(files(device.file("").as_path()), before);
        assert!(!device.own_file("motd").exists());
    }
    let nothing = format!("/rollouts/{}/retry", text(&dry["id"]));
    let nothing = fleet.world.api.problem(Method::POST, &nothing, &json!({})).await;
    assert_eq!(nothing, (409, "WRONG_STATE".into()), "every device is done");
}

#[tokio::test]
async fn a_machine_that_fails_stops_alone_and_goes_on_at_that_task_once_it_is_mended() {
    let mut fleet = Fleet::start().await;
    fleet.devices[2].touch("broken");
    let wish = to(&fleet.all());
    let id = fleet.world.apply(&fleet.profile, &wish).await;
    fleet.reboot(&id, &[0, 1, 3, 4]).await;
    let rollout = fleet.world.ended(&id).await;
    assert_eq!(rollout["status"], "completed_with_errors", "{rollout}");
    assert_eq!((&rollout["done"], &rollout["failed"]), (&json!(4), &json!(1)), "{rollout}");
    let progress = fleet.progress(&rollout, 2).await;
    assert_eq!((&progress["status"], &progress["position"]), (&json!("failed"), &json!(4)));
    assert_eq!(outcomes(&progress), ["changed", "changed", "changed", "failed"], "{progress}");
    assert_eq!(progress["tasks"][3]["failure_code"], "EXIT_CODE", "{progress}");
    assert_eq!(fleet.counts()[2], [1, 1, 1, 1, 0, 0, 0]);
    let failed = format!("/rollouts/{id}/devices?status=failed");
    let failed = fleet.world.api.get(&failed).await;
    assert_eq!(each(&failed["items"], "agent_id"), [json!(fleet.devices[2].id)]);

    std::fs::remove_file(fleet.devices[2].file("broken")).unwrap();
    // What the tasks that are done left behind is gone by now: they are done all the same.
    std::fs::remove_file(fleet.devices[2].file("who")).unwrap();
    let again = fleet.world.api.post(&format!("/rollouts/{id}/retry"), &json!({})).await;
    assert_eq!((&again["id"], &again["status"]), (&json!(id), &json!("running")));
    fleet.reboot(&id, &[2]).await;
    let rollout = fleet.world.ended(&id).await;
    assert_eq!((&rollout["status"], &rollout["done"]), (&json!("completed"), &json!(5)));
    let progress = fleet.progress(&rollout, 2).await;
    assert_eq!((&progress["status"], &progress["attempt"]), (&json!("done"), &json!(2)));
    let mut counts = [[1; COUNTED.len()]; MACHINES];
    counts[2][3] = 2;
    assert_eq!(fleet.counts(), counts, "the licence alone was tried twice");
    assert!(!fleet.devices[2].has("who"));
}

#[tokio::test]
async fn software_is_taken_away_again_by_the_same_item() {
    let world = World::start().await;
    let package = Package::build();
    let folder = TempDir::new().unwrap();
    let environment = package::root(folder.path());
    let device = Device::start_in(&world, "device-0", folder, environment).await;
    let tasks = ten_tasks(&world, &package).await;
    let install = tasks[2].clone();
    let readme = format!("usr/share/{}/README", package::NAME);
    let installed = world.profile("Installed", std::slice::from_ref(&install)).await;
    assert_eq!(world.applied(&installed, &[&device]).await["status"], "completed");
    assert!(device.has(&readme));

    let gone = with(install, json!({ "operation": "uninstall" }));
    let removed = world.profile("Removed", &[gone, command("Look", "true")]).await;
    for expected in ["changed", "unchanged"] {
        let rollout = world.applied(&removed, &[&device]).await;
        let progress = world.progress(&text(&rollout["id"]), &device).await;
        assert_eq!(outcomes(&progress), [expected, "changed"], "{progress}");
        assert!(!device.has(&readme));
    }
}
