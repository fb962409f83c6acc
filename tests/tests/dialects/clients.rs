//! The older products' own clients, of which only the address and the credential were changed.

use serde_json::json;

use crate::program::Program;
use crate::world::{World, text};

#[tokio::test]
async fn remote_agent_managers_user_runs_a_command_on_its_websocket_agent() {
    let world = World::start().await;
    let path = format!("/customers/{}/generate-api-key", world.customer);
    let key = text(&world.api.post(&path, &json!({})).await["api_key"]);
    let mut agent = Program::showing(&world, &key, "ram_socket.py", &["lab-1", "3"]);
    agent.did("connected").await;
    let id = world.id("lab-1").await;

    let command = "echo out; echo oops >&2; exit 3";
    let mut user = Program::start(&world, "ram_user.py", &[&id, "bash", command]);
    let listed = user.did("listed").await;
    assert_eq!((&listed["total"], &listed["online"]), (&json!(1), &json!(1)));
    let ended = user.did("ended").await;
    assert_eq!((&ended["status"], &ended["exit_code"]), (&json!("failed"), &json!(3)), "{ended}");
    assert_eq!((&ended["output"], &ended["error"]), (&json!("out\n"), &json!("oops\n")));
    user.ended().await;
    assert_eq!(agent.did("ran").await["task"]["command"], command);

    let body = json!({ "command": "printf '%s|' \"$GREETING\" \"$PWD\"", "args": ["a b", "$(id)"],
        "shell_type": "bash", "environment": { "GREETING": "hello $(id)" },
        "working_directory": "/tmp" });
    let result = world.api.post(&format!("/agents/{id}/command"), &body).await;
    assert_eq!(result["output"], "hello $(id)|/tmp|a b|$(id)|", "{result}");
    let windows = json!({ "command": "dir", "shell_type": "cmd" });
    let result = world.api.post(&format!("/agents/{id}/command"), &windows).await;
    assert_eq!(result["output"], "cmd ran dir\n", "{result}");
    agent.ended().await;
}

#[tokio::test]
async fn remote_agent_managers_customer_sees_its_own_with_its_key_in_either_header() {
    let world = World::start().await;
    let path = format!("/customers/{}/generate-api-key", world.customer);
    let key = text(&world.api.post(&path, &json!({})).await["api_key"]);
    let mut customer = Program::showing(&world, &key, "ram_customer.py", &[]);
    for header in ["Authorization", "X-API-Key"] {
        let looked = customer.did("looked").await;
        assert_eq!(
            (&looked["header"], &looked["profile"]["name"]),
            (&json!(header), &json!("Acme"))
        );
        assert_eq!(looked["agents"]["total"], 0, "{looked}");
    }
    customer.ended().await;
}

#[tokio::test]
async fn remote_agent_managers_http_agent_runs_what_it_asks_for_with_a_key_or_from_a_named_network()
{
    let world = World::start().await;
    world.open_network().await;
    for (hostname, credential) in [("poll-1", world.key.as_str()), ("poll-2", "")] {
        let mut agent = Program::showing(&world, credential, "ram_polling.py", &[hostname, "2"]);
        let id = text(&agent.did("registered").await["agent_id"]);
        let good = world.bash(&id, "echo hello").await;
        let bad = world.bash(&id, "echo oops >&2; exit 4").await;
        let (good, bad) = (world.api.ended(&good).await, world.api.ended(&bad).await);
        assert_eq!((&good["status"], &good["output"]), (&json!("completed"), &json!("hello\n")));
        assert_eq!((&bad["status"], &bad["error"]), (&json!("failed"), &json!("oops\n")));
        assert_eq!(bad["exit_code"], 4, "{bad}");
        agent.ended().await;
        let shown = world.api.get(&format!("/agents/{id}")).await;
        assert_eq!((&shown["hostname"], &shown["status"]), (&json!(hostname), &json!("online")));
        assert_eq!(shown["customer_id"], json!(world.customer));
    }
}

