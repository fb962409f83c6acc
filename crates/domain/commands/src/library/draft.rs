//! What somebody wants a version to say, checked.

use std::sync::Arc;

use muster_agents::OsType;
use muster_kernel::Tags;

use super::{About, Field, Kind, Parameter, Version, parameter};
use crate::ShellType;
use crate::safety::{self, Assessment};

/// The longest name, in characters.
const MAX_NAME: usize = 200;
/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 4000;
/// The longest category, in characters.
const MAX_CATEGORY: usize = 100;
/// The longest note, in characters.
const MAX_NOTE: usize = 500;

/// A field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field:?}{within}: {rule}")]
pub struct InvalidItem {
    /// Which field.
    pub field: Field,
    /// Where in it, as a JSON pointer; empty for the field itself.
    pub within: String,
    /// What is expected there.
    pub rule: String,
}

impl InvalidItem {
    pub(super) fn new(field: Field, rule: impl Into<String>) -> Self {
        Self { field, within: String::new(), rule: rule.into() }
    }
}

/// What a version is to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    kind: Kind,
    about: About,
    text: Arc<str>,
}

/// A change; what is `None` stays, and `Some(None)` removes what there is.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are those of About, and the text")]
pub struct Change {
    pub name: Option<String>,
    pub description: Option<Option<String>>,
    pub category: Option<Option<String>>,
    pub tags: Option<Tags>,
    pub target_os_type: Option<Option<OsType>>,
    pub shell_type: Option<ShellType>,
    pub parameters: Option<Vec<Parameter>>,
    pub text: Option<Arc<str>>,
}

impl Draft {
    /// Checks what somebody wants to be kept as a `kind`.
    ///
    /// # Errors
    /// [`InvalidItem`] names the field and what is expected there.
    pub fn parse(kind: Kind, about: About, text: Arc<str>) -> Result<Self, InvalidItem> {
        let about = About {
            name: line(Field::Name, &about.name, MAX_NAME)?,
            description: prose(Field::Description, about.description, MAX_DESCRIPTION)?,
            category: about
                .category
                .filter(|category| !category.trim().is_empty())
                .map(|category| line(Field::Category, &category, MAX_CATEGORY))
                .transpose()?,
            ..about
        };
        check_text(kind, &text)?;
        check_system(about.shell_type, about.target_os_type)?;
        parameter::check_all(about.shell_type, &about.parameters).map_err(|error| InvalidItem {
            field: Field::Parameters,
            within: error.within,
            rule: error.rule,
        })?;
        Ok(Self { kind, about, text })
    }

    /// What a version says, as it was once checked.
    pub(super) fn of(kind: Kind, version: &Version, text: &Arc<str>) -> Self {
        Self { kind, about: version.about.clone(), text: Arc::clone(text) }
    }

    /// The draft after a change.
    ///
    /// # Errors
    /// [`InvalidItem`] when it then breaks a rule.
    pub fn changed(self, change: Change) -> Result<Self, InvalidItem> {
        let old = self.about;
        let about = About {
            name: change.name.unwrap_or(old.name),
            description: change.description.unwrap_or(old.description),
            category: change.category.unwrap_or(old.category),
            tags: change.tags.unwrap_or(old.tags),
            target_os_type: change.target_os_type.unwrap_or(old.target_os_type),
            shell_type: change.shell_type.unwrap_or(old.shell_type),
            parameters: change.parameters.unwrap_or(old.parameters),
        };
        Self::parse(self.kind, about, change.text.unwrap_or(self.text))
    }

    /// What it says beside the text.
    pub const fn about(&self) -> &About {
        &self.about
    }

    /// The text.
    pub const fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// What is thought of its text.
    pub fn assess(&self) -> Assessment {
        safety::assess(self.about.shell_type, &self.text, &[])
    }
}

/// Checks why somebody writes a version.
///
/// # Errors
/// [`InvalidItem`] when it is too long.
pub(super) fn check_note(note: Option<String>) -> Result<Option<String>, InvalidItem> {
    prose(Field::Note, note, MAX_NOTE)
}

