//! The chain: what makes tampering show.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::Entry;

/// A keyed MAC: HMAC-SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mac(pub [u8; 32]);

impl Mac {
    /// What stands before the first entry there ever was. It seals no head.
    pub const NONE: Self = Self([0; 32]);

    /// Reads a row's MAC.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mac({self})")
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The key of the chain; it lives outside the database.
#[derive(Clone)]
pub struct ChainKey([u8; 32]);

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKey(…)")
    }
}

/// An entry and its MAC, as rows keep them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The entry.
    pub entry: Entry,
    /// The MAC over it and over the MAC before it.
    pub mac: Mac,
}

/// Where the chain begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The oldest entry that is kept; one more than `last` when there is none.
    pub first: u64,
    /// The MAC of the entry before it.
    pub before_first: Mac,
    /// The newest entry; 0 when there never was one.
    pub last: u64,
    /// Its MAC.
    pub last_mac: Mac,
}

impl Default for Head {
    fn default() -> Self {
        Self { first: 1, before_first: Mac::NONE, last: 0, last_mac: Mac::NONE }
    }
}

impl Head {
    /// How many entries are kept.
    pub const fn count(&self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }

    /// Appends an entry, whose `seq` becomes the next one.
    pub fn append(&mut self, key: &ChainKey, mut entry: Entry) -> Link {
        self.last += 1;
        entry.seq = self.last;
        self.last_mac = key.link(&self.last_mac, &entry);
        Link { entry, mac: self.last_mac }
    }

    /// Lets go of all entries up to `link`, which is one of those kept.
    pub const fn forget_through(&mut self, link: &Link) {
        self.first = link.entry.seq + 1;
        self.before_first = link.mac;
    }
}

impl ChainKey {
    /// The key that was derived for this use.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// By what to recognise the key again, without it.
    pub fn check(&self) -> Mac {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            // HMAC takes keys of every length.
            return Mac::NONE;
        };
        mac.update(b"the key of this installation");
        Mac(mac.finalize().into_bytes().into())
    }

    /// Whether `seal` is of this head.
    pub fn is_sealed(&self, head: &Head, seal: &Mac) -> bool {
        self.seal(head).is(seal)
    }

    /// The MAC of `entry`, which comes after one whose MAC is `previous`.
    pub fn link(&self, previous: &Mac, entry: &Entry) -> Mac {
        let mut hash = self.begin(b"entry");
        hash.bytes(&previous.0);
        hash.bytes(&entry.seq.to_be_bytes());
        hash.bytes(&entry.at.timestamp_micros().to_be_bytes());
        hash.text(Some(&entry.actor_kind));
        hash.maybe(entry.actor_id.as_ref().map(|id| id.as_bytes().as_slice()));
        hash.text(entry.actor_name.as_deref());
        hash.text(entry.address.as_deref());
        hash.text(entry.request_id.as_deref());
        hash.text(Some(&entry.action));
        hash.text(Some(&entry.resource_kind));
        hash.bytes(entry.resource_id.as_bytes());
        hash.maybe(entry.customer_id.map(|id| *id.as_uuid().as_bytes()).as_ref().map(|id| &id[..]));
        hash.text(entry.before.as_deref());
        hash.text(entry.after.as_deref());
        hash.finish()
    }

    /// The MAC of the head: without the key nobody makes a head that fits a chain cut short.
    pub fn seal(&self, head: &Head) -> Mac {
        let mut hash = self.begin(b"head");
        hash.bytes(&head.first.to_be_bytes());
        hash.bytes(&head.before_first.0);
        hash.bytes(&head.last.to_be_bytes());
        hash.bytes(&head.last_mac.0);
        hash.finish()
    }

    fn begin(&self, what: &[u8]) -> Fields {
        let mut fields = Fields(Hmac::<Sha256>::new_from_slice(&self.0).ok());
        fields.bytes(what);
        fields
    }
}

/// Fields on their way into a MAC, each with its length before it.
struct Fields(Option<Hmac<Sha256>>);

impl Fields {
    fn bytes(&mut self, bytes: &[u8]) {
        self.maybe(Some(bytes));
    }

