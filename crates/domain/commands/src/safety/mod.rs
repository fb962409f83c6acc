//! How dangerous a command is, as far as its text tells.
//!
//! The text is taken apart as its shell would ([`words`]), into programs and their arguments, and
//! each is held against rules ([`dangers`], [`harmless`]). What another program is told to run
//! (`sudo`, `bash -c`, `powershell -EncodedCommand`) is taken apart as well. A text that is not
//! understood is never safe. This is a seat belt, not a wall: a script that is fetched or computed
//! can do anything, and who may run what is decided elsewhere.

mod dangers;
mod harmless;
mod paths;
mod unwrap;
mod words;

use crate::ShellType;
pub(crate) use unwrap::changes_what_runs;
use words::Simple;

/// How deep commands are looked for within commands. What hides deeper is dangerous.
const DEPTH: usize = 6;
const TOO_DEEP: &str = "hides commands too deep within others to be looked at";

/// How dangerous a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SafetyLevel {
    /// It only looks.
    Safe,
    /// It changes something, or nobody knows what it does.
    Caution,
    /// It can cost data, access or protection.
    Dangerous,
}

impl SafetyLevel {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Caution => "caution",
            Self::Dangerous => "dangerous",
        }
    }

    /// Reads what [`SafetyLevel::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Safe, Self::Caution, Self::Dangerous].into_iter().find(|it| it.as_str() == text)
    }
}

/// What is thought of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// How dangerous it is.
    pub level: SafetyLevel,
    /// Why it is dangerous, each reason once.
    pub reasons: Vec<&'static str>,
}

impl Assessment {
    /// Of what only looks.
    pub const SAFE: Self = Self { level: SafetyLevel::Safe, reasons: Vec::new() };

    fn dangerous(reason: &'static str) -> Self {
        Self { level: SafetyLevel::Dangerous, reasons: vec![reason] }
    }

    /// Takes in what is thought of something that runs beside it.
    pub fn add(&mut self, other: Self) {
        self.level = self.level.max(other.level);
        for reason in other.reasons {
            if !self.reasons.contains(&reason) {
                self.reasons.push(reason);
            }
        }
    }
}

/// What is thought of `command`, run by `shell` with these arguments.
pub fn assess(shell: ShellType, command: &str, args: &[String]) -> Assessment {
    let mut found = assess_at(Family::of(shell), command, 0);
    if !args.is_empty() {
        // Arguments are handed over as they are; a program may read them as anything.
        found.level = found.level.max(SafetyLevel::Caution);
        let mut words: Vec<_> = command.split_whitespace().map(ToOwned::to_owned).collect();
        words.extend(args.iter().cloned());
        let whole = Simple { words, ..Simple::default() };
        found.add(assess_one(Family::of(shell), &whole, 0));
    }
    found
}

/// Whether a name is one of those in a list with spaces between them.
fn among(list: &str, name: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == name)
}

/// How a text is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Posix,
    PowerShell,
    Cmd,
}

impl Family {
    const fn of(shell: ShellType) -> Self {
        match shell {
            ShellType::Powershell | ShellType::Pwsh => Self::PowerShell,
            ShellType::Cmd => Self::Cmd,
            ShellType::Bash | ShellType::Sh => Self::Posix,
        }
    }
}

fn assess_at(family: Family, text: &str, depth: usize) -> Assessment {
    if depth > DEPTH {
        return Assessment::dangerous(TOO_DEEP);
    }
    let mut found = Assessment::SAFE;
    if let Some(reason) = dangers::in_text(text) {
        found.add(Assessment::dangerous(reason));
    }
    let commands = words::split(family, text);
    let fetches = commands.iter().any(dangers::fetches);
    let decodes = commands.iter().any(dangers::decodes);
    for simple in &commands {
        if dangers::runs_computed(simple) {
            let (level, reason) = dangers::of_computed(fetches, decodes);
            found.add(Assessment { level, reasons: reason.into_iter().collect() });
        }
        found.add(assess_one(family, simple, depth));
    }
    found
}

