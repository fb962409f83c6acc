//! Texts for the Windows command prompt.

use super::Broken;

/// A quote ends with its line; a bracket opens a block only where a command may stand, and one that
/// closes none is a letter.
pub(super) fn check(text: &str) -> Result<(), Broken> {
    let mut depth = 0_usize;
    for line in text.lines() {
        depth = check_line(line, depth)?;
    }
    if depth > 0 { Err(Broken::Unclosed("a bracket")) } else { Ok(()) }
}

/// Words behind which a block may stand.
const BEFORE_BLOCK: [&str; 3] = ["do", "else", "in"];

fn check_line(line: &str, mut depth: usize) -> Result<usize, Broken> {
    let mut letters = line.chars();
    let (mut quoted, mut word, mut first) = (false, String::new(), None::<String>);
    let mut last = String::new();
    let remark = line.trim_start_matches(['@', ' ', '\t']).to_ascii_lowercase();
    if remark.starts_with("rem ") || remark.starts_with("::") {
        return Ok(depth);
    }
    while let Some(letter) = letters.next() {
        match letter {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '^' => {
                letters.next();
                word.push('^');
            }
            '(' => {
                let in_if = first.as_deref() == Some("if");
                let place = word.is_empty()
                    && (first.is_none() || in_if || BEFORE_BLOCK.contains(&last.as_str()));
                if place {
                    depth += 1;
                    (first, last) = (None, String::new());
                } else {
                    word.push(letter);
                }
            }
            ')' if depth > 0 => {
                depth -= 1;
                (first, last) = (None, String::new());
                word.clear();
            }
            '&' | '|' => {
                (first, last) = (None, String::new());
                word.clear();
            }
            letter if letter.is_whitespace() => {
                if !word.is_empty() {
                    last = std::mem::take(&mut word).to_ascii_lowercase();
                    first.get_or_insert_with(|| last.trim_start_matches('@').to_owned());
                }
            }
            letter => word.push(letter),
        }
    }
    if quoted { Err(Broken::Unclosed("a double quote")) } else { Ok(depth) }
}
