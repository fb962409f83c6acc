//! What only looks.

use super::words::Simple;
use super::{Family, among};

/// Programs that change nothing, whatever their arguments say.
const LOOKS: &str = "\
    ls dir cat type head tail less more grep egrep fgrep rg uniq wc cut tr df du free uptime uname \
    whoami id w who last lastlog ps top htop pgrep pidof vmstat iostat mpstat sar lscpu lsblk \
    lsusb lspci lsmod lsof ss netstat arp ping ping6 traceroute tracert tracepath mtr dig nslookup \
    host cal printenv echo printf test [ [[ true false sleep pwd cd stat file readlink realpath \
    basename dirname md5sum sha1sum sha256sum cksum apt-cache getent lsb_release sw_vers \
    system_profiler base64 xxd hexdump strings jq column nl tac rev seq sort-object which where \
    whereis blkid findmnt nproc groups users tty locale set export unset ver vol systeminfo \
    tasklist findstr tree driverquery quser query qwinsta fc comp rem title cls pause exit return \
    chcp assoc gpresult getmac pathping nbtstat fi done esac for in break continue } % ? \
    where-object foreach-object select sort measure group ft fl gci gc gps gsv gwmi gcim gi gp gcm \
    gal gm gu write sls oh out-string out-host out-null diff dmidecode numfmt fold expr local \
    nvidia-smi chronyc ntpq zcat zgrep yes param begin process end try catch finally function acpi \
    sensors runlevel ipcs loginctl lslogins iwgetid vm_stat";
/// Verbs of PowerShell that change nothing.
const VERBS: &str = "\
    get- test- select- where- sort- measure- format- convertto- convertfrom- compare- group- \
    resolve- find- show- write- join- split- search- trace- wait- tee-";
/// Programs of which one of these first arguments only looks.
const SUBCOMMANDS: &[(&str, &str)] = &[
    (
        "systemctl",
        "status show cat is-active is-enabled is-failed list-units list-unit-files list-timers \
        list-sockets list-dependencies list-jobs --failed --version get-default --type=service \
        --no-pager",
    ),
    ("service", "--status-all"),
    ("docker", "ps images logs inspect stats info version top port"),
    ("podman", "ps images logs inspect stats info version top"),
    ("kubectl", "get describe logs top version cluster-info explain"),
    ("git", "status log diff show rev-parse describe blame ls-files"),
    ("apt", "list search show policy"),
    ("apt-mark", "showhold"),
    ("dpkg", "-l --list -s -L -S --audit"),
    ("rpm", "-q -qa -qi -ql -qf -V"),
    ("yum", "list info check-update history repolist"),
    ("dnf", "list info check-update history repolist"),
    ("zypper", "lu list-updates se info"),
    ("snap", "list info version"),
    ("brew", "list info outdated config doctor"),
    ("pip", "list show freeze"),
    ("pip3", "list show freeze"),
    ("npm", "ls list outdated view"),
    ("winget", "list search show"),
    ("choco", "list outdated search"),
    ("reg", "query"),
    ("sc", "query queryex qc"),
    ("schtasks", "/query"),
    ("netsh", "show wlan"),
    ("wevtutil", "qe el gl gli"),
    ("vssadmin", "list"),
    ("bcdedit", "/enum"),
    ("w32tm", "/query /stripchart /monitor"),
    ("wmic", "os cpu bios computersystem logicaldisk diskdrive memorychip qfe"),
    ("powercfg", "/list /query /a /batteryreport"),
    ("diskutil", "list info apfs"),
    ("launchctl", "list print"),
    ("defaults", "read"),
    ("softwareupdate", "-l --list --history"),
    ("timedatectl", "status show list-timezones"),
    ("hostnamectl", "status"),
    ("crontab", "-l"),
    ("ufw", "status"),
    ("iptables", "-L -S -nL -vnL -nvL"),
    ("nft", "list"),
    ("openssl", "x509 s_client version verify crl"),
    ("smartctl", "-a -i -H --all"),
    ("firewall-cmd", "--list-all --state --list-ports"),
    ("sestatus", "-v"),
    ("ip", "a addr address route r link neigh -br -s -4 -6 -c"),
    ("route", "-n print"),
    ("swapon", "--show -s"),
    ("fdisk", "-l"),
    ("parted", "-l"),
    ("zpool", "status list iostat"),
    ("zfs", "list get"),
    ("mdadm", "--detail -D"),
    ("auditpol", "/get"),
    ("certutil", "-store -viewstore -dump -hashfile"),
    ("netplan", "get status"),
    ("nmcli", "device dev connection con general"),
];
/// Programs that only look when they have no argument at all.
const ALONE: &str = "\
    hostname date time env mount ifconfig ipconfig route sestatus getenforce timedatectl \
    hostnamectl sysctl dmesg systemctl journalctl bcdedit umask ulimit net lvs vgs pvs path alias";
