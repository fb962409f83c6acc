//! What people and programs are told.

use std::io::Write;

use muster_swarm::{Latency, Summary};

/// A line about how it goes.
pub(crate) fn progress(agents: usize, summary: &Summary, results_per_second: usize) -> String {
    let Summary { connected, heartbeat_ms, command_ms, errors, seconds, .. } = summary;
    let errors: u64 = errors.values().sum();
    format!(
        "{seconds:>5.0} s  {connected} of {agents} connected  {results_per_second} results/s  \
         heartbeat p99 {:.1} ms  command p99 {:.1} ms  {errors} errors",
        heartbeat_ms.p99, command_ms.p99
    )
}

/// Prints the summary, for people or as one JSON object.
///
/// # Errors
/// When nobody takes it.
pub(crate) fn print(out: &mut impl Write, summary: &Summary, json: bool) -> anyhow::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, summary)?;
        writeln!(out)?;
        return Ok(());
    }
    let Summary { agents, seconds, connected, .. } = summary;
    writeln!(out, "{connected} of {agents} machines connected, for {seconds:.1} s")?;
    match (summary.all_connected_after, summary.connects_per_second) {
        (Some(took), Some(rate)) => {
            writeln!(out, "all were connected after {took:.2} s, {rate:.0} a second")?;
        }
        _ => writeln!(out, "never all of them at the same time")?,
    }
    writeln!(out, "connections          {}, {} ended", summary.connects, summary.connections_lost)?;
    let times = [
        ("enrolment", &summary.enrol_ms),
        ("connection", &summary.connect_ms),
        ("heartbeat", &summary.heartbeat_ms),
        ("order to result kept", &summary.command_ms),
    ];
    for (what, latency) in times.iter().filter(|(_, latency)| latency.count > 0) {
        writeln!(out, "{what:<20} {}", line(latency))?;
    }
    let Summary { commands_started, results_acknowledged, commands_ordered_again, .. } = summary;
    writeln!(
        out,
        "commands             {commands_started} started, {results_acknowledged} results kept by \
         the server, {commands_ordered_again} ordered again, {} started again",
        summary.commands_started_again
    )?;
    let Summary { bytes_received, bytes_sent, .. } = summary;
    writeln!(out, "bytes                {bytes_received} received, {bytes_sent} sent")?;
    for (what, count) in &summary.errors {
        writeln!(out, "{count:>7} × {what}")?;
    }
    Ok(())
}

fn line(latency: &Latency) -> String {
    let Latency { count, p50, p90, p99, max } = latency;
    format!("p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, longest {max:.1} ms ({count})")
}

#[cfg(test)]
mod tests {
    use muster_swarm::{Figures, Record};

    use super::*;

    #[test]
    fn as_json_the_summary_is_one_line_with_one_object() {
        let summary = Figures::default().summary(7, &Record::default());
        let mut out = Vec::new();
        print(&mut out, &summary, true).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&read["agents"], &read["commands_started_again"]), (&7.into(), &0.into()));
    }

    #[test]
    fn people_are_told_when_some_machines_never_came() {
        let mut out = Vec::new();
        print(&mut out, &Figures::default().summary(7, &Record::default()), false).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("0 of 7") && text.contains("never all of them"), "{text}");
    }
}
