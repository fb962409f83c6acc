//! What the operating system says of this process, under the names that Prometheus' own clients
//! use. Elsewhere than on Linux only its start is known.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use muster_kernel::Timestamp;

pub(super) fn describe() {
    describe_gauge!("process_start_time_seconds", "When the process started, since 1970");
    if cfg!(target_os = "linux") {
        describe_gauge!("process_resident_memory_bytes", "Memory that the process holds");
        describe_gauge!("process_open_fds", "Open file descriptors");
        describe_gauge!("process_max_fds", "How many file descriptors may be open");
        describe_counter!("process_cpu_seconds_total", "Processor time, in whole seconds");
    }
}

/// Looks anew.
pub(super) fn look(started_at: Timestamp) {
    let started = u32::try_from(started_at.timestamp()).unwrap_or(u32::MAX);
    gauge!("process_start_time_seconds").set(started);
    if cfg!(target_os = "linux") {
        look_on_linux();
    }
}

fn look_on_linux() {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    if let Some(kib) = field(&read("/proc/self/status"), "VmRSS:") {
        gauge!("process_resident_memory_bytes").set(f64::from(kib) * 1024.0);
    }
    if let Some(most) = field(&read("/proc/self/limits"), "Max open files") {
        gauge!("process_max_fds").set(most);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the folder itself.
        let open = u32::try_from(open.count()).unwrap_or(u32::MAX).saturating_sub(1);
        gauge!("process_open_fds").set(open);
    }
    if let Some(seconds) = processor_seconds(&read("/proc/self/stat")) {
        counter!("process_cpu_seconds_total").absolute(seconds);
    }
}

/// The number after `name` in its line.
fn field(text: &str, name: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Linux counts hundredths of a second in the 14th and 15th field; the second may hold anything.
fn processor_seconds(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read_whatever_the_process_is_called() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 1 0 0 0 250 151 0 0 20 0 4 0 1 1 1";
        assert_eq!(processor_seconds(stat), Some(4));
        assert_eq!(field("VmHWM: 9 kB\nVmRSS:\t    1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(field("", "VmRSS:"), None);
    }
}
