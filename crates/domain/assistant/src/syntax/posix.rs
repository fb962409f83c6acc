//! Texts for `sh` and `bash`.

use super::{Broken, Letters};

/// What is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Double,
    Backtick,
    /// `$(…)`, `<(…)`: part of a word.
    Paren,
    /// `a=(…)`: words, none of which is a program.
    List,
    /// `(…)`, `f()`: a command, or the head of one.
    Subshell,
    /// `$((…))`, `((…))`: one of these for each bracket in it.
    Sum,
    /// `${…}`
    Parameter,
    /// `{ …; }`
    Group,
    If,
    Loop,
    Case,
}

impl Open {
    const fn name(self) -> &'static str {
        match self {
            Self::Double => "a double quote",
            Self::Backtick => "a backtick",
            Self::Paren | Self::List | Self::Subshell | Self::Sum => "a bracket",
            Self::Parameter | Self::Group => "a brace",
            Self::If => "if",
            Self::Loop => "a loop",
            Self::Case => "case",
        }
    }
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    word: String,
    /// Whether the word has a quote or an expansion in it, and so is no keyword.
    odd: bool,
    /// Whether the next word is a program or keyword.
    first: bool,
    /// The ends of texts that begin with the next line, and whether tabs stand before them.
    here: Vec<(String, bool)>,
}

/// Words after which another program or keyword stands.
const LEADING: [&str; 9] = ["then", "do", "else", "elif", "!", "if", "while", "until", "{"];

pub(super) fn check(text: &str) -> Result<(), Broken> {
    let mut reader = Reader { first: true, ..Reader::default() };
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        reader.take(letter, &mut letters)?;
    }
    reader.end_word()?;
    if !reader.here.is_empty() {
        return Err(Broken::Unclosed("a here-document"));
    }
    match reader.open.last() {
        Some(open) => Err(Broken::Unclosed(open.name())),
        None => Ok(()),
    }
}

impl Reader {
    fn take(&mut self, letter: char, letters: &mut Letters<'_>) -> Result<(), Broken> {
        if letter == '\\' {
            self.odd = true;
            self.word.push(letter);
            return letters.next().map(|_| ()).ok_or(Broken::Unclosed("a backslash"));
        }
        match (self.open.last().copied(), letter) {
            (_, '$') => self.dollar(letters),
            (open, '`') => {
                if !matches!(open, Some(Open::Double | Open::Parameter | Open::Sum)) {
                    self.end_word()?;
                }
                if self.open.last() == Some(&Open::Backtick) {
                    return self.close(Open::Backtick);
                }
                self.enter(Open::Backtick);
                Ok(())
            }
            (Some(Open::Double), '"') => self.close(Open::Double),
            (Some(Open::Double), _) => Ok(()),
            (_, '"') => {
                self.enter(Open::Double);
                Ok(())
            }
            // Within `"${…}"` an apostrophe is a letter like others.
            (Some(Open::Parameter), '\'') if self.open.contains(&Open::Double) => Ok(()),
            (_, '\'') => self.single(letters),
            (Some(Open::Parameter), '}') => self.close(Open::Parameter),
            (Some(Open::Sum), '(') => {
                self.open.push(Open::Sum);
                Ok(())
            }
            (Some(Open::Sum), ')') => self.close(Open::Sum),
            (Some(Open::Parameter | Open::Sum), _) => Ok(()),
            (_, letter) => self.plain(letter, letters),
        }
    }

    fn plain(&mut self, letter: char, letters: &mut Letters<'_>) -> Result<(), Broken> {
        match letter {
            '#' if self.word.is_empty() && !self.odd => {
                while letters.peek().is_some_and(|next| *next != '\n') {
                    letters.next();
                }
                Ok(())
            }
            '(' => {
                let sum = self.first && self.word.is_empty() && letters.peek() == Some(&'(');
                if sum {
                    letters.next();
                    self.open.extend([Open::Sum, Open::Sum]);
                } else if self.word.ends_with('=') {
                    self.enter(Open::List);
                } else if self.word.ends_with(['<', '>']) {
                    self.enter(Open::Paren);
                } else {
                    self.end_word()?;
                    self.enter(Open::Subshell);
                }
                Ok(())
            }
            ')' => {
                self.end_word()?;
                match self.open.last() {
                    Some(Open::Paren) => self.close(Open::Paren),
                    Some(Open::List) => self.close(Open::List),
                    // A pattern of `case` ends so.
                    Some(Open::Case) => {
                        self.first = true;
                        Ok(())
                    }
                    _ => self.close(Open::Subshell),
                }
            }
            '<' if letters.peek() == Some(&'<') => {
                letters.next();
                self.here_document(letters)
            }
            '\n' => {
                self.end_word()?;
                self.first = true;
                self.read_here(letters)
            }
            ';' | '|' => {
                self.end_word()?;
                self.first = true;
                Ok(())
            }
            '&' => {
                let redirects = self.word.ends_with(['<', '>']) || letters.peek() == Some(&'>');
                if redirects {
                    self.word.push('&');
                    return Ok(());
                }
                self.end_word()?;
                self.first = true;
                Ok(())
            }
            letter if letter.is_whitespace() => self.end_word(),
            letter => {
                self.word.push(letter);
                Ok(())
            }
        }
    }

