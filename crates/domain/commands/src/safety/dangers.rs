//! What can cost data, access or protection.

use super::paths::{is_account_file, is_device, is_hive, is_precious};
use super::unwrap::is_interpreter;
use super::words::{Simple, program};
use super::{SafetyLevel, among};

const LOSES_DATA: &str = "removes what nobody wants to lose";
const LOSES_DISK: &str = "erases a disk or a partition";
const STOPS: &str = "stops or restarts the machine";
const ACCOUNTS: &str = "changes accounts or who may do what";
const PROTECTION: &str = "switches protection or traces off";
const REGISTRY: &str = "removes from the registry of the whole machine";
const FETCHES: &str = "runs what it fetches from elsewhere";
const HIDES: &str = "runs what it decodes first";
const DATABASE: &str = "removes a database or its tables";
const KILLS: &str = "ends every process, or one that the system needs";
const REMOTE: &str = "hands a shell to somebody elsewhere";

/// Programs that are dangerous whatever their arguments say.
const ALWAYS: &[(&str, &str)] = &[
    (
        LOSES_DISK,
        "mkfs wipefs blkdiscard format format-volume clear-disk initialize-disk remove-partition \
        diskpart lvremove vgremove pvremove mkswap remove-physicaldisk reset-physicaldisk",
    ),
    (STOPS, "reboot halt poweroff restart-computer stop-computer telinit logoff"),
    (
        ACCOUNTS,
        "useradd userdel usermod adduser deluser groupadd groupdel groupmod gpasswd passwd chpasswd \
        visudo vipw dscl sysadminctl new-localuser remove-localuser set-localuser \
        disable-localuser enable-localuser rename-localuser add-localgroupmember \
        remove-localgroupmember new-localgroup remove-localgroup secedit dcpromo \
        uninstall-addsdomaincontroller",
    ),
    (
        PROTECTION,
        "clear-eventlog remove-eventlog disable-bitlocker aa-disable aa-teardown \
        disable-computerrestore disable-netfirewallrule remove-netfirewallrule \
        uninstall-windowsdefender disable-tpmautoprovisioning clear-tpm",
    ),
    (KILLS, "killall5"),
];

/// Programs that bring something from elsewhere.
const FETCHERS: &str = "curl wget fetch iwr irm invoke-webrequest invoke-restmethod";
/// Programs that make a text out of something that nobody can read.
const DECODERS: &str = "base64 openssl xxd gunzip";

/// What in a whole text is dangerous, whatever its programs are.
pub(super) fn in_text(text: &str) -> Option<&'static str> {
    let compact: String = text
        .to_lowercase()
        .chars()
        .filter(|letter| !letter.is_whitespace() && !['"', '\''].contains(letter))
        .collect();
    let any = |parts: &[&str]| parts.iter().any(|part| compact.contains(part));
    if any(&[":(){:|:&};:", ":(){:|:&}"]) {
        return Some(KILLS);
    }
    // Without a shell at its end it is how people look whether a port is open.
    if any(&["/dev/tcp/", "/dev/udp/"]) && any(&["sh-i", "exec", "0>&1"]) {
        return Some(REMOTE);
    }
    any(&["win32shutdown"]).then_some(STOPS)
}

/// Whether it brings something from elsewhere.
pub(super) fn fetches(simple: &Simple) -> bool {
    let name = simple.program();
    let object = |word: &String| {
        let word = word.to_lowercase();
        word.contains("net.webclient") || word.contains("downloadstring(")
    };
    among(FETCHERS, &name) || simple.words.iter().any(object)
}

/// Whether it makes a text out of something that nobody can read.
pub(super) fn decodes(simple: &Simple) -> bool {
    let hidden = |word: &String| {
        let word = word.to_lowercase();
        ["frombase64string(", "gzipstream", "deflatestream"].iter().any(|it| word.contains(it))
    };
    among(DECODERS, &simple.program()) || simple.words.iter().any(hidden)
}

