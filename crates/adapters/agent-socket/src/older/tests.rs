//! The words of older products, as their documents show them.

use std::time::Duration;

use bytes::Bytes;
use muster_commands::{Outcome, PlainShell, Said};
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{AgentId, Clock, CommandId};
use serde_json::json;

use super::*;

fn id() -> CommandId {
    CommandId::new(&FakeClock::default(), &SeededEntropy::new(1))
}

fn finished(heard: &Heard) -> (&Outcome, Option<i32>, &Bytes, &Bytes, Option<Duration>) {
    match heard {
        Heard::Result(
            known,
            Said::Finished { outcome, exit_code, execution_time, stdout, stderr },
        )
        | Heard::Status(
            known,
            Said::Finished { outcome, exit_code, execution_time, stdout, stderr },
        ) => {
            assert_eq!(*known, id());
            (outcome, *exit_code, stdout, stderr, *execution_time)
        }
        other => panic!("no end: {other:?}"),
    }
}

#[test]
fn dexagents_introduces_itself_in_either_form() {
    let flat = json!({ "type": "register", "agent_id": "agent-1", "hostname": "WIN-DESKTOP",
        "system_info": { "cpu_percent": 45.5, "memory_percent": 250.0, "disk_usage": 78.5 } });
    let nested = json!({ "type": "register", "data": { "id": "agent-2", "hostname": "DESKTOP",
        "ip": "192.0.2.7", "os": "Windows 11", "version": "10.0.22000" } });
    let Ok(Heard::Register(flat)) = DexAgents.read(&flat) else { panic!("{flat}") };
    assert_eq!((flat.name.as_str(), flat.machine.hostname.as_str()), ("agent-1", "WIN-DESKTOP"));
    let load = flat.metrics.unwrap();
    assert_eq!((load.cpu_percent, load.memory_percent, load.disk_percent), (45.5, 100.0, 78.5));
    let Ok(Heard::Register(nested)) = DexAgents.read(&nested) else { panic!("{nested}") };
    assert_eq!((nested.name.as_str(), nested.metrics), ("agent-2", None));
    assert_eq!(nested.machine.os.as_deref(), Some("Windows 11"));
    assert_eq!(DexAgents.read(&json!({ "type": "register" })), Err(Unreadable("agent_id")));
}

#[test]
fn dexagents_tells_results_flat_or_within_data() {
    let flat = json!({ "type": "command_result", "command_id": id(), "success": true,
        "output": "done", "execution_time": 2.5 });
    let heard = DexAgents.read(&flat).unwrap();
    let (outcome, exit_code, stdout, _, time) = finished(&heard);
    assert_eq!((outcome, exit_code), (&Outcome::Completed, None));
    assert_eq!((&**stdout, time), (&b"done"[..], Some(Duration::from_millis(2500))));
    let nested = json!({ "type": "powershell_result", "data": { "command_id": id(),
        "success": false, "output": null, "error": "no", "exit_code": 3 } });
    let heard = DexAgents.read(&nested).unwrap();
    let (outcome, exit_code, stdout, stderr, _) = finished(&heard);
    assert_eq!((outcome, exit_code), (&Said::failure("EXIT_CODE", None), Some(3)));
    assert_eq!((&**stdout, &**stderr), (&b""[..], &b"no"[..]));
    let table = json!({ "type": "command_result", "command_id": id(), "exit_code": 0,
        "output": [{ "Name": "a" }] });
    let heard = DexAgents.read(&table).unwrap();
    assert_eq!(finished(&heard).2, &Bytes::from_static(br#"[{"Name":"a"}]"#));
    for (broken, field) in [
        (json!({ "type": "command_result", "success": true }), "command_id"),
        (json!({ "type": "command_result", "command_id": 7, "success": true }), "command_id"),
        (json!({ "type": "command_result", "command_id": id() }), "success"),
    ] {
        assert_eq!(DexAgents.read(&broken), Err(Unreadable(field)), "{broken}");
    }
}

#[test]
fn remote_agent_manager_tells_tasks_and_how_far_they_are() {
    let said = |kind: &str, status: &str| {
        RemoteAgentManager.read(&json!({ "type": kind, "data": { "task_id": id(),
            "status": status, "output": "out", "error": "err", "exit_code": 0 } }))
    };
    let heard = said("task_result", "completed").unwrap();
    assert!(matches!(heard, Heard::Result(..)));
    let (outcome, exit_code, stdout, stderr, _) = finished(&heard);
    assert_eq!((outcome, exit_code), (&Outcome::Completed, Some(0)));
    assert_eq!((&**stdout, &**stderr), (&b"out"[..], &b"err"[..]));
    let heard = said("task_result", "failed").unwrap();
    assert_eq!(finished(&heard).0, &Said::failure("EXIT_CODE", None));
    let heard = said("task_status", "completed").unwrap();
    assert!(matches!(heard, Heard::Status(..)));
    assert_eq!(said("task_status", "running"), Ok(Heard::Status(id(), Said::Started)));
    assert_eq!(said("task_result", "dancing"), Err(Unreadable("status")));
}

#[test]
fn a_completed_task_with_another_exit_code_than_0_has_failed() {
    let odd = json!({ "type": "task_result", "data": { "task_id": id(), "status": "completed",
        "output": "", "exit_code": 1 } });
    let heard = RemoteAgentManager.read(&odd).unwrap();
    assert_eq!(finished(&heard).0, &Said::failure("EXIT_CODE", None));
}

#[test]
fn a_crash_on_windows_is_no_success_however_its_code_is_told() {
    for told in [3_221_225_477_i64, -1_073_741_819] {
        let crashed = json!({ "type": "task_result", "data": { "task_id": id(),
            "status": "completed", "output": "", "exit_code": told } });
        let heard = RemoteAgentManager.read(&crashed).unwrap();
        let (outcome, exit_code, ..) = finished(&heard);
        assert_eq!((outcome, exit_code), (&Said::failure("EXIT_CODE", None), Some(-1_073_741_819)));
    }
}

#[test]
fn what_is_not_known_is_passed_over() {
    let codecs: [&dyn Codec; 2] = [&DexAgents, &RemoteAgentManager];
    for codec in codecs {
        for message in [json!({ "type": "pong" }), json!({ "type": 7 }), json!([]), json!(null)] {
            assert_eq!(codec.read(&message), Ok(Heard::Nothing), "{codec:?} {message}");
        }
    }
}

#[test]
fn commands_are_said_in_the_words_of_each_product() {
    let command = PlainCommand {
        id: id(),
        agent_id: AgentId::new(&FakeClock::default(), &SeededEntropy::new(2)),
        text: "hostname".into(),
        shell: PlainShell::Powershell,
        timeout: 30,
        working_directory: None,
        environment: [("A".to_owned(), "b".to_owned())].into(),
    };
    assert_eq!(
        DexAgents.command(&command),
        json!({ "type": "execute_command", "command_id": id(), "command": "hostname",
            "timeout": 30, "working_directory": null })
    );
    assert_eq!(
        RemoteAgentManager.command(&command),
        json!({ "type": "command", "task_id": id(), "command": "hostname",
            "shell_type": "powershell", "timeout": 30, "environment": { "A": "b" } })
    );
    let now = FakeClock::default().now();
    let ack = RemoteAgentManager.heartbeat_ack(now).unwrap();
    assert_eq!(ack, json!({ "type": "heartbeat_ack", "timestamp": now }));
}
