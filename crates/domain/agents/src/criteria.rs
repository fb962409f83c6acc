//! What agents are told apart by: the vocabulary of lists and of groups with a filter.

use std::collections::BTreeSet;

use muster_kernel::{Tags, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Agent, AgentStatus, OsType};

/// The longest text that is looked for, in characters.
const MAX_TEXT: usize = 200;

/// Criteria that break a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct InvalidCriteria {
    /// Which.
    pub field: &'static str,
    /// What is expected there.
    pub rule: &'static str,
}

/// What agents pass: all of what is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Criteria {
    /// Only those that can or can't be reached.
    pub status: Option<AgentStatus>,
    /// Only one family of operating systems.
    pub os_type: Option<OsType>,
    /// Only those with all of these tags.
    pub tags: BTreeSet<String>,
    /// Only those with at least one of these tags.
    pub tags_any: BTreeSet<String>,
    /// Only those with this version of the agent program.
    pub version: Option<String>,
    /// Only those with such a host name.
    pub hostname: Option<HostnamePattern>,
    /// Only those whose host name, address, operating system or notes contain this text, upper
    /// and lower case alike; a text of one or two characters is looked for at the beginning of the
    /// host name alone.
    pub q: Option<String>,
}

impl Criteria {
    /// From how many characters on [`Criteria::q`] is looked for everywhere.
    pub const SUBSTRING: usize = 3;

    /// The criteria without the space around texts, if they keep the rules.
    ///
    /// # Errors
    /// [`InvalidCriteria`] names the field.
    pub fn checked(mut self) -> Result<Self, InvalidCriteria> {
        let tags = |field, tags: BTreeSet<String>| {
            let tags = Tags::parse(tags).map_err(|error| InvalidCriteria { field, rule: error.0 });
            tags.map(|tags| tags.iter().map(ToOwned::to_owned).collect())
        };
        self.tags = tags("tags", self.tags)?;
        self.tags_any = tags("tags_any", self.tags_any)?;
        self.version = text("version", self.version)?;
        self.q = text("q", self.q)?;
        Ok(self)
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `agent` passes at `now`.
    pub fn pass(&self, agent: &Agent, now: Timestamp) -> bool {
        let has = |tag: &String| agent.tags.iter().any(|own| own == tag);
        self.status.is_none_or(|status| agent.status(false, now) == status)
            && self.os_type.is_none_or(|os_type| agent.os_type == os_type)
            && self.tags.iter().all(has)
            && (self.tags_any.is_empty() || self.tags_any.iter().any(has))
            && self.version.as_ref().is_none_or(|version| agent.version.as_ref() == Some(version))
            && self.hostname.as_ref().is_none_or(|pattern| pattern.matches(&agent.hostname))
            && self.q.as_ref().is_none_or(|q| says(agent, q))
    }
}

fn text(field: &'static str, text: Option<String>) -> Result<Option<String>, InvalidCriteria> {
    let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let bad = |text: &String| text.chars().count() > MAX_TEXT || text.chars().any(char::is_control);
    if text.as_ref().is_some_and(bad) {
        return Err(InvalidCriteria { field, rule: "at most 200 printable characters" });
    }
    Ok(text)
}

fn says(agent: &Agent, q: &str) -> bool {
    let q = q.to_lowercase();
    let hostname = agent.hostname.to_lowercase();
    if q.chars().count() < Criteria::SUBSTRING {
        return hostname.starts_with(&q);
    }
    let texts = [&agent.ip_address, &agent.os, &agent.notes].into_iter().flatten();
    hostname.contains(&q) || texts.map(|text| text.to_lowercase()).any(|text| text.contains(&q))
}

/// A host name in which `*` stands for any characters and `?` for one, upper and lower case alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostnamePattern(String);

impl HostnamePattern {
    /// Takes a pattern as people give it.
    ///
    /// # Errors
    /// When it is empty, too long or not printable.
    pub fn parse(text: &str) -> Result<Self, InvalidCriteria> {
        let pattern = text.trim().to_lowercase();
        let length = pattern.chars().count();
        if !(1..=MAX_TEXT).contains(&length) || pattern.chars().any(char::is_control) {
            let rule = "1 to 200 printable characters are expected, such as web-*";
            return Err(InvalidCriteria { field: "hostname", rule });
        }
        Ok(Self(pattern))
    }

    /// The pattern, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What every name that matches begins with, in lower case.
    pub fn prefix(&self) -> &str {
        self.0.split(['*', '?']).next().unwrap_or_default()
    }

    /// Whether it is the name of `hostname`.
    pub fn matches(&self, hostname: &str) -> bool {
        let name: Vec<_> = hostname.to_lowercase().chars().collect();
        // How much of the pattern so far leads to each beginning of the name.
        let mut reached = vec![false; name.len() + 1];
        if let Some(start) = reached.first_mut() {
            *start = true;
        }
        for wanted in self.0.chars() {
            let mut next = vec![false; name.len() + 1];
            let mut any = false;
            for (at, next) in next.iter_mut().enumerate() {
                let before = at.checked_sub(1);
                let came = before.and_then(|at| reached.get(at)).copied().unwrap_or(false);
                any |= reached.get(at).copied().unwrap_or(false);
                *next = match wanted {
                    '*' => any,
                    '?' => came,
                    c => came && before.and_then(|at| name.get(at)) == Some(&c),
                };
            }
            reached = next;
        }
        reached.last().copied().unwrap_or(false)
    }
}

impl TryFrom<String> for HostnamePattern {
    type Error = InvalidCriteria;

    fn try_from(text: String) -> Result<Self, InvalidCriteria> {
        Self::parse(&text)
    }
}

impl From<HostnamePattern> for String {
    fn from(pattern: HostnamePattern) -> Self {
        pattern.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_a_question_mark_for_one() {
        for (pattern, name, matches) in [
            ("web-*", "WEB-01", true),
            ("web-*", "web-", true),
            ("web-*", "my-web-01", false),
            ("*-0?", "web-01", true),
            ("*-0?", "web-011", false),
            ("w*b*1", "web-01", true),
            ("*", "x", true),
            ("web", "web-01", false),
            ("100%_", "100%_", true),
            ("100%_", "100xx", false),
        ] {
            assert_eq!(
                HostnamePattern::parse(pattern).unwrap().matches(name),
                matches,
                "{pattern}"
            );
        }
        assert_eq!(HostnamePattern::parse("Web-?1").unwrap().prefix(), "web-");
        assert!(HostnamePattern::parse(" ").is_err());
    }

    #[test]
    fn criteria_that_nobody_can_meet_are_pointed_at() {
        let tags = |tag: &str| BTreeSet::from([tag.to_owned()]);
        let bad = Criteria { tags_any: tags("  "), ..Criteria::default() };
        assert_eq!(bad.checked().unwrap_err().field, "tags_any");
        let bad = Criteria { q: Some("x".repeat(201)), ..Criteria::default() };
        assert_eq!(bad.checked().unwrap_err().field, "q");
        let blank = Criteria { q: Some("  ".into()), ..Criteria::default() };
        assert!(blank.checked().unwrap().is_empty());
    }
}