/// Whether it runs a text that other commands make.
pub(super) fn runs_computed(simple: &Simple) -> bool {
    let name = simple.program();
    if among("iex invoke-expression", &name) {
        return true;
    }
    let code = is_interpreter(&name) || among("eval source . su", &name);
    let made = |word: &String| word.contains("$()") || word.contains("<()");
    code && simple.words.iter().any(made)
}

/// What is thought of that, where something is fetched or decoded as well.
pub(super) fn of_computed(fetches: bool, decodes: bool) -> (SafetyLevel, Option<&'static str>) {
    match (fetches, decodes) {
        (true, _) => (SafetyLevel::Dangerous, Some(FETCHES)),
        (false, true) => (SafetyLevel::Dangerous, Some(HIDES)),
        (false, false) => (SafetyLevel::Caution, None),
    }
}

/// What a program does to what is piped into it.
pub(super) fn of_pipe(simple: &Simple) -> Option<&'static str> {
    let nearest = simple.upstream.last()?;
    if among("stop-process spps kill", &simple.program()) {
        let all = nearest.alone && among("get-process gps ps", &nearest.program);
        return all.then_some(KILLS);
    }
    // With a program of its own, it reads data.
    let own = |word: &String| ["-m", "-e", "-n", "-ne", "-pe"].contains(&word.as_str());
    let is_code = simple.words.first().is_some_and(|word| is_interpreter(word));
    if !is_code || simple.words.iter().any(own) {
        return None;
    }
    let any = |list: &str| simple.upstream.iter().any(|source| among(list, &source.program));
    if any(FETCHERS) {
        Some(FETCHES)
    } else if any(DECODERS) || any("zcat") {
        Some(HIDES)
    } else {
        None
    }
}

/// What is dangerous about one program with these arguments.
pub(super) fn of(simple: &Simple) -> Option<&'static str> {
    let (name, args) = (simple.program(), simple.args());
    if args.iter().any(|arg| arg == "-whatif" || arg == "-wi") {
        return None;
    }
    if let Some((reason, _)) = ALWAYS.iter().find(|(_, names)| {
        among(names, &name) || (name.starts_with("mkfs.") && among(names, "mkfs"))
    }) {
        // `format` of a language or a log is no disk's; `diskpart /?` and the like only tell.
        let tells = args.iter().any(|arg| ["/?", "--help", "-h", "-?"].contains(&arg.as_str()));
        let of_disk = name != "format" || args.iter().any(|arg| is_drive(arg));
        return (!tells && of_disk).then_some(*reason);
    }
    // Of `-p` and `-P` they mean different things.
    if ["iptables", "ip6tables"].contains(&name.as_str()) {
        let flag = |flags: &[&str]| simple.words.iter().any(|word| flags.contains(&word.as_str()));
        let opens = flag(&["-P", "--policy"]) && flag(&["ACCEPT"]);
        return (opens || flag(&["-F", "--flush", "-X"])).then_some(PROTECTION);
    }
    let args = Args(&args);
    removal(&name, &args)
        .or_else(|| disk(&name, &args))
        .or_else(|| stop(&name, &args))
        .or_else(|| accounts(&name, &args))
        .or_else(|| protection(&name, &args))
        .or_else(|| registry(&name, &args))
        .or_else(|| remote(&name, &args))
        .or_else(|| processes(&name, &args))
        .or_else(|| services_of_others(&name, &args))
}

fn is_drive(arg: &str) -> bool {
    let mut letters = arg.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic()) && letters.as_str() == ":"
}

/// Arguments in lower case.
struct Args<'a>(&'a [String]);

