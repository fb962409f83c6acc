use muster_commands::ShellType;
use proptest::prelude::*;

use super::*;

const WHOLE: &[(ShellType, &str)] = &[
    (ShellType::Bash, "df -h"),
    (ShellType::Bash, "echo 'it''s' \"a 'b' $(date \"+%s\")\" # it's"),
    (ShellType::Bash, "for f in *.log; do echo \"${f%.log}\"; done"),
    (ShellType::Bash, "if [ -f x ]; then cat x; elif [ -d y ]; then ls y; else echo no; fi"),
    (ShellType::Bash, "while read -r l; do case $l in a) echo 1;; (b|c) echo 2;; esac; done < x"),
    (ShellType::Bash, "cat <<EOF\nit's $HOME\nEOF\necho done"),
    (ShellType::Bash, "cat <<-'EOF' | sort\n\ta (\n\tEOF"),
    (ShellType::Bash, "echo $((1 + (2 << 3))); (( n++ )); ((i = 16#ff))"),
    (ShellType::Bash, "echo if then done fi } esac"),
    (ShellType::Bash, "f() { echo \"$1\"; }; f a && { f b; f c; }"),
    (ShellType::Bash, "diff <(ls a) <(ls b) 2>&1 | tee x &"),
    (ShellType::Bash, "awk '{ print $1 }' x | grep -v \"it's\" &> y"),
    (ShellType::Bash, "echo ${x:-\"a b\"} ${#x} $# $$ \"${y:-it's}\" $'it\\'s'"),
    (ShellType::Bash, "[[ $x =~ ^[a-z]+$ ]] && echo \"`date`\" \\\n  || ! true"),
    (ShellType::Bash, "find . -name '*.tmp' \\( -mtime +1 -o -size +1M \\) -print"),
    (ShellType::Bash, "grep x <<< \"it's\""),
    (ShellType::Powershell, "Get-Process | Where-Object { $_.CPU -gt 50 }"),
    (
        ShellType::Powershell,
        "Write-Output 'it''s' \"a `\"b`\" $(Get-Date -Format \"s\") \"\"c\"\"\"",
    ),
    (ShellType::Powershell, "$x = @{ a = 1; b = @(1, 2) } # it's"),
    (ShellType::Powershell, "$t = @'\nit's ( {\n'@\n$t"),
    (ShellType::Powershell, "$t = @\"\na \"b\" $(1 + 1)\n\"@"),
    (ShellType::Powershell, "<# a ( b #> Get-Item 'C:\\a b' | % { \"$($_.Name)\" }"),
    (ShellType::Powershell, "Get-ChildItem C:\\a#b, [int]3"),
    (ShellType::Pwsh, "if ($true) { 1 } else { 2 }"),
    (ShellType::Cmd, "dir \"C:\\Program Files\" & echo it's :)"),
    (ShellType::Cmd, "if exist x (del x) else (echo no)"),
    (ShellType::Cmd, "for /f \"tokens=1\" %i in ('dir /b') do (\n  echo %i\n)"),
    (ShellType::Cmd, "echo a ^\" b ^( c (d"),
    (ShellType::Cmd, "rem it is \"odd\n::)(\""),
];

const BROKEN: &[(ShellType, &str)] = &[
    (ShellType::Bash, ""),
    (ShellType::Bash, " \n"),
    (ShellType::Bash, "```bash\ndf -h\n```"),
    (ShellType::Bash, "echo \u{1b}[2J"),
    (ShellType::Bash, "echo \u{202e}x"),
    (ShellType::Bash, "rm \u{200b}-rf x"),
    (ShellType::Bash, "echo 'a"),
    (ShellType::Bash, "echo \"a"),
    (ShellType::Bash, "echo \"$(date\""),
    (ShellType::Bash, "echo $(date"),
    (ShellType::Bash, "echo a)"),
    (ShellType::Bash, "(a"),
    (ShellType::Bash, "echo `date"),
    (ShellType::Bash, "if true; then echo a"),
    (ShellType::Bash, "for f in a b; do echo $f"),
    (ShellType::Bash, "echo a; done"),
    (ShellType::Bash, "echo a; fi"),
    (ShellType::Bash, "case x in a) echo a;;"),
    (ShellType::Bash, "{ echo a"),
    (ShellType::Bash, "echo a; }"),
    (ShellType::Bash, "echo ${a"),
    (ShellType::Bash, "cat <<EOF\na"),
    (ShellType::Bash, "echo $((1 + 2)"),
    (ShellType::Bash, "echo a \\"),
    (ShellType::Powershell, "Get-Process | Where-Object { $_.CPU"),
    (ShellType::Powershell, "Write-Output \"a"),
    (ShellType::Powershell, "Write-Output 'a"),
    (ShellType::Powershell, "Write-Output \"$(Get-Date\""),
    (ShellType::Powershell, "(Get-Date"),
    (ShellType::Powershell, "Get-Date)"),
    (ShellType::Powershell, "$x = @{ a = 1 ]"),
    (ShellType::Powershell, "if ($true) { 1 )"),
    (ShellType::Powershell, "$t = @'\nabc '@"),
    (ShellType::Powershell, "$t = @\" abc\n\"@"),
    (ShellType::Powershell, "<# a"),
    (ShellType::Powershell, "Get-Date `"),
    (ShellType::Cmd, "dir \"C:\\a"),
    (ShellType::Cmd, "if exist x (del x"),
    (ShellType::Cmd, "for %i in (a b do echo %i"),
];

