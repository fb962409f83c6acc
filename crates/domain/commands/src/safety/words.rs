//! A text, taken apart as a shell would: into simple commands, each a program and its arguments.
//!
//! Commands within others (`$(…)`, `` `…` ``, `{…}`, `(…)`) become commands of their own: what is
//! run matters, not what is done with its output.

use super::Family;

/// One program with its arguments, quotes taken off. Where the output of another command stands,
/// there is `$()`; where it is read like a file, `<()`; and `()` after a name calls it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Simple {
    pub(super) words: Vec<String>,
    /// The programs whose output it reads, the nearest last.
    pub(super) upstream: Vec<Source>,
    /// The file that its output goes to.
    pub(super) writes_to: Option<String>,
}

/// A program that writes into a pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) program: String,
    /// Whether it has no argument.
    pub(super) alone: bool,
}

/// How far back a pipe is followed.
const LONGEST_PIPE: usize = 20;

impl Simple {
    /// The program's name: in lower case, without its folder and ending.
    pub(super) fn program(&self) -> String {
        program(self.words.first().map_or("", String::as_str))
    }

    /// The arguments in lower case.
    pub(super) fn args(&self) -> Vec<String> {
        self.words.iter().skip(1).map(|word| word.to_lowercase()).collect()
    }
}

pub(super) fn program(word: &str) -> String {
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word).to_lowercase();
    let known = [".exe", ".cmd", ".bat", ".com"];
    known.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name).to_owned()
}

/// The simple commands of a text, in their order.
pub(super) fn split(family: Family, text: &str) -> Vec<Simple> {
    let mut splitter =
        Splitter { family, done: Vec::new(), now: State::default(), outer: Vec::new() };
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        splitter.take(letter, &mut letters);
    }
    while !splitter.outer.is_empty() {
        splitter.leave();
    }
    splitter.end_command(false);
    splitter.done
}

type Letters<'t> = std::iter::Peekable<std::str::Chars<'t>>;

/// Where the splitter is within one command.
#[derive(Default)]
struct State {
    command: Simple,
    word: String,
    /// Whether there is a word, be it empty.
    in_word: bool,
    quote: Option<char>,
    /// The next word is a file to write to.
    redirects: bool,
}

struct Splitter {
    family: Family,
    done: Vec<Simple>,
    now: State,
    /// The commands around this one, and what ends it.
    outer: Vec<(State, char)>,
}

impl Splitter {
    fn take(&mut self, letter: char, letters: &mut Letters<'_>) {
        let escape = match self.family {
            Family::Posix => '\\',
            Family::PowerShell => '`',
            Family::Cmd => '^',
        };
        let next = letters.peek().copied();
        let ends = |end: char| self.outer.last().is_some_and(|(_, known)| *known == end);
        match (self.now.quote, letter) {
            (Some('\''), '\'') => self.now.quote = None,
            (Some('\''), _) => self.now.word.push(letter),
            // Within double quotes commands are still run.
            (_, '$') if next == Some('(') && self.family != Family::Cmd => {
                letters.next();
                self.enter("$()", ')');
            }
            (_, '`') if self.family == Family::Posix => {
                if ends('`') {
                    self.leave();
                } else {
                    self.enter("$()", '`');
                }
            }
            (_, _) if letter == escape => match letters.next() {
                // The line goes on.
                Some('\n') | None => {}
                Some(next) => self.push(next),
            },
            (Some('"'), '"') => self.now.quote = None,
            (Some(_), _) => self.now.word.push(letter),
            (None, '"') => self.open(letter),
            (None, '\'') if self.family != Family::Cmd => self.open(letter),
            (None, '#') if !self.now.in_word && self.family != Family::Cmd => {
                while letters.peek().is_some_and(|next| *next != '\n') {
                    letters.next();
                }
            }
            (None, '<') if next == Some('(') => {
                letters.next();
                self.enter("<()", ')');
            }
            (None, '(') => self.enter("()", ')'),
            (None, ')') if ends(')') => self.leave(),
            (None, '|') => {
                let piped = letters.next_if_eq(&'|').is_none();
                self.end_command(piped);
            }
            (None, '>') => self.redirect(letters),
            // `& $program` calls it.
            (None, '&')
                if self.family == Family::PowerShell
                    && !self.now.in_word
                    && self.now.command.words.is_empty()
                    && next != Some('&') =>
            {
                self.push(letter);
                self.end_word();
            }
            // `>&1` is no command that ends.
            (None, '&') if self.now.redirects && !self.now.in_word => self.push(letter),
            (None, ';' | '\n' | '\r' | '&' | ')') => self.end_command(false),
            (None, '{' | '}') if self.family == Family::PowerShell || !self.now.in_word => {
                self.end_command(false);
            }
            (None, letter) if letter.is_whitespace() => self.end_word(),
            (None, letter) => self.push(letter),
        }
    }