fn assess_one(family: Family, simple: &Simple, depth: usize) -> Assessment {
    if depth > DEPTH {
        return Assessment::dangerous(TOO_DEEP);
    }
    let mut found = Assessment::SAFE;
    if let Some(reason) = dangers::of(simple).or_else(|| dangers::of_pipe(simple)) {
        found.add(Assessment::dangerous(reason));
    }
    if let Some(target) = &simple.writes_to {
        found.level = found.level.max(SafetyLevel::Caution);
        if paths::is_device(target) || paths::is_account_file(target) {
            found.add(Assessment::dangerous("overwrites a device or the list of accounts"));
        }
    }
    match unwrap::inner(simple, family) {
        Some(unwrap::Inner::Text(inner_family, text)) => {
            // What is not written there nobody has looked at.
            if text.trim().is_empty() || text.trim() == "-" || text.contains('$') {
                found.level = found.level.max(SafetyLevel::Caution);
            }
            found.add(assess_at(inner_family, &text, depth + 1));
        }
        Some(unwrap::Inner::Words(words)) => {
            let inner = Simple { words, ..simple.clone() };
            found.add(assess_one(family, &inner, depth + 1));
        }
        Some(unwrap::Inner::Hidden(reason)) => found.add(Assessment::dangerous(reason)),
        None if harmless::is(simple, family) => {}
        None => found.level = found.level.max(SafetyLevel::Caution),
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHELLS: [ShellType; 5] =
        [ShellType::Powershell, ShellType::Pwsh, ShellType::Cmd, ShellType::Bash, ShellType::Sh];

    /// Real commands and the level expected, false alarms included.
    #[test]
    fn real_commands_have_the_level_that_an_administrator_expects() {
        let (mut seen, mut wrong) = (0, Vec::new());
        for line in include_str!("../../tests/safety.txt").lines() {
            if line.is_empty() || line.starts_with("# ") {
                continue;
            }
            let mut parts = line.splitn(3, ' ').map(str::trim);
            let (level, shell) = (parts.next().unwrap(), parts.next().unwrap());
            let command = parts.next().unwrap();
            let shell = SHELLS.into_iter().find(|known| known.as_str() == shell).unwrap();
            let assessment = assess(shell, command, &[]);
            if assessment.level.as_str() != level {
                wrong.push(format!("{command}: {assessment:?}, not {level}"));
            }
            seen += 1;
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(seen >= 150, "{seen}");
    }

    #[test]
    fn what_is_dangerous_says_why() {
        let assessment = assess(ShellType::Bash, "df -h; sudo rm -rf /; sudo rm -rf /", &[]);
        assert_eq!(assessment.reasons.len(), 1);
        assert!(assess(ShellType::Bash, "df -h", &[]).reasons.is_empty());
    }

    #[test]
    fn arguments_count_as_well() {
        let args = ["-rf".to_owned(), "/".to_owned()];
        assert_eq!(assess(ShellType::Sh, "rm", &args).level, SafetyLevel::Dangerous);
        let harmless = ["hello".to_owned()];
        assert_eq!(assess(ShellType::Sh, "echo \"$1\"", &harmless).level, SafetyLevel::Caution);
    }

    /// Commands with everything in them that a text can be taken apart wrongly at.
    fn harmless_text() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec![
            "echo",
            "'a;b'",
            "\"x | y\"",
            "\"$(date)\"",
            "\"a `date` b\"",
            "$(ls -l)",
            "a\\ b",
            "\"it's\"",
            "(date)",
            "x\\\"y",
            "# c",
            "2>/dev/null",
            "'\"'",
        ]);
        prop::collection::vec(word, 0..6).prop_map(|words| format!("echo {}", words.join(" ")))
    }

    proptest! {
        #[test]
        fn what_stands_before_it_hides_no_dangerous_command(before in harmless_text()) {
            let text = format!("{before}\nrm -rf /");
            let level = assess(ShellType::Bash, &text, &[]).level;
            prop_assert_eq!(level, SafetyLevel::Dangerous, "{}", text);
        }

        #[test]
        fn no_text_is_too_odd_to_be_looked_at(text in any::<String>(), shell in 0..5_usize) {
            assess(SHELLS[shell], &text, &[]);
        }

        #[test]
        fn nothing_that_is_added_makes_a_command_safer(
            text in "[ -~]{0,40}",
            shell in prop::sample::select(vec![ShellType::Bash, ShellType::Powershell]),
        ) {
            let dangerous = match shell {
                ShellType::Bash => "rm -rf /",
                _ => "Remove-Item C:\\ -Recurse",
            };
            // On a line of its own, before whatever follows.
            let both = format!("{dangerous}\n{text}");
            prop_assert_eq!(assess(shell, &both, &[]).level, SafetyLevel::Dangerous);
        }
    }
}