    fn enter(&mut self, open: Open) {
        let command = matches!(open, Open::Paren | Open::Subshell | Open::Backtick);
        if command {
            self.word.clear();
            self.first = true;
        }
        self.odd = !command;
        self.open.push(open);
    }

    fn close(&mut self, open: Open) -> Result<(), Broken> {
        // Behind `)` a command begins; else the word around it goes on.
        self.first = open == Open::Subshell;
        self.odd = !self.first;
        match self.open.pop() {
            Some(last) if last == open => Ok(()),
            Some(last) => Err(Broken::Unclosed(last.name())),
            None => Err(Broken::Unopened(open.name())),
        }
    }

    fn dollar(&mut self, letters: &mut Letters<'_>) -> Result<(), Broken> {
        self.odd = true;
        let in_double = self.open.last() == Some(&Open::Double);
        match letters.peek() {
            Some('(') => {
                letters.next();
                if letters.next_if_eq(&'(').is_some() {
                    self.open.extend([Open::Sum, Open::Sum]);
                } else {
                    self.enter(Open::Paren);
                }
                Ok(())
            }
            Some('{') => {
                letters.next();
                self.open.push(Open::Parameter);
                Ok(())
            }
            // `$'…'` knows escapes.
            Some('\'') if !in_double => {
                letters.next();
                while let Some(letter) = letters.next() {
                    match letter {
                        '\\' => {
                            letters.next();
                        }
                        '\'' => return Ok(()),
                        _ => {}
                    }
                }
                Err(Broken::Unclosed("a quote"))
            }
            // `$#`, `$$`: the sign is a name.
            Some('#' | '$') => {
                letters.next();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn single(&mut self, letters: &mut Letters<'_>) -> Result<(), Broken> {
        self.odd = true;
        if letters.any(|letter| letter == '\'') { Ok(()) } else { Err(Broken::Unclosed("a quote")) }
    }

    /// `<<END`, `<<-'END'`; `<<<` is a text of one line.
    fn here_document(&mut self, letters: &mut Letters<'_>) -> Result<(), Broken> {
        if letters.next_if_eq(&'<').is_some() {
            return Ok(());
        }
        let tabs = letters.next_if_eq(&'-').is_some();
        while letters.next_if(|next| matches!(next, ' ' | '\t')).is_some() {}
        let mut end = String::new();
        while let Some(letter) = letters.next_if(|next| {
            !next.is_whitespace() && !matches!(next, ';' | '|' | '&' | ')' | '<' | '>')
        }) {
            if !matches!(letter, '\'' | '"' | '\\') {
                end.push(letter);
            }
        }
        if end.is_empty() {
            return Err(Broken::Unclosed("a here-document"));
        }
        self.here.push((end, tabs));
        Ok(())
    }

    fn read_here(&mut self, letters: &mut Letters<'_>) -> Result<(), Broken> {
        for (end, tabs) in std::mem::take(&mut self.here) {
            loop {
                if letters.peek().is_none() {
                    return Err(Broken::Unclosed("a here-document"));
                }
                let line: String = letters.by_ref().take_while(|letter| *letter != '\n').collect();
                let line = if tabs { line.trim_start_matches('\t') } else { &line };
                if line == end {
                    break;
                }
            }
        }
        Ok(())
    }

    fn end_word(&mut self) -> Result<(), Broken> {
        let (word, odd) = (std::mem::take(&mut self.word), std::mem::take(&mut self.odd));
        if word.is_empty() && !odd {
            return Ok(());
        }
        let listed = self.open.last() == Some(&Open::List);
        if odd || listed || !self.first {
            // The first pattern may be the end already.
            self.first = !odd && word == "in" && self.open.last() == Some(&Open::Case);
            return Ok(());
        }
        self.first = LEADING.contains(&word.as_str());
        match word.as_str() {
            "if" => self.open.push(Open::If),
            "while" | "until" | "for" | "select" => self.open.push(Open::Loop),
            "case" => self.open.push(Open::Case),
            "{" => self.open.push(Open::Group),
            "fi" => return self.end_block(Open::If),
            "done" => return self.end_block(Open::Loop),
            "esac" => return self.end_block(Open::Case),
            "}" => return self.end_block(Open::Group),
            _ => {}
        }
        Ok(())
    }

    fn end_block(&mut self, open: Open) -> Result<(), Broken> {
        if self.open.last() == Some(&open) {
            self.open.pop();
            return Ok(());
        }
        Err(Broken::Unopened(match open {
            Open::If => "fi",
            Open::Loop => "done",
            Open::Case => "esac",
            other => other.name(),
        }))
    }
}
