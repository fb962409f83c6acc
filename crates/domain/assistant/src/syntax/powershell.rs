//! Texts for `PowerShell`.

use super::{Broken, Letters};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Paren,
    Brace,
    Double,
    /// A text of several lines that begins with `@"`.
    HereDouble,
}

impl Open {
    const fn name(self) -> &'static str {
        match self {
            Self::Paren => "a bracket",
            Self::Brace => "a brace",
            Self::Double => "a double quote",
            Self::HereDouble => "a here-string",
        }
    }
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    /// The letter before; a line begins when there is none.
    before: Option<char>,
}

pub(super) fn check(text: &str) -> Result<(), Broken> {
    let mut reader = Reader::default();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        reader.take(letter, &mut letters)?;
        reader.before = (letter != '\n').then_some(letter);
    }
    match reader.open.last() {
        Some(open) => Err(Broken::Unclosed(open.name())),
        None => Ok(()),
    }
}

/// What PowerShell takes for the sign that it looks like.
const fn is_double(letter: char) -> bool {
    matches!(letter, '"' | '\u{201c}' | '\u{201d}' | '\u{201e}')
}

const fn is_single(letter: char) -> bool {
    matches!(letter, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}')
}

impl Reader {
    fn take(&mut self, letter: char, letters: &mut Letters<'_>) -> Result<(), Broken> {
        let line_begins = self.before.is_none();
        match (self.open.last().copied(), letter) {
            (_, '`') => {
                letters.next().ok_or(Broken::Unclosed("a backtick"))?;
            }
            (Some(Open::Double | Open::HereDouble), '$') if letters.next_if_eq(&'(').is_some() => {
                self.open.push(Open::Paren);
            }
            (Some(Open::HereDouble), '"') if line_begins && letters.peek() == Some(&'@') => {
                letters.next();
                self.open.pop();
            }
            // Two of them are one letter.
            (Some(Open::Double), quote)
                if is_double(quote) && letters.next_if(|next| is_double(*next)).is_none() =>
            {
                self.open.pop();
            }
            (Some(Open::Double | Open::HereDouble), _) => {}
            (_, '@') if letters.peek() == Some(&'"') => {
                letters.next();
                header_ends(letters)?;
                self.open.push(Open::HereDouble);
            }
            (_, '@') if letters.peek() == Some(&'\'') => {
                letters.next();
                here_single(letters)?;
            }
            (_, quote) if is_double(quote) => self.open.push(Open::Double),
            (_, quote) if is_single(quote) => single(letters)?,
            (_, '<') if letters.peek() == Some(&'#') => comment(letters)?,
            (_, '#') if self.begins_word() => {
                while letters.peek().is_some_and(|next| *next != '\n') {
                    letters.next();
                }
            }
            (_, '(') => self.open.push(Open::Paren),
            (_, '{') => self.open.push(Open::Brace),
            (_, ')') => self.close(Open::Paren)?,
            (_, '}') => self.close(Open::Brace)?,
            _ => {}
        }
        Ok(())
    }

    fn begins_word(&self) -> bool {
        self.before.is_none_or(|c| c.is_whitespace() || ";|&(){},".contains(c))
    }

    fn close(&mut self, open: Open) -> Result<(), Broken> {
        match self.open.pop() {
            Some(last) if last == open => Ok(()),
            Some(last) => Err(Broken::Unclosed(last.name())),
            None => Err(Broken::Unopened(open.name())),
        }
    }
}

/// `'…'`, in which two quotes are one letter.
fn single(letters: &mut Letters<'_>) -> Result<(), Broken> {
    while let Some(letter) = letters.next() {
        if is_single(letter) && letters.next_if(|next| is_single(*next)).is_none() {
            return Ok(());
        }
    }
    Err(Broken::Unclosed("a quote"))
}

/// Nothing may stand behind the beginning of a text of several lines.
fn header_ends(letters: &mut Letters<'_>) -> Result<(), Broken> {
    while letters.next_if(|next| matches!(next, ' ' | '\t' | '\r')).is_some() {}
    if letters.peek() == Some(&'\n') { Ok(()) } else { Err(Broken::Unclosed("a here-string")) }
}

fn here_single(letters: &mut Letters<'_>) -> Result<(), Broken> {
    header_ends(letters)?;
    let mut before = [' '; 2];
    for letter in letters.by_ref() {
        if before == ['\n', '\''] && letter == '@' {
            return Ok(());
        }
        before = [before[1], letter];
    }
    Err(Broken::Unclosed("a here-string"))
}

fn comment(letters: &mut Letters<'_>) -> Result<(), Broken> {
    let mut before = ' ';
    // The sign after `<` is part of the beginning.
    letters.next();
    for letter in letters.by_ref() {
        if before == '#' && letter == '>' {
            return Ok(());
        }
        before = letter;
    }
    Err(Broken::Unclosed("a comment"))
}