/// One line of 1 to `max` printable characters.
fn line(field: Field, text: &str, max: usize) -> Result<String, InvalidItem> {
    let text = text.trim();
    if !(1..=max).contains(&text.chars().count()) || text.chars().any(char::is_control) {
        let rule = format!("1 to {max} printable characters are expected");
        return Err(InvalidItem::new(field, rule));
    }
    Ok(text.to_owned())
}

/// Any number of lines, or nothing.
fn prose(field: Field, text: Option<String>, max: usize) -> Result<Option<String>, InvalidItem> {
    let Some(text) = text else { return Ok(None) };
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if text.chars().count() > max || text.chars().any(is_odd) {
        let rule = format!("at most {max} printable characters are expected");
        return Err(InvalidItem::new(field, rule));
    }
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

fn check_text(kind: Kind, text: &str) -> Result<(), InvalidItem> {
    let max = kind.max_bytes();
    if text.trim().is_empty() {
        Err(InvalidItem::new(Field::Text, "something to run is expected"))
    } else if text.len() > max {
        let longer = if kind == Kind::SavedCommand { "; a script may be longer" } else { "" };
        Err(InvalidItem::new(Field::Text, format!("at most {max} bytes{longer}")))
    } else if text.contains('\0') {
        Err(InvalidItem::new(Field::Text, "no shell reads a NUL character"))
    } else {
        Ok(())
    }
}

/// That there can be a machine which runs it.
fn check_system(shell: ShellType, target: Option<OsType>) -> Result<(), InvalidItem> {
    let only_windows = matches!(shell, ShellType::Powershell | ShellType::Cmd);
    if only_windows && target.is_some_and(|target| target != OsType::Windows) {
        let rule = format!("{} is there on Windows only", shell.as_str());
        return Err(InvalidItem::new(Field::TargetOsType, rule));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: Kind, change: impl FnOnce(&mut About, &mut String)) -> Result<Draft, Field> {
        let mut about = About {
            name: " Disk space ".into(),
            description: None,
            category: None,
            tags: Tags::default(),
            target_os_type: None,
            shell_type: ShellType::Sh,
            parameters: Vec::new(),
        };
        let mut text = "df -h".to_owned();
        change(&mut about, &mut text);
        Draft::parse(kind, about, text.into()).map_err(|error| error.field)
    }

    #[test]
    fn a_name_and_a_text_are_enough() {
        let draft = parse(Kind::Script, |_, _| ()).unwrap();
        assert_eq!((draft.about().name.as_str(), &**draft.text()), ("Disk space", "df -h"));
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        type Break = fn(&mut About, &mut String);
        let cases: [(Field, Break); 9] = [
            (Field::Name, |about, _| about.name = "  ".into()),
            (Field::Name, |about, _| about.name = "a\nb".into()),
            (Field::Description, |about, _| about.description = Some("x".repeat(4001))),
            (Field::Category, |about, _| about.category = Some("\u{7}".into())),
            (Field::Text, |_, text| text.clear()),
            (Field::Text, |_, text| text.push('\0')),
            (Field::Text, |_, text| *text = "x".repeat(1024 * 1024 + 1)),
            (Field::TargetOsType, |about, _| {
                about.shell_type = ShellType::Cmd;
                about.target_os_type = Some(OsType::Linux);
            }),
            (Field::Parameters, |about, _| about.parameters = vec![Parameter::secret("PATH")]),
        ];
        for (field, change) in cases {
            assert_eq!(parse(Kind::Script, change), Err(field));
        }
    }

    #[test]
    fn a_script_may_be_longer_than_a_saved_command() {
        let long = |_: &mut About, text: &mut String| *text = "x".repeat(1024 * 1024);
        assert!(parse(Kind::Script, long).is_ok());
        assert_eq!(parse(Kind::SavedCommand, long), Err(Field::Text));
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name_and_removes_what_it_says() {
        let describe = |about: &mut About, _: &mut String| about.description = Some("old".into());
        let draft = parse(Kind::Script, describe).unwrap();
        let renamed = Change { name: Some("New".into()), ..Change::default() };
        let renamed = draft.changed(renamed).unwrap();
        assert_eq!(renamed.about().description.as_deref(), Some("old"));
        let bare = renamed.changed(Change { description: Some(None), ..Change::default() });
        assert_eq!(bare.unwrap().about().description, None);
    }
}