/// Programs that only look unless one of their arguments begins like this.
const UNLESS: &[(&str, &str)] = &[
    ("curl", "-x --request -d --data -o --output -t --upload -f --form -k --remote-name -x"),
    ("find", "-delete -exec -ok -fprint -fls"),
    ("sed", "-i --in-place"),
    ("awk", "-i"),
    ("sort", "-o --output"),
    ("journalctl", "--vacuum --rotate --flush --setup-keys --relinquish"),
    ("dmesg", "-c -d -e -n"),
    ("date", "-s --set /"),
    ("ipconfig", "/release /renew /flushdns /registerdns /setclassid"),
    ("sysctl", "-w -p --system --write"),
    ("lvs", ""),
    ("vgs", ""),
    ("pvs", ""),
    ("mount", "-o / -a -t"),
    ("ipmitool", "chassis power user"),
];

/// Whether a command only looks.
pub(super) fn is(simple: &Simple, family: Family) -> bool {
    let (name, args) = (simple.program(), simple.args());
    let first = args.first().map_or("", String::as_str);
    if name.is_empty() || (among(LOOKS, &name) && !changes(&name, &args)) {
        return true;
    }
    if family == Family::PowerShell && powershell(&name) {
        return true;
    }
    if args.is_empty() && among(ALONE, &name) {
        return true;
    }
    let raw = simple.words.get(1).map_or("", String::as_str);
    if let Some((_, looks)) = SUBCOMMANDS.iter().find(|(program, _)| *program == name) {
        let sets = [
            "set",
            "add",
            "del",
            "delete",
            "flush",
            "change",
            "replace",
            "down",
            "up",
            "call",
            "create",
            "modify",
            "connect",
            "disconnect",
            "enable",
            "disable",
            "refresh",
        ];
        let changed = args.iter().skip(1).any(|arg| sets.contains(&arg.as_str()));
        if (among(looks, first) || among(looks, raw)) && !changed {
            return true;
        }
    }
    if name == "net" {
        let lists = ["user", "localgroup", "use", "share", "accounts"].contains(&first);
        return ["view", "statistics", "time", "config"].contains(&first)
            || (lists && args.len() <= 2)
            || (first == "start" && args.len() == 1);
    }
    if name == "service" && args.get(1).is_some_and(|verb| verb == "status") {
        return true;
    }
    UNLESS.iter().any(|(program, changes)| {
        let sets = |arg: &String| {
            let assigns = name == "sysctl" && arg.contains('=');
            assigns
                || arg.contains("system(")
                || changes.split_ascii_whitespace().any(|it| arg.starts_with(it))
        };
        *program == name && !args.iter().any(sets)
    })
}

/// What the programs that only look do otherwise with some arguments.
fn changes(name: &str, args: &[String]) -> bool {
    let has = |flags: &[&str]| args.iter().any(|arg| flags.contains(&arg.as_str()));
    match name {
        "ss" => has(&["-k", "--kill"]),
        "loginctl" => !args.is_empty() && !has(&["list-sessions", "list-users", "show-user"]),
        "gpresult" => has(&["/h", "/x"]),
        _ => false,
    }
}

fn powershell(name: &str) -> bool {
    if name == "out-file" || name == "tee-object" {
        return false;
    }
    if VERBS.split_ascii_whitespace().any(|verb| name.starts_with(verb)) {
        return true;
    }
    // A value, or an operator between values.
    if name.starts_with(['$', '@', '-', ',', '+', '*', '=']) {
        return !name.contains("::") || harmless_type(name);
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return true;
    }
    if name.starts_with('.') {
        let does = [
            "kill",
            "delete",
            "terminate",
            "stop",
            "remove",
            "invoke",
            "create",
            "set",
            "shutdown",
            "win32",
            "uninstall",
            "format",
            "move",
            "copy",
            "write",
            "start",
            "download",
            "put",
            "change",
            "clear",
            "close",
            "save",
            "run",
            "install",
            "enable",
            "disable",
            "reboot",
        ];
        return !does.iter().any(|verb| name.trim_start_matches('.').starts_with(verb));
    }
    if name.starts_with('[') {
        return harmless_type(name);
    }
    ["if", "else", "elseif", "switch", "while", "do", "foreach", "until", "not", "eq"]
        .contains(&name)
}

fn harmless_type(name: &str) -> bool {
    [
        "[math]",
        "[datetime]",
        "[environment]::get",
        "[environment]::os",
        "[environment]::machine",
        "[int]",
        "[string]",
        "[pscustomobject]",
        "[timespan]",
        "[version]",
        "[double]",
        "[char]",
        "[convert]::to",
        "[guid]",
        "[system.net.dns]::get",
        "[regex]",
        "[array]",
        "[bool]",
        "[system.environment]::os",
        "[long]",
        "[uint64]",
        "[ordered]",
        "[system.math]",
    ]
    .iter()
    .any(|known| name.trim_start_matches(['$', '-', '@', ',']).starts_with(known))
}
