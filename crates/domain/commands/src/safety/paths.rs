//! Places that nobody wants to lose.

/// Folders of every system, without a slash at their end.
const PRECIOUS: &[&str] = &[
    "",
    "~",
    "$home",
    "${home}",
    ".",
    "..",
    "*",
    "*.*",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/sbin",
    "/srv",
    "/sys",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/var",
    "/var/lib",
    "/var/log",
    "/system",
    "/library",
    "/applications",
    "/users",
    "/private",
    "/volumes",
    "$env:systemroot",
    "$env:windir",
    "$env:systemdrive",
    "$env:programfiles",
    "$env:userprofile",
    "$env:programdata",
    "%systemroot%",
    "%windir%",
    "%systemdrive%",
    "%programfiles%",
    "%userprofile%",
    "%programdata%",
    "%systemroot%/system32",
    "$env:systemroot/system32",
    "%windir%/system32",
];
/// The same beneath a drive letter.
const ON_A_DRIVE: &[&str] = &[
    "",
    "/*",
    "/windows",
    "/windows/system32",
    "/users",
    "/program files",
    "/program files (x86)",
    "/programdata",
];

/// Whether whoever removes all that is in there loses a machine.
pub(super) fn is_precious(path: &str) -> bool {
    let path = path.trim_matches(['"', '\'']).to_lowercase().replace('\\', "/");
    let all = ["/*", "/*.*", "/.", "/"];
    let mut path = path.as_str();
    while let Some(shorter) = all.iter().find_map(|end| path.strip_suffix(end)) {
        path = shorter;
    }
    if PRECIOUS.contains(&path) || is_hive(path) {
        return true;
    }
    let mut letters = path.chars();
    if letters.next().is_some_and(|letter| letter.is_ascii_alphabetic())
        && letters.next() == Some(':')
    {
        return ON_A_DRIVE.contains(&letters.as_str());
    }
    // An empty variable leaves the root: what is removed beneath one is anything.
    path.starts_with(['$', '%']) && !path.contains('/') && !path.starts_with("$_")
}

/// Whether it is in one of the registry's hives of the whole machine or all users.
pub(super) fn is_hive(path: &str) -> bool {
    let path = path.to_lowercase().replace('\\', "/");
    let path = path.strip_prefix("registry::").unwrap_or(&path);
    ["hklm", "hkcr", "hku", "hkcc", "hkey_local_machine", "hkey_classes_root", "hkey_users"]
        .iter()
        .any(|hive| {
            path.strip_prefix(hive)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
        })
}

/// Whether it is a disk, or what stands for one.
pub(super) fn is_device(path: &str) -> bool {
    let path = path.to_lowercase().replace('\\', "/");
    let disks = [
        "/dev/sd",
        "/dev/hd",
        "/dev/vd",
        "/dev/xvd",
        "/dev/nvme",
        "/dev/mmcblk",
        "/dev/disk",
        "/dev/rdisk",
        "/dev/mapper/",
        "/dev/md",
        "/dev/mem",
        "//./physicaldrive",
    ];
    disks.iter().any(|disk| path.starts_with(disk))
}

/// Whether it says who may sign in or become root.
pub(super) fn is_account_file(path: &str) -> bool {
    ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/sudoers"].contains(&path)
        || path.starts_with("/etc/sudoers.d/")
        || path.starts_with("/etc/pam.d/")
        || path.ends_with("/.ssh/authorized_keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_wants_to_lose_is_recognised_however_it_is_written() {
        for path in [
            "/",
            "//",
            "/*",
            "/etc/",
            "~/*",
            "C:\\",
            "c:/*",
            "\"C:\\Windows\"",
            "D:\\*.*",
            "$env:SystemRoot\\System32",
            "%USERPROFILE%",
            "HKLM:\\Software",
            "HKLM\\System",
            "$DIR/*",
            ".",
            "./*",
            "*",
        ] {
            assert!(is_precious(path), "{path}");
        }
        for path in [
            "./build",
            "build",
            "/tmp/x",
            "/var/log/nginx",
            "C:\\Temp\\*",
            "C:\\Windows\\Temp\\*",
            ".\\tmp",
            "$env:TEMP\\x",
            "HKCU:\\Software\\Acme",
            "/home/ann/cache",
            "$_",
        ] {
            assert!(!is_precious(path), "{path}");
        }
    }
}
