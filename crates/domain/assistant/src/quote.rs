//! Foreign text within a conversation: quoted, so that nothing in it can pass for an instruction.
//!
//! What comes from machines and scripts stands between two lines that hold a mark. The mark follows
//! from the texts themselves, by a hash, so nobody can write a text that holds it.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// How many characters of one foreign text are sent; of a longer one its beginning and its end.
pub const MAX_QUOTED: usize = 8_000;

/// A foreign text and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign<'a> {
    /// What it is: words of Muster's own.
    pub label: &'static str,
    /// The text.
    pub text: &'a str,
}

/// The texts as blocks, and the mark that their first and last lines hold.
///
/// The mark is in none of the texts, and the same texts have the same mark.
pub fn quote(texts: &[Foreign<'_>]) -> (String, String) {
    let texts: Vec<_> = texts.iter().map(|it| (it.label, plain(it.text))).collect();
    let mark = mark(&texts);
    let mut blocks = String::new();
    for (label, text) in &texts {
        let _ = writeln!(blocks, "<data {mark}> {label}\n{text}\n</data {mark}>");
    }
    (blocks, mark)
}

/// The text as it can be shown: without what a terminal obeys or an eye can't see, and not too long.
fn plain(text: &str) -> String {
    let visible = |c: &char| matches!(c, '\n' | '\t') || !(c.is_control() || is_invisible(*c));
    let text: String = text.chars().filter(visible).collect();
    let length = text.chars().count();
    if length <= MAX_QUOTED {
        return text;
    }
    let half = MAX_QUOTED / 2;
    let start: String = text.chars().take(half).collect();
    let end: String = text.chars().skip(length - half).collect();
    format!("{start}\n[… {} characters left out …]\n{end}", length - 2 * half)
}

/// Whether a letter changes what is seen without being seen.
pub(crate) const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn mark(texts: &[(&'static str, String)]) -> String {
    let mut attempt = 0_u64;
    loop {
        let mut hash = Sha256::new();
        hash.update(attempt.to_le_bytes());
        for (label, text) in texts {
            hash.update(label.as_bytes());
            hash.update([0]);
            hash.update(text.as_bytes());
            hash.update([0]);
        }
        let mut mark = String::with_capacity(24);
        for byte in hash.finalize().into_iter().take(12) {
            let _ = write!(mark, "{byte:02x}");
        }
        if texts.iter().all(|(_, text)| !text.contains(&mark)) {
            return mark;
        }
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_nobody_sees_is_not_sent() {
        let text = "a\u{1b}[2Jb\u{202e}c\u{200b}d\u{e0041}\te\n";
        let (blocks, _) = quote(&[Foreign { label: "output", text }]);
        assert!(blocks.contains("\na[2Jbcd\te\n"), "{blocks:?}");
    }

    #[test]
    fn of_a_long_text_the_beginning_and_the_end_are_sent() {
        let text = format!("first {} last", "x".repeat(3 * MAX_QUOTED));
        let (blocks, _) = quote(&[Foreign { label: "output", text: &text }]);
        assert!(blocks.contains("first x") && blocks.contains("x last"));
        assert!(blocks.chars().count() < MAX_QUOTED + 200);
    }

    proptest! {
        #[test]
        fn no_text_can_end_its_block(texts in prop::collection::vec(any::<String>(), 1..4)) {
            let foreign: Vec<_> =
                texts.iter().map(|text| Foreign { label: "output", text }).collect();
            let (blocks, mark) = quote(&foreign);
            prop_assert_eq!(blocks.matches(&mark).count(), 2 * texts.len());
            // Not even one that repeats what an earlier conversation showed of the mark.
            let again = [Foreign { label: "output", text: &blocks }];
            let (outer, other) = quote(&again);
            prop_assert!(!blocks.contains(&other));
            prop_assert_eq!(outer.matches(&other).count(), 2);
        }

        #[test]
        fn the_same_texts_are_quoted_alike(text in any::<String>()) {
            let foreign = [Foreign { label: "output", text: &text }];
            prop_assert_eq!(quote(&foreign), quote(&foreign));
        }
    }
}