#[test]
fn what_a_shell_takes_passes() {
    for (shell, text) in WHOLE {
        assert_eq!(check(*shell, text), Ok(()), "{text}");
    }
}

#[test]
fn what_no_shell_takes_does_not_pass() {
    for (shell, text) in BROKEN {
        assert!(check(*shell, text).is_err(), "{text}");
    }
}

/// Commands that are whole, made of whole parts.
fn whole(shell: ShellType) -> impl Strategy<Value = String> {
    let posix = matches!(shell, ShellType::Bash | ShellType::Sh);
    let leaves: &[&str] = match shell {
        ShellType::Cmd => &["echo a", "dir \"a b\"", "echo \"(\"", "echo ^(", "ver"],
        ShellType::Bash | ShellType::Sh => {
            &["echo 'a\"b'", "echo \"a'b\"", "echo a\\'b", "echo ${x}", "ls # a'b\ntrue", "echo $#"]
        }
        _ => &["echo 'a\"b'", "echo \"a'b\"", "echo a`'b", "echo ${x}", "ls # a'b\n1", "echo @(1)"],
    };
    let cmd = shell == ShellType::Cmd;
    prop::sample::select(leaves).prop_map(ToOwned::to_owned).prop_recursive(
        4,
        16,
        2,
        move |inner| {
            (0..5_u8, inner.clone(), inner).prop_map(move |(form, a, b)| match form {
                0 if cmd => format!("{a} & {b}"),
                1 if cmd => format!("if exist x ({a}) else ({b})"),
                _ if cmd => format!("for %i in (a b) do ({a})"),
                0 => format!("{a}; {b}"),
                1 => format!("echo \"x $({a})\"\n{b}"),
                2 if posix => format!("if {a}; then {b}; fi"),
                3 if posix => format!("for x in a b; do {a}; {b}; done"),
                4 if posix => format!("case a in a) {a};; b) {b};; esac"),
                2 => format!("if ($x) {{ {a} }} else {{ {b} }}"),
                3 => format!("ls | % {{ {a}\n {b} }}"),
                _ => format!("$x = @{{ a = $({a}) }}; {b}"),
            })
        },
    )
}

fn any_shell() -> impl Strategy<Value = (ShellType, String)> {
    prop::sample::select(ShellType::ALL)
        .prop_flat_map(|shell| whole(shell).prop_map(move |text| (shell, text)))
}

proptest! {
    #[test]
    fn what_is_made_of_whole_parts_passes((shell, text) in any_shell()) {
        prop_assert_eq!(check(shell, &text), Ok(()), "{}", text);
    }

    #[test]
    fn what_is_opened_last_and_not_closed_does_not_pass((shell, text) in any_shell()) {
        let open = match shell {
            ShellType::Cmd => "\nif exist y (",
            _ => "\necho \"$(",
        };
        let (block, quote) = (format!("{text}{open}"), format!("{text}\necho \""));
        prop_assert!(check(shell, &block).is_err(), "{}", block);
        prop_assert!(check(shell, &quote).is_err(), "{}", quote);
    }

    #[test]
    fn no_text_is_too_odd_to_be_looked_at(shell in prop::sample::select(ShellType::ALL), text in any::<String>()) {
        let _ = check(shell, &text);
    }

    #[test]
    fn no_text_of_signs_is_too_odd_to_be_looked_at(
        shell in prop::sample::select(ShellType::ALL), text in "[\\\\'\"`$(){}<#@;|& \na^-]{0,40}",
    ) {
        let _ = check(shell, &text);
    }

    #[test]
    fn what_hides_within_a_command_never_passes(
        (shell, text) in any_shell(),
        hidden in prop::sample::select(vec!['\u{1b}', '\u{0}', '\u{7}', '\u{202e}', '\u{200b}', '\u{feff}']),
    ) {
        let text = format!("{text}{hidden}");
        prop_assert_eq!(check(shell, &text), Err(Broken::Hidden));
    }
}
