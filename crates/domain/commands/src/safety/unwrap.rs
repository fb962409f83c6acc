//! What programs are told to run by others.

use super::words::{Simple, program};
use super::{Family, among};

/// What is within a command.
pub(super) enum Inner {
    /// A text for another shell.
    Text(Family, String),
    /// A program and its arguments.
    Words(Vec<String>),
    /// Something that can't be looked at.
    Hidden(&'static str),
}

/// Programs that run what comes after their options.
const PREFIXES: &str = "\
    sudo doas nohup time nice ionice setsid stdbuf command exec builtin busybox xargs timeout \
    env chroot unshare strace caffeinate start call then do else if while until ! { elif";
/// Of those, the ones whose first argument that is no option is their own.
const WITH_ONE: &str = "timeout chroot";

/// What is within `simple`, if it runs something else.
pub(super) fn inner(simple: &Simple, family: Family) -> Option<Inner> {
    let name = simple.program();
    let words = &simple.words;
    match name.as_str() {
        "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash" | "su" => {
            let flag = words.iter().position(|word| {
                let flag = word.strip_prefix('-').filter(|flag| !flag.starts_with('-'));
                flag.is_some_and(|flag| flag.contains('c'))
            })?;
            Some(Inner::Text(Family::Posix, words.get(flag + 1..)?.join(" ")))
        }
        "eval" => Some(Inner::Text(Family::Posix, words.get(1..)?.join(" "))),
        "powershell" | "pwsh" => powershell(words),
        "cmd" if words.len() > 1 => {
            let flag = words
                .iter()
                .position(|word| ["/c", "/k", "/r"].contains(&word.to_lowercase().as_str()))?;
            Some(Inner::Text(Family::Cmd, words.get(flag + 1..)?.join(" ")))
        }
        "invoke-expression" | "iex" => {
            let text = words.get(1..)?.join(" ");
            let text = text.strip_prefix("-Command ").unwrap_or(&text);
            Some(Inner::Text(Family::PowerShell, text.to_owned()))
        }
        // What a variable names nobody can look at.
        "&" | "." if family == Family::PowerShell => {
            let named = words.get(1).is_some_and(|word| !word.starts_with(['$', '(']));
            if named { rest(words, 1) } else { None }
        }
        // `$x = Get-Process`, `$x=Get-Process`: what is run stands behind the sign.
        _ if family == Family::PowerShell && words.first()?.starts_with('$') => {
            if words.get(1).is_some_and(|word| word == "=" || word == "+=") {
                return rest(words, 2);
            }
            let (_, value) = words.first()?.split_once('=')?;
            let mut inner = vec![value.to_owned()];
            inner.extend(words.iter().skip(1).cloned());
            inner.retain(|word| !word.is_empty());
            rest(&inner, 0)
        }
        // `NAME=value program`
        _ if family == Family::Posix && is_assignment(words.first()?) => {
            let first = words.iter().position(|word| !is_assignment(word))?;
            let code = words.iter().take(first).any(|word| changes_what_runs(word));
            if code { None } else { rest(words, first) }
        }
        "watch" => Some(Inner::Text(family, words.get(own("watch", words)..)?.join(" "))),
        _ if among(PREFIXES, &name) => rest(words, own(&name, words)),
        _ => None,
    }
}

fn rest(words: &[String], from: usize) -> Option<Inner> {
    let words = words.get(from..).filter(|words| !words.is_empty())?;
    Some(Inner::Words(words.to_vec()))
}

/// Options that take the word after them, by program; `-p` and `-P` are not the same.
const TAKES_A_WORD: &[(&str, &str)] = &[
    ("sudo", "-u -g -h -p -C -r -t -T -U -D -R"),
    ("doas", "-u -C"),
    ("env", "-u -C"),
    ("nice", "-n"),
    ("ionice", "-c -n -p"),
    ("timeout", "-k -s"),
    ("watch", "-n"),
    ("xargs", "-n -I -P -L -d -s -a -E"),
    ("strace", "-e -o -p -s"),
    ("stdbuf", "-i -o -e"),
];

/// How many words belong to a program that runs what follows them.
fn own(name: &str, words: &[String]) -> usize {
    let takes = TAKES_A_WORD.iter().find(|(program, _)| *program == name);
    let takes = takes.map_or("", |(_, options)| *options);
    let mut index = 1;
    let mut extra = usize::from(among(WITH_ONE, name));
    while let Some(word) = words.get(index) {
        let is_title = name == "start" && (word.is_empty() || word.starts_with('/'));
        if word.starts_with('-') || is_title {
            index += 1 + usize::from(among(takes, word));
        } else if name == "env" && is_assignment(word) {
            index += 1;
        } else if extra > 0 {
            extra -= 1;
            index += 1;
        } else {
            break;
        }
    }
    index
}

/// Whether a variable says which code programs load.
pub(crate) fn changes_what_runs(name: &str) -> bool {
    let name = name.split('=').next().unwrap_or(name).to_uppercase();
    among("PATH BASH_ENV ENV PAGER IFS PS4 PROMPT_COMMAND LESSOPEN EDITOR", &name)
        || ["LD_", "DYLD_", "GIT_", "PYTHON", "PERL5", "RUBY", "NODE_"]
            .iter()
            .any(|start| name.starts_with(start))
}

pub(super) fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// Parameters of PowerShell's that take the word after them.
const OF_POWERSHELL: [&str; 8] = [
    "executionpolicy",
    "version",
    "windowstyle",
    "outputformat",
    "inputformat",
    "psconsolefile",
    "configurationname",
    "workingdirectory",
];

fn powershell(words: &[String]) -> Option<Inner> {
    let mut index = 1;
    while let Some(word) = words.get(index) {
        let flag = word.to_lowercase();
        let Some(flag) = flag.strip_prefix(['-', '/']) else {
            // A script's name, or the text itself.
            return Some(Inner::Text(Family::PowerShell, words.get(index..)?.join(" ")));
        };
        let is = |full: &str| !flag.is_empty() && full.starts_with(flag);
        if is("encodedcommand") || flag == "ec" {
            let text = words.get(index + 1).and_then(|text| decode(text));
            return Some(match text {
                Some(text) => Inner::Text(Family::PowerShell, text),
                None => Inner::Hidden("runs something encoded that can't be read"),
            });
        }
        if is("command") {
            return Some(Inner::Text(Family::PowerShell, words.get(index + 1..)?.join(" ")));
        }
        if is("file") {
            return None;
        }
        let takes = flag == "ep"
            || OF_POWERSHELL.iter().any(|full| flag.len() > 1 && is(full))
            || flag == "w";
        index += 1 + usize::from(takes);
    }
    None
}

/// Base64 of UTF-16, as PowerShell takes it.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut bits, mut kept) = (0_u32, 0_u32);
    for letter in text.trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        kept = (kept << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((kept >> bits) & 0xff).ok()?);
            kept &= (1 << bits) - 1;
        }
    }
    let units: Vec<_> = bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    String::from_utf16(&units).ok().filter(|text| !text.is_empty())
}

/// Programs that read code from their input; some with a version at the end of their name.
const INTERPRETERS: &str = "\
    sh bash dash zsh ksh ash python perl ruby node php powershell pwsh iex invoke-expression cmd \
    osascript";

/// Whether a program reads code from its input.
pub(super) fn is_interpreter(word: &str) -> bool {
    let name = program(word);
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    among(INTERPRETERS, name)
}
