//! Between the words of the protocol and those of the domain.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_agents::{AgentProgram, Incarnation, Metrics, NetworkInterface, SystemInfo};
use muster_commands::schedules::Zone;
use muster_commands::{
    Command, Failure, INTERRUPTED, Outcome, OutputBytes, OutputStream, Payload, Progress, Report,
    ShellType,
};
use muster_kernel::{CommandId, Secret, Timestamp};
use muster_protocol as wire;

// What the server takes for a script has to be what an agent takes.
const _: () = assert!(muster_commands::MAX_SCRIPT_BYTES == wire::MAX_SCRIPT_BYTES);

/// The longest failure code and detail that are kept, in characters.
const MAX_CODE: usize = 64;
const MAX_DETAIL: usize = 2000;

pub(crate) fn journal(entries: &[wire::JournalEntry]) -> BTreeMap<CommandId, Progress> {
    let progress = |progress| match progress {
        wire::CommandProgress::Accepted => Progress::Accepted,
        wire::CommandProgress::Finished => Progress::Finished,
    };
    entries
        .iter()
        .map(|entry| (CommandId::from_uuid(entry.command_id), progress(entry.progress)))
        .collect()
}

/// What an agent says, cut to the size that enrolment allows.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// What tells the agent's process from copies of it.
pub(crate) fn incarnation(hello: &wire::Hello) -> Incarnation {
    Incarnation {
        boot_id: cut(&hello.boot_id),
        instance_id: hello.instance_id.as_deref().map(cut).filter(|id| !id.is_empty()),
    }
}

/// Why the agent's last connection ended, as it says.
pub(crate) fn previous_end(hello: &wire::Hello) -> Option<String> {
    hello.last_end.as_deref().map(cut)
}

/// What the agent's program says of itself.
pub(crate) fn program(hello: &wire::Hello) -> AgentProgram {
    AgentProgram {
        version: cut(&hello.version),
        capabilities: hello.capabilities.iter().take(64).map(|text| cut(text)).collect(),
    }
}

/// The stream of a command that frames of this kind belong to.
pub(crate) const fn stream(kind: wire::StreamKind) -> Option<OutputStream> {
    match kind {
        wire::StreamKind::Stdout => Some(OutputStream::Stdout),
        wire::StreamKind::Stderr => Some(OutputStream::Stderr),
        wire::StreamKind::File => None,
    }
}

const fn shell(shell: ShellType) -> wire::ShellType {
    match shell {
        ShellType::Powershell => wire::ShellType::Powershell,
        ShellType::Pwsh => wire::ShellType::Pwsh,
        ShellType::Cmd => wire::ShellType::Cmd,
        ShellType::Bash => wire::ShellType::Bash,
        ShellType::Sh => wire::ShellType::Sh,
    }
}

pub(crate) fn execute(
    command: &Command,
    stream_id: u32,
    payload: &Payload,
    traceparent: Option<String>,
) -> wire::Execute {
    let secret = |(name, value): (&String, &Secret)| (name.clone(), value.expose().to_owned());
    let script = command.spec.script;
    wire::Execute {
        command_id: command.id.as_uuid(),
        stream_id,
        shell_type: shell(command.spec.shell_type),
        command: command.spec.command.clone(),
        args: command.spec.args.clone(),
        working_directory: command.spec.working_directory.clone(),
        environment: command.spec.environment.clone(),
        secrets: payload.secrets.iter().map(secret).collect(),
        script: script.map(|text| wire::ScriptText::from_parts(&text.sha256, text.bytes)),
        timeout: command.spec.timeout.as_secs_f64(),
        deadline: command.expires_at,
        traceparent,
    }
}

pub(crate) fn report(finished: &wire::Finished, now: Timestamp) -> Report {
    let failure = |code: &str| {
        let told = finished.failure_code.as_deref();
        let code = told.filter(|code| is_code(code)).unwrap_or(code).to_owned();
        let detail = finished.detail.as_ref().map(|text| text.chars().take(MAX_DETAIL).collect());
        Outcome::Failed(Failure { code, detail })
    };
    Report {
        outcome: match finished.outcome {
            wire::Outcome::Completed => Outcome::Completed,
            wire::Outcome::Cancelled => Outcome::Cancelled,
            wire::Outcome::Failed => failure("EXIT_CODE"),
            wire::Outcome::TimedOut => failure("TIMED_OUT"),
            wire::Outcome::Interrupted => failure(INTERRUPTED),
            wire::Outcome::Refused if finished.failure_code.as_deref() == Some("EXPIRED") => {
                Outcome::Expired
            }
            wire::Outcome::Refused => failure("REFUSED"),
        },
        at: now,
        exit_code: finished.exit_code,
        execution_time: finished
            .execution_time
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .map(|time| Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(0))),
        written: OutputBytes { stdout: finished.stdout_bytes, stderr: finished.stderr_bytes },
    }
}

fn is_code(text: &str) -> bool {
    (1..=MAX_CODE).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

pub(crate) const fn metrics(metrics: &wire::Metrics) -> Metrics {
    Metrics {
        cpu_percent: metrics.cpu_percent,
        memory_percent: metrics.memory_percent,
        disk_percent: metrics.disk_percent,
        network_rx_bytes: metrics.network_rx_bytes,
        network_tx_bytes: metrics.network_tx_bytes,
        processes: metrics.processes,
        uptime_seconds: metrics.uptime_seconds,
    }
}

pub(crate) fn system_info(info: wire::SystemInfo, now: Timestamp) -> SystemInfo {
    let interface = |interface: wire::NetworkInterface| NetworkInterface {
        name: interface.name,
        mac_address: interface.mac_address,
        addresses: interface.addresses,
    };
    SystemInfo {
        hostname: cut(&info.hostname),
        os: cut(&info.os),
        os_version: info.os_version,
        kernel_version: info.kernel_version,
        architecture: info.architecture,
        cpu_model: info.cpu_model,
        cpu_count: info.cpu_count,
        memory_bytes: info.memory_bytes,
        disk_bytes: info.disk_bytes,
        interfaces: info.interfaces.into_iter().map(interface).collect(),
        logged_in_users: info.logged_in_users,
        pending_reboot: info.pending_reboot,
        time_zone: info.time_zone.filter(|name| Zone::parse(name).is_some()),
        reported_at: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_commands::testing::noon;

    #[test]
    fn what_an_agent_says_of_a_failure_is_cut_to_size_and_never_trusted_as_a_code() {
        let finished = wire::Finished {
            command_id: uuid::Uuid::nil(),
            outcome: wire::Outcome::Failed,
            exit_code: None,
            execution_time: Some(f64::NAN),
            stdout_bytes: 0,
            stderr_bytes: 0,
            failure_code: Some("<script>".into()),
            detail: Some("x".repeat(10_000)),
        };
        let Report { outcome: Outcome::Failed(failure), execution_time, .. } =
            report(&finished, noon())
        else {
            panic!("not failed");
        };
        assert_eq!((failure.code.as_str(), execution_time), ("EXIT_CODE", None));
        assert_eq!(failure.detail.map(|detail| detail.len()), Some(MAX_DETAIL));
    }
}
