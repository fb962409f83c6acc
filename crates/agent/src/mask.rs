//! Keeps secrets out of what a command writes.

use std::borrow::Cow;
use std::sync::Arc;

/// What stands where a secret stood.
const MASK: &[u8] = b"********";

/// The secrets of a command, to be kept out of each of its streams.
#[derive(Clone)]
pub(crate) struct Secrets {
    /// The longest first, none empty.
    values: Arc<[Vec<u8>]>,
    /// For each byte, whether one of them begins with it.
    firsts: Arc<[bool; 256]>,
}

impl Secrets {
    /// Takes the values; there is nothing to keep out of an empty one.
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut values: Vec<_> =
            values.into_iter().filter(|v| !v.is_empty()).map(|v| v.as_bytes().to_vec()).collect();
        values.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
        let mut firsts = [false; 256];
        for first in values.iter().filter_map(|value| value.first()) {
            if let Some(begins) = firsts.get_mut(usize::from(*first)) {
                *begins = true;
            }
        }
        Self { values: values.into(), firsts: Arc::new(firsts) }
    }

    /// What one stream goes through.
    pub(crate) fn masker(&self) -> Masker {
        Masker { secrets: self.clone(), held: Vec::new() }
    }

    fn may_begin(&self, byte: u8) -> bool {
        self.firsts.get(usize::from(byte)).is_some_and(|begins| *begins)
    }

    /// The length of the longest secret that `text` begins with.
    fn at_start_of(&self, text: &[u8]) -> Option<usize> {
        self.values.iter().find(|value| text.starts_with(value)).map(Vec::len)
    }

    /// Whether `text` is the beginning of a secret that is longer.
    fn may_begin_with(&self, text: &[u8]) -> bool {
        self.values
            .iter()
            .take_while(|value| value.len() > text.len())
            .any(|value| value.starts_with(text))
    }
}

/// Replaces secrets in one stream, also those that come in pieces: where they begin furthest left,
/// and of those the longest. It holds back what could be the beginning of one and nothing else.
pub(crate) struct Masker {
    secrets: Secrets,
    held: Vec<u8>,
}

impl Masker {
    /// Takes `bytes` in and gives what can be told by now.
    pub(crate) fn pass<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.secrets.values.is_empty() {
            return Cow::Borrowed(bytes);
        }
        self.held.extend_from_slice(bytes);
        Cow::Owned(self.tell(false))
    }

    /// Gives what was held back: nothing more comes.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.tell(true)
    }

    fn tell(&mut self, ended: bool) -> Vec<u8> {
        let Self { secrets, held } = self;
        let mut told = Vec::with_capacity(held.len());
        let mut rest = held.as_slice();
        while !rest.is_empty() {
            let plain = rest.iter().take_while(|byte| !secrets.may_begin(**byte)).count();
            let (text, behind) = rest.split_at(plain);
            told.extend_from_slice(text);
            rest = behind;
            if !ended && secrets.may_begin_with(rest) {
                break;
            }
            let Some((first, behind)) = rest.split_first() else { break };
            if let Some(length) = secrets.at_start_of(rest) {
                told.extend_from_slice(MASK);
                rest = rest.get(length..).unwrap_or_default();
            } else {
                told.push(*first);
                rest = behind;
            }
        }
        *held = rest.to_vec();
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The plain way, over all of the text at once.
    fn replaced(secrets: &[String], text: &str) -> String {
        let mut told = String::new();
        let mut rest = text.chars();
        while !rest.as_str().is_empty() {
            let here = |secret: &&String| !secret.is_empty() && rest.as_str().starts_with(*secret);
            match secrets.iter().filter(here).max_by_key(|secret| secret.len()) {
                Some(secret) => {
                    told.push_str("********");
                    rest.by_ref().take(secret.chars().count()).for_each(drop);
                }
                None => told.extend(rest.next()),
            }
        }
        told
    }

    fn masked<'a>(secrets: &[String], pieces: impl Iterator<Item = &'a [u8]>) -> String {
        let mut masker = Secrets::new(secrets.iter().map(String::as_str)).masker();
        let longest = secrets.iter().map(String::len).max().unwrap_or(0);
        let mut told = Vec::new();
        for piece in pieces {
            told.extend_from_slice(&masker.pass(piece));
            assert!(masker.held.len() < longest.max(1), "no more is held back than a beginning");
        }
        told.extend(masker.finish());
        String::from_utf8(told).unwrap()
    }

    proptest! {
        #[test]
        fn however_a_text_is_split_the_secrets_are_replaced_as_if_it_were_whole(
            secrets in prop::collection::vec("[abé]{0,4}", 0..4),
            text in "[abcé\n]{0,60}",
            cuts in prop::collection::vec(0_usize..80, 0..12),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]);
            prop_assert_eq!(masked(&secrets, pieces), replaced(&secrets, &text));
        }
    }

    #[test]
    fn of_two_secrets_that_begin_alike_the_longer_one_counts() {
        let secrets = ["token".to_owned(), "token-2".to_owned()];
        let pieces = ["a tok", "en-", "2 a token", "-3 tok"];
        let told = masked(&secrets, pieces.iter().map(|piece| piece.as_bytes()));
        assert_eq!(told, "a ******** a ********-3 tok");
    }

    #[test]
    fn what_can_not_begin_a_secret_is_told_at_once() {
        let mut masker = Secrets::new(["hunter2"]).masker();
        assert_eq!(*masker.pass(b"password: hun"), *b"password: ");
        assert_eq!(*masker.pass(b"dred\n"), *b"hundred\n");
    }
}
