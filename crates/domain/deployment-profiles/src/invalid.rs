//! What breaks a rule.

use muster_commands::InvalidSpec;

/// A field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {rule}", .pointer.trim_start_matches('/'))]
pub struct Invalid {
    /// Which one, as a JSON pointer into what was sent.
    pub pointer: String,
    /// What is expected there.
    pub rule: String,
}

impl Invalid {
    pub(crate) fn new(pointer: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), rule: rule.into() }
    }

    /// The same, in a part of something larger.
    #[must_use]
    pub fn within(self, place: &str) -> Self {
        Self { pointer: format!("{place}{}", self.pointer), ..self }
    }
}

impl From<InvalidSpec> for Invalid {
    fn from(InvalidSpec { field, rule }: InvalidSpec) -> Self {
        Self { pointer: format!("/{field}"), rule }
    }
}

/// One line of 1 to `max` printable characters, without the space around it.
pub(crate) fn line(pointer: &str, text: &str, max: usize) -> Result<String, Invalid> {
    let text = text.trim();
    if !(1..=max).contains(&text.chars().count()) || text.chars().any(char::is_control) {
        return Err(Invalid::new(pointer, format!("1 to {max} printable characters are expected")));
    }
    Ok(text.to_owned())
}

/// The same of what may be absent, or nothing.
pub(crate) fn maybe_line(
    pointer: &str,
    text: Option<String>,
    max: usize,
) -> Result<Option<String>, Invalid> {
    text.filter(|text| !text.trim().is_empty()).map(|text| line(pointer, &text, max)).transpose()
}

/// Any number of lines, or nothing.
pub(crate) fn prose(
    pointer: &str,
    text: Option<String>,
    max: usize,
) -> Result<Option<String>, Invalid> {
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    if text.chars().count() > max || text.chars().any(is_odd) {
        let rule = format!("at most {max} printable characters are expected");
        return Err(Invalid::new(pointer, rule));
    }
    Ok(Some(text))
}

/// A SHA-256 as 64 hexadecimal digits, in lower case.
pub(crate) fn sha256(pointer: &str, text: &str) -> Result<String, Invalid> {
    let text = text.trim().to_ascii_lowercase();
    if text.len() != 64 || !text.chars().all(|c| c.is_ascii_hexdigit()) {
        let rule = "a SHA-256 is expected, as 64 hexadecimal digits";
        return Err(Invalid::new(pointer, rule));
    }
    Ok(text)
}

/// Where something is fetched from.
pub(crate) fn address(pointer: &str, text: &str) -> Result<String, Invalid> {
    let text = line(pointer, text, 2000)?;
    let is_web = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
    let is_path =
        text.starts_with('/') || text.get(1..3) == Some(":\\") || text.starts_with("\\\\");
    if !(is_web || is_path) || text.contains(' ') && is_web {
        let rule = "an address that begins with https:// or http://, or an absolute path on the \
            machine is expected";
        return Err(Invalid::new(pointer, rule));
    }
    Ok(text)
}