impl Args<'_> {
    fn has(&self, wanted: &[&str]) -> bool {
        self.0.iter().any(|arg| wanted.contains(&arg.as_str()))
    }

    /// A letter among short options: `r` in `-rf`.
    fn short(&self, letter: char) -> bool {
        self.0.iter().any(|arg| {
            arg.strip_prefix('-').is_some_and(|flags| {
                !flags.starts_with('-') && flags.len() < 5 && flags.contains(letter)
            })
        })
    }

    /// A parameter of PowerShell's, which may be cut short.
    fn parameter(&self, full: &str, least: usize) -> bool {
        self.0.iter().any(|arg| {
            arg.strip_prefix('-').is_some_and(|name| {
                let name = name.split(':').next().unwrap_or(name);
                name.len() >= least && full.starts_with(name)
            })
        })
    }

    fn any(&self, is: impl Fn(&str) -> bool) -> bool {
        self.0.iter().any(|arg| is(arg))
    }

    fn first(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn removal(name: &str, args: &Args<'_>) -> Option<&'static str> {
    let precious = || args.any(is_precious);
    let dangerous = match name {
        "rm" | "remove-item" | "ri" | "del" | "erase" | "rd" | "rmdir" | "unlink" => {
            let recursive = args.short('r')
                || args.has(&["--recursive", "/s", "--no-preserve-root"])
                || args.parameter("recurse", 1);
            recursive && precious()
        }
        "shred" | "srm" => precious() || args.any(is_device),
        "find" => {
            let removes = args.has(&["-delete"]) || (args.has(&["-exec"]) && args.has(&["rm"]));
            let narrowed =
                args.has(&["-name", "-mtime", "-iname", "-size", "-empty", "-path", "-mmin"]);
            removes && !narrowed && is_precious(args.first())
        }
        "mv" => args.has(&["/dev/null"]),
        "chmod" | "chown" | "chgrp" | "icacls" | "takeown" | "setfacl" => {
            let recursive = args.short('r') || args.has(&["--recursive", "/t", "/r"]);
            recursive && precious()
        }
        "crontab" => args.short('r'),
        "rsync" => args.any(|arg| arg.starts_with("--delete")) && precious(),
        "robocopy" => args.has(&["/mir", "/purge"]) && precious(),
        "git" => args.first() == "clean" && precious(),
        _ => false,
    };
    dangerous.then_some(LOSES_DATA)
}

fn disk(name: &str, args: &Args<'_>) -> Option<&'static str> {
    let dangerous = match name {
        "dd" => args.any(|arg| arg.strip_prefix("of=").is_some_and(is_device)),
        "fdisk" | "parted" | "sgdisk" | "sfdisk" | "gdisk" | "cfdisk" => {
            let looks = args.has(&["-l", "--list", "-p", "--print", "print", "--dump"]);
            !looks || args.has(&["rm", "mkpart", "mklabel", "resizepart"])
        }
        "cryptsetup" => args.any(|arg| ["luksformat", "erase", "lukserase"].contains(&arg)),
        "mdadm" => args.has(&["--zero-superblock", "--stop", "--remove"]),
        "zpool" | "zfs" => args.first() == "destroy",
        "hdparm" => args.any(|arg| arg.starts_with("--security-")),
        "nvme" => ["format", "sanitize"].contains(&args.first()),
        "diskutil" => {
            let verb = args.first();
            verb.starts_with("erase")
                || ["partitiondisk", "zerodisk", "secureerase"].contains(&verb)
        }
        "cipher" => args.any(|arg| arg.starts_with("/w")),
        "vssadmin" => args.has(&["delete", "resize"]),
        "wmic" => args.has(&["shadowcopy"]) && args.has(&["delete"]),
        "wbadmin" => args.first() == "delete",
        "fsutil" => args.has(&["setzerodata", "deletejournal"]),
        "tee" | "cp" | "mv" | "install" => args.any(is_device) || args.any(is_account_file),
        _ => false,
    };
    dangerous.then_some(LOSES_DISK)
}

fn stop(name: &str, args: &Args<'_>) -> Option<&'static str> {
    let dangerous = match name {
        "shutdown" => !args.has(&["-c", "/a", "-a", "/?", "--help", "--show"]),
        "init" => args.has(&["0", "6", "1", "s"]),
        "systemctl" => {
            args.has(&["reboot", "poweroff", "halt", "kexec", "suspend", "hibernate", "rescue"])
                || args.has(&["isolate"])
        }
        "bcdedit" => args.any(|arg| arg.starts_with('/') && !arg.starts_with("/enum")),
        _ => false,
    };
    dangerous.then_some(STOPS)
}

fn accounts(name: &str, args: &Args<'_>) -> Option<&'static str> {
    let dangerous = match name {
        "net" | "net1" => match args.first() {
            "user" | "localgroup" | "group" => {
                args.has(&["/add", "/delete"]) || (args.0.len() > 2 && !args.has(&["/domain"]))
            }
            "accounts" | "share" => args.any(|arg| arg.contains(':') || arg == "/delete"),
            _ => false,
        },
        "wmic" => args.has(&["useraccount"]) && args.has(&["call", "set", "delete", "rename"]),
        "auditpol" => args.has(&["/set", "/clear", "/remove", "/restore"]),
        "set-executionpolicy" => {
            let lax = args.has(&["unrestricted", "bypass"]);
            lax && !args.has(&["process"])
        }
        "chage" => !args.has(&["-l", "--list"]) && !args.is_empty(),
        "ntdsutil" | "dsmod" | "dsrm" | "dsadd" => true,
        "lgpo" | "setspn" => !args.is_empty(),
        _ => {
            let verbs = "\
                new-ad remove-ad set-ad disable-ad enable-ad add-ad unlock-ad move-ad rename-ad \
                remove-gpo set-gp new-gpo";
            verbs.split_ascii_whitespace().any(|verb| name.starts_with(verb))
        }
    };
    dangerous.then_some(ACCOUNTS)
}

/// Services that protect a machine or tell what is done to it.
const PROTECTORS: &str = "\
    windefend wdnissvc sense mpssvc wscsvc eventlog firewalld ufw apparmor auditd fail2ban \
    nftables iptables falcon-sensor clamav-daemon clamd rsyslog crowdsec csfalconservice sysmon \
    sysmon64 wuauserv";

fn protects(service: &str) -> bool {
    let service = service.trim_end_matches(".service");
    among(PROTECTORS, service)
}

fn protection(name: &str, args: &Args<'_>) -> Option<&'static str> {
    let stops = ["stop", "disable", "mask", "delete", "config", "kill"];
    let dangerous = match name {
        "systemctl" | "service" | "sc" | "rc-service" | "chkconfig" | "net" => {
            args.any(|arg| stops.contains(&arg) || arg == "off") && args.any(protects)
        }
        "stop-service" | "set-service" | "remove-service" | "suspend-service" | "spsv" => {
            args.any(protects)
        }
        "set-mppreference" => {
            args.any(|arg| arg.starts_with("-disable") || arg.starts_with("-excl"))
        }
        "add-mppreference" => args.any(|arg| arg.starts_with("-excl")),
        "set-netfirewallprofile" => args.has(&["false", "$false", "-enabled:false"]),
        "netsh" => {
            args.has(&["advfirewall", "firewall"])
                && args.has(&["off", "reset", "disable", "delete"])
        }
        "ufw" => args.has(&["disable", "reset"]),
        "nft" => args.has(&["flush"]),
        "setenforce" => args.has(&["0", "permissive"]),
        "auditctl" => args.has(&["-e", "-d"]),
        "csrutil" => args.first() == "disable",
        "spctl" => args.has(&["--master-disable", "--global-disable"]),
        "wevtutil" => ["cl", "clear-log", "sl", "um"].contains(&args.first()),
        "manage-bde" => args.has(&["-off", "-disable", "-protectors"]),
        "journalctl" => {
            args.any(|arg| arg.starts_with("--vacuum"))
                && args.any(|arg| arg.ends_with("=0") || arg.ends_with("=1s"))
        }
        "uninstall-windowsfeature" | "remove-windowsfeature" | "disable-windowsoptionalfeature" => {
            args.any(|arg| arg.contains("defender"))
        }
        "sysctl" => args.any(|arg| arg.starts_with("kernel.randomize_va_space=0")),
        "pfctl" => args.short('d') || args.short('f'),
        "set-smbserverconfiguration" => args.any(|arg| arg.contains("smb1")),
        _ => false,
    };
    dangerous.then_some(PROTECTION)
}

fn registry(name: &str, args: &Args<'_>) -> Option<&'static str> {
    let hive = || args.any(is_hive);
    let dangerous = match name {
        "reg" => match args.first() {
            // One value is not a key with all beneath it.
            "delete" => !args.has(&["/v"]) || args.any(|arg| arg.contains("\\policies")),
            "restore" | "unload" | "load" => true,
            "add" => args.any(|arg| arg.contains("\\policies\\") || arg.contains("\\lsa")),
            _ => false,
        },
        "remove-item" | "ri" | "rm" | "del" => hive(),
        "set-itemproperty" | "new-itemproperty" | "sp" | "remove-itemproperty" => {
            args.any(|arg| is_hive(arg) && (arg.contains("policies") || arg.contains("\\lsa")))
        }
        _ => false,
    };
    dangerous.then_some(REGISTRY)
}

fn remote(name: &str, args: &Args<'_>) -> Option<&'static str> {
    match name {
        "nc" | "ncat" | "netcat" | "socat" => {
            let runs = args.short('e') || args.short('c') || args.any(|arg| arg.contains("exec:"));
            runs.then_some(REMOTE)
        }
        "mshta" => {
            args.any(|arg| arg.contains("http") || arg.contains("script:")).then_some(FETCHES)
        }
        "regsvr32" => args.any(|arg| arg.starts_with("/i:http")).then_some(FETCHES),
        "rundll32" => args.any(|arg| arg.contains("javascript:")).then_some(FETCHES),
        "msiexec" => args.any(|arg| arg.starts_with("http")).then_some(FETCHES),
        "certutil" => args.has(&["-urlcache", "/urlcache", "-decode", "/decode"]).then_some(HIDES),
        _ => None,
    }
}

/// Processes without which the machine does not go on.
const VITAL: &str = "\
    * lsass csrss winlogon wininit smss services svchost systemd init launchd explorer*";

fn processes(name: &str, args: &Args<'_>) -> Option<&'static str> {
    let vital = |arg: &str| among(VITAL, &program(arg));
    let dangerous = match name {
        "kill" => {
            args.has(&["-1", "1"])
                && args.0.last().is_some_and(|last| ["-1", "1"].contains(&last.as_str()))
        }
        "taskkill" | "stop-process" | "spps" | "killall" | "pkill" => args.any(vital),
        _ => false,
    };
    dangerous.then_some(KILLS)
}

fn services_of_others(name: &str, args: &Args<'_>) -> Option<&'static str> {
    let dangerous = match name {
        "mysql" | "mariadb" | "psql" | "sqlcmd" | "sqlite3" | "mongo" | "mongosh"
        | "mysqladmin" | "invoke-sqlcmd" => {
            let text = args.0.concat().replace(char::is_whitespace, "");
            let drops = ["dropdatabase", "droptable", "dropschema", "truncatetable", "dropuser"];
            drops.iter().any(|it| text.contains(it)) || args.has(&["drop"])
        }
        "dropdb"
        | "dropuser"
        | "remove-vm"
        | "remove-clusternode"
        | "remove-mailbox"
        | "remove-mailboxdatabase" => true,
        "redis-cli" => args.has(&["flushall", "flushdb", "shutdown"]),
        "kubectl" => {
            let of_all = args.any(|arg| {
                ["ns/", "namespace/", "pv/", "pvc/", "node/"].iter().any(|it| arg.starts_with(it))
            });
            args.has(&["delete"])
                && (of_all
                    || args.has(&[
                        "--all",
                        "ns",
                        "namespace",
                        "pv",
                        "node",
                        "--all-namespaces",
                        "pvc",
                    ]))
        }
        "docker" | "podman" => args.has(&["prune"]) && args.has(&["--volumes", "volume"]),
        "terraform" | "tofu" => args.has(&["destroy", "-destroy"]),
        _ => false,
    };
    dangerous.then_some(DATABASE)
}
