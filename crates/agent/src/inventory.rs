//! What kind of machine this is, and how it feels.

use std::sync::Arc;

use muster_protocol::{Metrics, NetworkInterface, SystemInfo};
use parking_lot::Mutex;
use sysinfo::{Disks, Networks, ProcessesToUpdate, System, Users};

/// Looks at the machine; a look takes some milliseconds and is taken off the async threads.
#[derive(Debug, Clone)]
pub(crate) struct Inventory {
    /// The load of a processor is the difference between two looks.
    system: Arc<Mutex<Option<System>>>,
}

impl Inventory {
    pub(crate) fn new() -> Self {
        Self { system: Arc::new(Mutex::new(System::new_all().ok())) }
    }

    /// The load at this moment.
    pub(crate) async fn metrics(&self) -> Option<Metrics> {
        let system = Arc::clone(&self.system);
        let look = move || system.lock().as_mut().map(metrics);
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }

    /// What kind of machine this is.
    pub(crate) async fn system_info(&self, hostname: String) -> Option<SystemInfo> {
        let system = Arc::clone(&self.system);
        let look = move || system.lock().as_ref().map(|system| system_info(system, hostname));
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }
}

fn metrics(system: &mut System) -> Metrics {
    system.refresh_cpu_usage();
    system.refresh_memory();
    system.refresh_processes(ProcessesToUpdate::All, true);
    let networks = Networks::new_with_refreshed_list();
    let total = |of: fn(&sysinfo::NetworkData) -> u64| {
        networks.as_ref().map_or(0, |all| all.values().map(of).sum())
    };
    let (space, free) = space();
    Metrics {
        cpu_percent: system.global_cpu_usage(),
        memory_percent: percent(system.used_memory(), system.total_memory()),
        disk_percent: percent(space.saturating_sub(free), space),
        network_rx_bytes: total(sysinfo::NetworkData::total_received),
        network_tx_bytes: total(sysinfo::NetworkData::total_transmitted),
        processes: u32::try_from(system.processes().len()).unwrap_or(u32::MAX),
        uptime_seconds: System::uptime().unwrap_or(0),
    }
}

/// The space on all disks together, and how much of it is free.
fn space() -> (u64, u64) {
    let Ok(disks) = Disks::new_with_refreshed_list() else { return (0, 0) };
    let sum = |of: fn(&sysinfo::Disk) -> u64| disks.iter().map(of).sum();
    (sum(sysinfo::Disk::total_space), sum(sysinfo::Disk::available_space))
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a share is rounded anyway"
)]
fn percent(part: u64, whole: u64) -> f32 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 100.0) as f32 }
}

fn system_info(system: &System, hostname: String) -> SystemInfo {
    let text = |found: Result<String, sysinfo::Error>| found.unwrap_or_default();
    let interfaces =
        Networks::new_with_refreshed_list().map_or_else(|_| Vec::new(), |all| interfaces(&all));
    SystemInfo {
        hostname,
        os_type: std::env::consts::OS.to_owned(),
        os: os(),
        os_version: text(System::os_version()),
        kernel_version: text(System::kernel_version()),
        architecture: System::cpu_arch(),
        cpu_model: system.cpus().first().map(|cpu| cpu.brand().to_owned()).unwrap_or_default(),
        cpu_count: u32::try_from(system.cpus().len()).unwrap_or(u32::MAX),
        memory_bytes: system.total_memory(),
        disk_bytes: space().0,
        interfaces,
        logged_in_users: logged_in_users(system),
        pending_reboot: pending_reboot(),
        time_zone: time_zone(),
    }
}

/// The operating system as people call it, without the kernel's name in front.
pub(crate) fn os() -> String {
    let long = System::long_os_version().unwrap_or_else(|_| std::env::consts::OS.to_owned());
    let inner = long.strip_prefix("Linux (").and_then(|rest| rest.strip_suffix(')'));
    inner.map_or_else(|| long.clone(), ToOwned::to_owned)
}

fn interfaces(networks: &Networks) -> Vec<NetworkInterface> {
    let mut interfaces: Vec<_> = networks
        .iter()
        .filter(|(_, data)| !data.ip_networks().is_empty())
        .map(|(name, data)| NetworkInterface {
            name: name.to_string_lossy().into_owned(),
            mac_address: data.mac_address().to_string(),
            addresses: data
                .ip_networks()
                .iter()
                .map(|network| format!("{}/{}", network.addr, network.prefix))
                .collect(),
        })
        .collect();
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    interfaces
}

/// Users with a process of a login shell or desktop: those whom the machine's own accounts name
/// and who run something.
fn logged_in_users(system: &System) -> Vec<String> {
    let Ok(users) = Users::new_with_refreshed_list() else { return Vec::new() };
    let mut names: Vec<_> = system
        .processes()
        .values()
        .filter(|process| process.session_id().is_some_and(|leader| leader == process.pid()))
        .filter(|process| {
            let name = process.name().to_string_lossy();
            ["bash", "sh", "zsh", "fish", "-bash", "-sh", "explorer.exe", "loginwindow"]
                .contains(&name.as_ref())
        })
        .filter_map(|process| users.get_user_by_id(process.user_id()?))
        .map(|user| user.name().to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Debian and its like leave a file; others can't tell.
fn pending_reboot() -> Option<bool> {
    let known = cfg!(target_os = "linux") && std::path::Path::new("/etc/debian_version").exists();
    known.then(|| std::path::Path::new("/var/run/reboot-required").exists())
}

/// The zone that the machine's clock shows: what `TZ` names, else what the system is set to.
fn time_zone() -> Option<String> {
    let named = std::env::var("TZ").ok().map(|name| name.trim_start_matches(':').to_owned());
    named.filter(|name| !name.is_empty()).or_else(|| iana_time_zone::get_timezone().ok())
}
