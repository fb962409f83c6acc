//! Texts that were asked for lately.

use std::collections::VecDeque;
use std::sync::Arc;

use muster_kernel::VersionId;

/// How many bytes of texts are kept.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How many texts are kept.
const MAX_TEXTS: usize = 256;

/// Texts that were asked for lately, the last one first. A version's text never changes, so
/// whatever is here is true.
#[derive(Debug, Default)]
pub(super) struct RecentTexts {
    texts: VecDeque<(VersionId, Arc<str>)>,
    bytes: usize,
}

impl RecentTexts {
    /// The text of a version, if it is here.
    pub(super) fn get(&mut self, version: VersionId) -> Option<Arc<str>> {
        let index = self.texts.iter().position(|(known, _)| *known == version)?;
        let found = self.texts.remove(index)?;
        let text = Arc::clone(&found.1);
        self.texts.push_front(found);
        Some(text)
    }

    /// Keeps a text, and lets go of those that were not asked for the longest.
    pub(super) fn put(&mut self, version: VersionId, text: Arc<str>) {
        if self.get(version).is_some() {
            return;
        }
        self.bytes += text.len();
        self.texts.push_front((version, text));
        while self.bytes > MAX_BYTES || self.texts.len() > MAX_TEXTS {
            let Some((_, gone)) = self.texts.pop_back() else { break };
            self.bytes -= gone.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(n: u128) -> VersionId {
        VersionId::from_uuid(sea_orm::prelude::Uuid::from_u128(n))
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first() {
        let mut recent = RecentTexts::default();
        let text: Arc<str> = "x".repeat(1024 * 1024).into();
        for n in 0..16 {
            recent.put(version(n), Arc::clone(&text));
        }
        assert!(recent.get(version(0)).is_some());
        recent.put(version(16), Arc::clone(&text));
        recent.put(version(16), text);
        assert!(recent.get(version(0)).is_some() && recent.get(version(1)).is_none());
        assert_eq!((recent.texts.len(), recent.bytes), (16, MAX_BYTES));
    }

    #[test]
    fn however_short_they_are_they_do_not_become_many() {
        let mut recent = RecentTexts::default();
        for n in 0..1000 {
            recent.put(version(n), "x".into());
        }
        assert_eq!((recent.texts.len(), recent.bytes), (MAX_TEXTS, MAX_TEXTS));
    }
}
