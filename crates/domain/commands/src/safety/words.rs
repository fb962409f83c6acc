//! A text, taken apart as a shell would: into simple commands, each a program and its arguments.
//!
//! Commands within others (`$(…)`, `` `…` ``, `{…}`, `(…)`) become commands of their own: what is
//! run matters, not what is done with its output.

use super::Family;

/// One program with its arguments, quotes taken off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Simple {
    pub(super) words: Vec<String>,
    /// Whether it reads what the one before it writes.
    pub(super) piped: bool,
    /// The file that its output goes to.
    pub(super) writes_to: Option<String>,
}

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
    let mut splitter = Splitter { family, ..Splitter::default() };
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        splitter.take(letter, &mut letters);
    }
    splitter.end_command(false);
    splitter.done
}

type Letters<'t> = std::iter::Peekable<std::str::Chars<'t>>;

struct Splitter {
    family: Family,
    done: Vec<Simple>,
    command: Simple,
    word: String,
    /// Whether there is a word, be it empty.
    in_word: bool,
    quote: Option<char>,
    /// The next word is a file to write to.
    redirects: bool,
}

impl Default for Splitter {
    fn default() -> Self {
        Self {
            family: Family::Posix,
            done: Vec::new(),
            command: Simple::default(),
            word: String::new(),
            in_word: false,
            quote: None,
            redirects: false,
        }
    }
}

impl Splitter {
    fn take(&mut self, letter: char, letters: &mut Letters<'_>) {
        let escape = match self.family {
            Family::Posix => '\\',
            Family::PowerShell => '`',
            Family::Cmd => '^',
        };
        match (self.quote, letter) {
            (Some('\''), '\'') => self.quote = None,
            (Some('\''), _) => self.word.push(letter),
            // Within double quotes commands are still run.
            (_, '$') if letters.peek() == Some(&'(') && self.family != Family::Cmd => {
                letters.next();
                self.quote = None;
                self.end_command(false);
            }
            (_, '`') if self.family == Family::Posix => {
                self.quote = None;
                self.end_command(false);
            }
            (_, _) if letter == escape => match letters.next() {
                // The line goes on.
                Some('\n') | None => {}
                Some(next) => self.push(next),
            },
            (Some('"'), '"') => self.quote = None,
            (Some(_), _) => self.word.push(letter),
            (None, '"') => self.open(letter),
            (None, '\'') if self.family != Family::Cmd => self.open(letter),
            (None, '#') if !self.in_word && self.family != Family::Cmd => {
                while letters.peek().is_some_and(|next| *next != '\n') {
                    letters.next();
                }
            }
            (None, '|') => {
                let piped = letters.next_if_eq(&'|').is_none();
                self.end_command(piped);
            }
            (None, '>') => self.redirect(letters),
            (None, '&') if self.in_word_is_number_or_redirect() => self.push(letter),
            (None, ';' | '\n' | '\r' | '&' | '(' | ')') => self.end_command(false),
            (None, '{' | '}') if self.family == Family::PowerShell || !self.in_word => {
                self.end_command(false);
            }
            (None, '<') if letters.peek() == Some(&'(') => self.end_command(false),
            (None, letter) if letter.is_whitespace() => self.end_word(),
            (None, letter) => self.push(letter),
        }
    }

    fn open(&mut self, quote: char) {
        self.quote = Some(quote);
        self.in_word = true;
    }

    fn push(&mut self, letter: char) {
        self.word.push(letter);
        self.in_word = true;
    }

    /// `>&1` is no command that ends.
    fn in_word_is_number_or_redirect(&self) -> bool {
        self.redirects && !self.in_word
    }

    fn redirect(&mut self, letters: &mut Letters<'_>) {
        // The number before it says which stream.
        if self.word.chars().all(|letter| letter.is_ascii_digit() || letter == '*') {
            self.word.clear();
            self.in_word = false;
        }
        self.end_word();
        letters.next_if_eq(&'>');
        letters.next_if_eq(&'|');
        self.redirects = true;
    }

    fn end_word(&mut self) {
        if !self.in_word {
            return;
        }
        let word = std::mem::take(&mut self.word);
        self.in_word = false;
        if std::mem::take(&mut self.redirects) {
            let nowhere = ["/dev/null", "nul", "$null"].contains(&word.to_lowercase().as_str());
            if !nowhere && !word.starts_with('&') {
                self.command.writes_to = Some(word);
            }
            return;
        }
        self.command.words.push(word);
    }

    fn end_command(&mut self, next_is_piped: bool) {
        self.end_word();
        self.redirects = false;
        let command = std::mem::take(&mut self.command);
        if !command.words.is_empty() || command.writes_to.is_some() {
            self.done.push(command);
        } else {
            // `a | (b)`: the pipe leads to what comes after the bracket.
            self.command.piped = command.piped;
        }
        self.command.piped |= next_is_piped;
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
        let within = posix("echo \"x $(rm y) `z`\"");
        assert_eq!(within, [vec!["echo", "x "], vec!["rm", "y"], vec!["z"], vec![""]]);
        assert_eq!(posix("a b 2>&1 # c"), [["a", "b"]]);
        let cmd = words(Family::Cmd, "del \"C:\\a b\" & echo it's ^& done");
        assert_eq!(cmd, [vec!["del", "C:\\a b"], vec!["echo", "it's", "&", "done"]]);
        let powershell = words(Family::PowerShell, "Get-Item 'a''b' | % { Remove-Item $_ }");
        assert_eq!(powershell, [vec!["Get-Item", "ab"], vec!["%"], vec!["Remove-Item", "$_"]]);
    }

    #[test]
    fn it_is_known_what_reads_from_what_and_writes_where() {
        let commands = split(Family::Posix, "a | b > c; d || e >> f 2>/dev/null");
        let piped: Vec<_> = commands.iter().map(|simple| simple.piped).collect();
        assert_eq!(piped, [false, true, false, false]);
        let files: Vec<_> = commands.iter().map(|simple| simple.writes_to.as_deref()).collect();
        assert_eq!(files, [None, Some("c"), None, Some("f")]);
    }
}