    fn text(&mut self, text: Option<&str>) {
        self.maybe(text.map(str::as_bytes));
    }

    /// A field that is not there differs from an empty one.
    fn maybe(&mut self, bytes: Option<&[u8]>) {
        let Some(mac) = &mut self.0 else { return };
        let length = bytes.map_or(u64::MAX, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        mac.update(&length.to_be_bytes());
        mac.update(bytes.unwrap_or_default());
    }

    /// HMAC takes keys of every length, so there always is a MAC.
    fn finish(self) -> Mac {
        self.0.map_or(Mac::NONE, |mac| Mac(mac.finalize().into_bytes().into()))
    }
}

/// How the log was tampered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The entry is not what was written.
    Changed,
    /// The entry is not there.
    Missing,
    /// There is an entry that nobody wrote.
    Foreign,
    /// The head is not what was written: nobody can say where the log begins and ends.
    Head,
}

impl Flaw {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Foreign => "foreign",
            Self::Head => "head",
        }
    }
}

/// Where the log was tampered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// The first entry with which something is wrong.
    pub seq: u64,
    /// What.
    pub flaw: Flaw,
}

/// Goes along a chain, from its first entry to its last.
#[derive(Debug)]
pub struct Verifier<'a> {
    key: &'a ChainKey,
    head: Head,
    next: u64,
    previous: Mac,
}

impl<'a> Verifier<'a> {
    /// Begins with a head and its seal.
    ///
    /// # Errors
    /// [`Flaw::Head`] when the seal is not of this head.
    pub fn new(key: &'a ChainKey, head: Head, seal: &Mac) -> Result<Self, Broken> {
        if !key.is_sealed(&head, seal) {
            return Err(Broken { seq: head.last, flaw: Flaw::Head });
        }
        Ok(Self { key, head, next: head.first, previous: head.before_first })
    }

    /// Checks the next link that is there.
    ///
    /// # Errors
    /// [`Broken`] names the first entry that is wrong.
    pub fn check(&mut self, link: &Link) -> Result<(), Broken> {
        let seq = link.entry.seq;
        if seq < self.next || seq > self.head.last {
            return Err(Broken { seq, flaw: Flaw::Foreign });
        }
        if seq > self.next {
            return Err(Broken { seq: self.next, flaw: Flaw::Missing });
        }
        if !self.key.link(&self.previous, &link.entry).is(&link.mac) {
            return Err(Broken { seq, flaw: Flaw::Changed });
        }
        self.next += 1;
        self.previous = link.mac;
        Ok(())
    }

