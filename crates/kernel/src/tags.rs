//! Words that people sort things by.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// How many tags a thing may have.
const MAX_TAGS: usize = 64;
/// The longest tag, in characters.
const MAX_TAG: usize = 200;

/// Tags that break a rule; it says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tags: {0}")]
pub struct InvalidTags(pub &'static str);

const TOO_MANY: InvalidTags = InvalidTags("at most 64 tags");

/// Words that people sort things by: at most 64, each of 1 to 200 visible characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tags(BTreeSet<String>);

impl Tags {
    /// Takes tags as people give them; space around them is dropped, doubles count once.
    ///
    /// # Errors
    /// When there are too many, or one is empty, too long or not printable.
    pub fn parse(tags: impl IntoIterator<Item = String>) -> Result<Self, InvalidTags> {
        let mut checked = BTreeSet::new();
        for tag in tags {
            let tag = tag.trim();
            let length = tag.chars().count();
            if !(1..=MAX_TAG).contains(&length) || tag.chars().any(char::is_control) {
                return Err(InvalidTags("each tag has 1 to 200 printable characters"));
            }
            checked.insert(tag.to_owned());
        }
        if checked.len() > MAX_TAGS {
            return Err(TOO_MANY);
        }
        Ok(Self(checked))
    }

    /// These tags and `others`, as many as there is room for.
    #[must_use]
    pub fn with(mut self, others: Self) -> Self {
        let room = MAX_TAGS.saturating_sub(self.0.len());
        self.0.extend(others.0.into_iter().take(room));
        self
    }

    /// These tags, changed.
    ///
    /// # Errors
    /// When that were too many.
    pub fn changed(mut self, add: &Self, remove: &Self) -> Result<Self, InvalidTags> {
        self.0.retain(|tag| !remove.0.contains(tag));
        self.0.extend(add.0.iter().cloned());
        if self.0.len() > MAX_TAGS { Err(TOO_MANY) } else { Ok(self) }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tags in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_lose_doubles_and_the_space_around_them() {
        let tags = Tags::parse([" web ".to_owned(), "web".to_owned(), "db".to_owned()]).unwrap();
        assert_eq!(tags.iter().collect::<Vec<_>>(), ["db", "web"]);
    }

    #[test]
    fn tags_that_nobody_can_read_are_refused() {
        for tag in ["", "  ", "a\nb", &"x".repeat(201)] {
            assert!(Tags::parse([tag.to_owned()]).is_err(), "{tag:?}");
        }
        assert!(Tags::parse((0..65).map(|n| n.to_string())).is_err());
    }
}