    /// A command within another begins; `mark` stands for it there.
    fn enter(&mut self, mark: &str, end: char) {
        self.now.word.push_str(mark);
        self.now.in_word = true;
        self.outer.push((std::mem::take(&mut self.now), end));
    }

    /// It ends, and the one around it goes on.
    fn leave(&mut self) {
        self.end_command(false);
        if let Some((outer, _)) = self.outer.pop() {
            self.now = outer;
        }
    }

    fn open(&mut self, quote: char) {
        self.now.quote = Some(quote);
        self.now.in_word = true;
    }

    fn push(&mut self, letter: char) {
        self.now.word.push(letter);
        self.now.in_word = true;
    }

    fn redirect(&mut self, letters: &mut Letters<'_>) {
        // The number before it says which stream.
        if self.now.word.chars().all(|letter| letter.is_ascii_digit() || letter == '*') {
            self.now.word.clear();
            self.now.in_word = false;
        }
        self.end_word();
        letters.next_if_eq(&'>');
        letters.next_if_eq(&'|');
        self.now.redirects = true;
    }

    fn end_word(&mut self) {
        if !self.now.in_word {
            return;
        }
        let word = std::mem::take(&mut self.now.word);
        self.now.in_word = false;
        if std::mem::take(&mut self.now.redirects) {
            let nowhere = ["/dev/null", "nul", "$null"].contains(&word.to_lowercase().as_str());
            if !nowhere && !word.starts_with('&') {
                self.now.command.writes_to = Some(word);
            }
            return;
        }
        self.now.command.words.push(word);
    }

    fn end_command(&mut self, next_is_piped: bool) {
        self.end_word();
        self.now.redirects = false;
        let command = std::mem::take(&mut self.now.command);
        if next_is_piped {
            let mut upstream = command.upstream.clone();
            upstream.push(Source { program: command.program(), alone: command.words.len() < 2 });
            let too_many = upstream.len().saturating_sub(LONGEST_PIPE);
            self.now.command.upstream = upstream.split_off(too_many);
        }
        if !command.words.is_empty() || command.writes_to.is_some() {
            self.done.push(command);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(family: Family, text: &str) -> Vec<Vec<String>> {
        split(family, text).into_iter().map(|simple| simple.words).collect()
    }

    #[test]
    fn a_text_is_taken_apart_as_its_shell_would() {
        let posix = |text| words(Family::Posix, text);
        assert_eq!(
            posix("a 'b c' \"d e\"; f|g && h"),
            [vec!["a", "b c", "d e"], vec!["f"], vec!["g"], vec!["h"]]
        );
        let within = posix("echo \"x $(rm y) `z`\"; w");
        assert_eq!(within, [vec!["rm", "y"], vec!["z"], vec!["echo", "x $() $()"], vec!["w"]]);
        assert_eq!(posix("sh <(a b)"), [vec!["a", "b"], vec!["sh", "<()"]]);
        let calls = words(Family::PowerShell, "(Get-Date).AddDays(-1)");
        assert_eq!(calls, [["Get-Date"], ["-1"], ["().AddDays()"]]);
        assert_eq!(posix("a b 2>&1 # c"), [["a", "b"]]);
        let cmd = words(Family::Cmd, "del \"C:\\a b\" & echo it's ^& done");
        assert_eq!(cmd, [vec!["del", "C:\\a b"], vec!["echo", "it's", "&", "done"]]);
        let powershell = words(Family::PowerShell, "Get-Item 'a''b' | % { Remove-Item $_ }");
        assert_eq!(powershell, [vec!["Get-Item", "ab"], vec!["%"], vec!["Remove-Item", "$_"]]);
    }

    #[test]
    fn it_is_known_what_reads_from_what_and_writes_where() {
        let commands = split(Family::Posix, "a | b > c; d || e >> f 2>/dev/null");
        let piped: Vec<_> = commands.iter().map(|simple| !simple.upstream.is_empty()).collect();
        assert_eq!(piped, [false, true, false, false]);
        let files: Vec<_> = commands.iter().map(|simple| simple.writes_to.as_deref()).collect();
        assert_eq!(files, [None, Some("c"), None, Some("f")]);
    }
}
