//! What only looks.

use super::unwrap::{changes_what_runs, is_assignment};
use super::words::Simple;
use super::{Family, among};

/// Programs that change nothing, whatever their arguments say.
const LOOKS: &str = "\
    ls dir cat type head tail less more grep egrep fgrep rg wc cut tr df du free uptime uname \
    whoami id w who last ps top htop pgrep pidof vmstat iostat mpstat sar lscpu lsblk lsusb lspci \
    lsmod lsof ss netstat ping ping6 traceroute tracert tracepath mtr dig nslookup host cal \
    printenv echo printf test [ [[ true false sleep pwd cd stat file readlink realpath basename \
    dirname md5sum sha1sum sha256sum cksum apt-cache getent lsb_release sw_vers system_profiler \
    base64 hexdump strings jq column nl tac rev seq sort-object which where whereis blkid findmnt \
    nproc groups users tty locale set export unset ver vol systeminfo tasklist findstr tree \
    driverquery quser query qwinsta fc comp rem title cls pause exit return chcp gpresult getmac \
    pathping nbtstat fi done esac for in break continue } select measure group ft fl gci gc gps \
    gsv gwmi gcim gi gp gcm gal gm gu write sls oh out-string out-host out-null diff dmidecode \
    numfmt fold expr local ntpq zcat zgrep yes param begin process end try catch finally function \
    acpi runlevel ipcs lslogins iwgetid vm_stat lvs vgs pvs";
/// Verbs of PowerShell that change nothing.
const VERBS: &str = "\
    get- test- select- where- sort- measure- format- convertto- convertfrom- compare- group- \
    resolve- find- show- write- join- split- search- trace- wait- tee-";