    /// Says that there are no more links; answers with how many there were.
    ///
    /// # Errors
    /// [`Flaw::Missing`] when the head names more.
    pub fn finish(self) -> Result<u64, Broken> {
        if self.next <= self.head.last {
            return Err(Broken { seq: self.next, flaw: Flaw::Missing });
        }
        if !self.previous.is(&self.head.last_mac) {
            return Err(Broken { seq: self.head.last, flaw: Flaw::Changed });
        }
        Ok(self.head.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::entry;
    use proptest::prelude::*;

    const KEY: ChainKey = ChainKey([7; 32]);

    fn chain(length: u64) -> (Head, Vec<Link>) {
        let mut head = Head::default();
        let links = (0..length).map(|n| head.append(&KEY, entry(n))).collect();
        (head, links)
    }

    fn seq(index: usize) -> u64 {
        u64::try_from(index).unwrap() + 1
    }

    fn verify(head: Head, seal: &Mac, links: &[Link]) -> Result<u64, Broken> {
        let mut verifier = Verifier::new(&KEY, head, seal)?;
        links.iter().try_for_each(|link| verifier.check(link))?;
        verifier.finish()
    }

    fn change(entry: &mut Entry, field: u8) {
        match field {
            0 => entry.at += chrono::TimeDelta::microseconds(1),
            1 => entry.actor_kind.push('x'),
            2 => entry.actor_id = None,
            3 => entry.actor_name = Some("somebody else".into()),
            4 => entry.address = Some("10.0.0.1".into()),
            5 => entry.request_id = None,
            6 => entry.action.push('x'),
            7 => entry.resource_kind.push('x'),
            8 => entry.resource_id = uuid::Uuid::max(),
            9 => entry.customer_id = None,
            10 => entry.before = Some("{}".into()),
            _ => entry.after = None,
        }
    }

    #[test]
    fn a_chain_that_nobody_touched_is_whole_also_when_its_oldest_were_let_go() {
        let (mut head, links) = chain(9);
        assert_eq!(verify(head, &KEY.seal(&head), &links), Ok(9));
        head.forget_through(&links[4]);
        assert_eq!(verify(head, &KEY.seal(&head), &links[5..]), Ok(4));
        assert_eq!(verify(Head::default(), &KEY.seal(&Head::default()), &[]), Ok(0));
    }

    proptest! {
        #[test]
        fn a_changed_entry_is_named(length in 1_u64..40, at in 0_usize..40, field in 0_u8..12) {
            let (head, mut links) = chain(length);
            let at = at % links.len();
            change(&mut links[at].entry, field);
            let broken = Broken { seq: seq(at), flaw: Flaw::Changed };
            prop_assert_eq!(verify(head, &KEY.seal(&head), &links), Err(broken));
        }

        #[test]
        fn a_removed_entry_is_named(length in 1_u64..40, at in 0_usize..40) {
            let (head, mut links) = chain(length);
            let at = at % links.len();
            links.remove(at);
            let broken = Broken { seq: seq(at), flaw: Flaw::Missing };
            prop_assert_eq!(verify(head, &KEY.seal(&head), &links), Err(broken));
        }

        #[test]
        fn two_entries_that_were_swapped_are_found(
            length in 2_u64..40, one in 0_usize..40, other in 0_usize..40, with_mac: bool,
        ) {
            let (head, mut links) = chain(length);
            let (one, other) = (one % links.len(), other % links.len());
            prop_assume!(one != other);
            links.swap(one, other);
            let (low, high) = (one.min(other), one.max(other));
            links[low].entry.seq = seq(low);
            links[high].entry.seq = seq(high);
            if !with_mac {
                let mac = links[low].mac;
                links[low].mac = links[high].mac;
                links[high].mac = mac;
            }
            let broken = Broken { seq: seq(low), flaw: Flaw::Changed };
            prop_assert_eq!(verify(head, &KEY.seal(&head), &links), Err(broken));
        }

        #[test]
        fn an_end_that_was_cut_off_is_found_with_or_without_a_forged_head(
            length in 1_u64..40, cut in 1_usize..40, forge: bool,
        ) {
            let (head, mut links) = chain(length);
            let cut = 1 + cut % links.len();
            links.truncate(links.len() - cut);
            let seal = KEY.seal(&head);
            let mut shown = head;
            if forge {
                shown.last = seq(links.len()) - 1;
                shown.last_mac = links.last().map_or(Mac::NONE, |link| link.mac);
            }
            prop_assert!(verify(shown, &seal, &links).is_err());
        }

        #[test]
        fn a_start_that_was_cut_off_is_found(length in 1_u64..40, cut in 1_usize..40) {
            let (head, links) = chain(length);
            let cut = 1 + cut % links.len();
            let seal = KEY.seal(&head);
            let mut forged = head;
            forged.forget_through(&links[cut - 1]);
            prop_assert!(verify(head, &seal, &links[cut..]).is_err());
            prop_assert!(verify(forged, &seal, &links[cut..]).is_err());
        }

        #[test]
        fn an_entry_that_was_slipped_in_is_found(length in 1_u64..40, at in 0_usize..40) {
            let (head, mut links) = chain(length);
            let at = at % links.len();
            let copy = links[at].clone();
            links.insert(at, copy);
            prop_assert!(verify(head, &KEY.seal(&head), &links).is_err());
        }
    }

    #[test]
    fn an_entry_at_the_end_that_nobody_wrote_is_found() {
        let (head, mut links) = chain(3);
        let mut longer = head;
        links.push(longer.append(&ChainKey([8; 32]), entry(9)));
        let broken = Broken { seq: 4, flaw: Flaw::Foreign };
        assert_eq!(verify(head, &KEY.seal(&head), &links), Err(broken));
    }
}