#[tokio::test]
async fn dexagents_agents_run_powershell_in_each_form_that_its_documents_print() {
    let world = World::start().await;
    for form in ["flat", "nested", "path"] {
        let name = format!("agent-{form}");
        let mut agent = Program::start(&world, "dexagents_socket.py", &[form, &name, "2"]);
        agent.did("connected").await;
        let id = world.id(&name).await;
        world.api.post(&format!("/agents/{id}/refresh"), &json!({})).await;
        agent.did("described").await;
        let shown = world.api.get(&format!("/agents/{id}")).await;
        assert_eq!(shown["metrics"]["cpu_percent"], 12.5, "{form}: {shown}");

        // Its own clients name no shell: there is only one.
        let body = json!({ "command": "Get-Process", "timeout": 30 });
        let result = world.api.post(&format!("/agents/{id}/command"), &body).await;
        assert_eq!((&result["success"], &result["execution_time"]), (&json!(true), &json!(0.25)));
        assert_eq!(result["output"], "PowerShell ran Get-Process\n");
        let order = agent.did("ran").await["order"].clone();
        assert_eq!((&order["command"], &order["timeout"]), (&json!("Get-Process"), &json!(30)));

        let body = json!({ "command": "Get-Date", "shell_type": "pwsh",
            "working_directory": "C:\\" });
        let result = world.api.post(&format!("/agents/{id}/command"), &body).await;
        assert_eq!(result["output"], "PowerShell ran Get-Date\n", "{form}: {result}");
        assert_eq!(agent.did("ran").await["order"]["working_directory"], "C:\\");
        agent.ended().await;
    }
}

#[tokio::test]
async fn dexagents_example_calls_register_an_agent_and_run_commands_on_another() {
    let world = World::start().await;
    let mut agent = Program::start(&world, "dexagents_socket.py", &["nested", "agent-1", "2"]);
    agent.did("connected").await;
    let id = world.id("agent-1").await;
    let command = "Get-Process | Select-Object -First 10";
    let mut operator = Program::start(&world, "dexagents_operator.py", &[&id, command]);
    let registered = operator.did("registered").await;
    assert_eq!(
        (&registered["status"], &registered["tags"]),
        (&json!("online"), &json!(["office"]))
    );
    for step in ["ran", "sent"] {
        let told = operator.did(step).await;
        assert_eq!(told["success"], true, "{told}");
        assert_eq!(told["output"], format!("PowerShell ran {command}\n"));
        assert_eq!(agent.did("ran").await["order"]["command"], command);
    }
    operator.ended().await;
    agent.ended().await;
    let registered = text(&registered["agent_id"]);
    let shown = world.api.get(&format!("/agents/{registered}")).await;
    assert_eq!(
        (&shown["dialect"], &shown["hostname"]),
        (&json!("dexagents"), &json!("DESKTOP-HTTP"))
    );
}

#[tokio::test]
async fn deployflows_agent_runs_the_actions_that_its_operator_creates() {
    let world = World::start().await;
    for way in ["bearer", "body"] {
        let (token, _) = world.token(Some(1)).await;
        let host = format!("kiosk-{way}");
        let arguments = [way, host.as_str(), "1"];
        let mut agent = Program::showing(&world, &token, "deployflow_agent.py", &arguments);
        let id = text(&agent.did("registered").await["device_id"]);
        let payload = "Get-Process | Select-Object -First 5";
        let mut operator = Program::start(&world, "deployflow_operator.py", &[&id, payload]);
        let action = text(&operator.did("created").await["action_id"]);
        assert_eq!(agent.did("ran").await["action"]["payload"], payload);
        assert_eq!(operator.did("ended").await["status"], "completed");
        operator.ended().await;
        agent.ended().await;
        let command = world.command(&action).await;
        assert_eq!(command["output"], format!("PowerShell ran {payload}\n"), "{command}");
        let shown = world.api.get(&format!("/agents/{id}")).await;
        assert_eq!(
            (&shown["dialect"], &shown["os_type"]),
            (&json!("deployflow"), &json!("windows"))
        );
    }
}