/// Programs of which one of these first arguments only looks.
const SUBCOMMANDS: &[(&str, &str)] = &[
    (
        "systemctl",
        "status show cat is-active is-enabled is-failed list-units list-unit-files list-timers \
        list-sockets list-dependencies list-jobs --failed --version get-default",
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
    hostnamectl sysctl dmesg systemctl journalctl bcdedit umask ulimit net path alias";
/// Programs that only look unless one of their arguments begins like this.
const UNLESS: &[(&str, &str)] = &[
    ("find", "-delete -exec -ok -fprint -fls"),
    ("sort", "-o --output"),
    ("journalctl", "--vacuum --rotate --flush --setup-keys --relinquish"),
    ("dmesg", "-c --clear -d --console -n -t"),
    ("ipconfig", "/release /renew /flushdns /registerdns /setclassid set"),
    ("sysctl", "-w -p -f --system --write --load"),
    ("mount", "-o / -a --all -t --bind"),
    ("ipmitool", "chassis power user mc sel lan raw"),
];

/// Where a system keeps its own programs: in any other folder a program may be anything.
const FOLDERS: &str = "/bin /sbin /usr/bin /usr/sbin /usr/local/bin c:/windows/system32";

/// Whether a command only looks.
pub(super) fn is(simple: &Simple, family: Family) -> bool {
    let Some(word) = simple.words.first() else { return true };
    let (name, args) = (simple.program(), simple.args());
    let path = word.to_lowercase().replace('\\', "/");
    let elsewhere = path.rsplit_once('/').is_some_and(|(folder, _)| !among(FOLDERS, folder));
    let is_value = family == Family::PowerShell && word.starts_with(['$', '(', '[']);
    if family == Family::Posix && simple.words.iter().all(|word| is_assignment(word)) {
        return !simple.words.iter().any(|word| changes_what_runs(word));
    }
    let sets_what_runs = among("export set local", &name)
        && simple.words.iter().skip(1).any(|it| it.contains('=') && changes_what_runs(it));
    if word.is_empty() || word == "$()" || (elsewhere && !is_value) || sets_what_runs {
        return false;
    }
    if word == "()" || (among(LOOKS, &name) && !changes(&name, &args)) {
        return true;
    }
    if family == Family::PowerShell && powershell(simple, &name, &args) {
        return true;
    }
    if args.is_empty() && among(ALONE, &name) {
        return true;
    }
    looks_with(simple, &name, &args)
}

/// Whether a program only looks, by what its arguments say.
fn looks_with(simple: &Simple, name: &str, args: &[String]) -> bool {
    let first = args.first().map_or("", String::as_str);
    let raw = simple.words.get(1).map_or("", String::as_str);
    let writes = args.iter().any(|arg| arg == "-out" || arg.starts_with("--output"));
    if let Some((_, looks)) = SUBCOMMANDS.iter().find(|(program, _)| *program == name) {
        let changed = args.iter().skip(1).any(|arg| among(SETS, arg));
        let gets = name != "wmic" || args.iter().any(|arg| arg == "get" || arg == "list");
        if (among(looks, first) || among(looks, raw)) && !changed && !writes && gets {
            return true;
        }
    }
    if name == "net" {
        let lists = ["user", "localgroup", "group", "use", "share", "accounts"].contains(&first);
        return first == "view"
            || first == "statistics"
            || (lists && (args.len() <= 2 || args.last().is_some_and(|arg| arg == "/domain")))
            || (first == "start" && args.len() == 1);
    }
    if name == "service" && args.get(1).is_some_and(|verb| verb == "status") {
        return true;
    }
    match name {
        "curl" => return !curl_changes(simple),
        "sed" => return !sed_changes(simple),
        "awk" => {
            let text = args.concat();
            let does = ["system", "|", "getline", ">", "-f"].iter().any(|it| text.contains(it));
            return !does;
        }
        "uniq" => return args.iter().filter(|arg| !arg.starts_with('-')).count() < 2,
        "date" => {
            return args.iter().all(|arg| {
                arg.starts_with(['+', '-']) && !arg.starts_with("-s") && !arg.starts_with("--set")
            });
        }
        _ => {}
    }
    UNLESS.iter().any(|(program, changes)| {
        let sets = |arg: &String| {
            let assigns = name == "sysctl" && arg.contains('=');
            assigns || changes.split_ascii_whitespace().any(|it| arg.starts_with(it))
        };
        *program == name && !args.iter().any(sets)
    })
}

/// What the programs of [`SUBCOMMANDS`] change something with.
const SETS: &str = "\
    set add del d delete flush change replace append prepend restore down up call create modify mod \
    connect disconnect dis enable disable refresh import export reload load clone hostname reboot \
    shutdown stop mask start deletecontainer deletevolume a r";

fn curl_changes(simple: &Simple) -> bool {
    simple.words.iter().skip(1).any(|word| match word.strip_prefix("--") {
        Some(long) => {
            let long = long.split('=').next().unwrap_or(long);
            among(
                "request data data-raw data-binary data-urlencode json output remote-name \
                 upload-file form config dump-header cookie-jar",
                long,
            )
        }
        None => word.strip_prefix('-').is_some_and(|flags| {
            // `-o /dev/null` is how people look at headers only; of a group it is not told apart.
            flags.contains(['o', 'O', 'X', 'd', 'F', 'T', 'K', 'D', 'c'])
        }),
    })
}

fn sed_changes(simple: &Simple) -> bool {
    simple.words.iter().skip(1).any(|word| {
        let flags = word.strip_prefix('-').filter(|flags| !flags.starts_with('-'));
        let in_place = word.starts_with("--in-place") || flags.is_some_and(|it| it.contains('i'));
        let runs = ["e", "w"].iter().any(|command| {
            let script = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '$');
            script.starts_with(command) && script.contains(' ')
        });
        in_place || (flags.is_none() && (runs || word.contains("/w ") || word.ends_with("/e")))
    })
}

/// What the programs that only look do otherwise with some arguments.
fn changes(name: &str, args: &[String]) -> bool {
    let has = |flags: &[&str]| args.iter().any(|arg| flags.contains(&arg.as_str()));
    match name {
        "ss" => has(&["-k", "--kill"]),
        "gpresult" => has(&["/h", "/x"]),
        _ => false,
    }
}

/// What methods begin with that change something.
const DOES: &str = "\
    kill delete terminate stop remove invoke create set shutdown win32 uninstall format move copy \
    write start download put change clear close save run install enable disable reboot execute \
    encrypt decrypt rename upload send";

fn powershell(simple: &Simple, name: &str, args: &[String]) -> bool {
    if name == "out-file" || name == "tee-object" {
        return false;
    }
    let word = simple.words.first().map_or("", String::as_str).to_lowercase();
    if among("% ? foreach-object where-object", name) {
        // Without a block it calls what its argument names.
        return args.iter().all(|arg| arg.starts_with(['$', '-', '\'']) || arg.ends_with("()"))
            || name.starts_with(['?', 'w']);
    }
    if VERBS.split_ascii_whitespace().any(|verb| name.starts_with(verb)) {
        let does = ["-install", "-repair", "-delete", "-remove", "-autoreboot", "-force"];
        return !word.contains(".ps1")
            && !args.iter().any(|arg| does.iter().any(|it| arg.starts_with(it)));
    }
    if word.starts_with(['$', '(', '[', '@', '-', ',', '+', '*', '=', '.']) {
        let calls = word.split('.').skip(usize::from(!word.starts_with('.')));
        let does = calls
            .filter(|member| member.contains("()"))
            .any(|member| DOES.split_ascii_whitespace().any(|verb| member.starts_with(verb)));
        return !does && (!word.contains("::") || harmless_type(&word));
    }
    let is_number = |word: &String| {
        let digits = word.trim_end_matches([',', 'k', 'm', 'g', 'b', 'K', 'M', 'G', 'B']);
        !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    if simple.words.iter().all(is_number) {
        return true;
    }
    among("if else elseif switch while do foreach until not eq", name)
}

/// What begins the names of PowerShell's types that only compute.
const TYPES: &str = "\
    [math] [datetime] [environment]::get [environment]::os [environment]::machine [int] [string] \
    [pscustomobject] [timespan] [version] [double] [char] [convert]::to [guid] \
    [system.net.dns]::get [regex] [array] [bool] [system.environment]::os [long] [uint64] \
    [ordered] [system.math]";

fn harmless_type(name: &str) -> bool {
    let name = name.trim_start_matches(['$', '-', '@', ',']);
    TYPES.split_ascii_whitespace().any(|known| name.starts_with(known))
}
