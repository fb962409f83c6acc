//! One heartbeat's figures, and the grids of time that they are put on.

use chrono::{DateTime, TimeDelta};
use muster_kernel::Timestamp;

use crate::Metrics;

/// Two samples further apart than this have nothing to do with one another: nobody knows when in
/// between the traffic was.
pub const SILENCE: TimeDelta = TimeDelta::minutes(5);

/// What a machine said of its load, when it arrived.
///
/// Shares are whole numbers of hundredths of a percent: sums of them are exact, in whatever order
/// they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When it arrived.
    pub at: Timestamp,
    /// Busy share of all processors, in hundredths of a percent.
    pub cpu: u32,
    /// Used share of the memory, in hundredths of a percent.
    pub memory: u32,
    /// Used share of all disks together, in hundredths of a percent.
    pub disk: u32,
    /// Processes that ran.
    pub processes: u32,
    /// Bytes received since the machine booted.
    pub received: u64,
    /// Bytes sent since the machine booted.
    pub sent: u64,
    /// Seconds since the machine booted.
    pub uptime: u64,
}

impl Sample {
    /// What `metrics` say that arrived at `at`; a share that is none counts as the nearest that is.
    pub fn new(at: Timestamp, metrics: &Metrics) -> Self {
        Self {
            at,
            cpu: hundredths(metrics.cpu_percent),
            memory: hundredths(metrics.memory_percent),
            disk: hundredths(metrics.disk_percent),
            processes: metrics.processes,
            received: metrics.network_rx_bytes,
            sent: metrics.network_tx_bytes,
            uptime: metrics.uptime_seconds,
        }
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no conversion but this one takes a float, and it is between 0 and 10,000"
)]
fn hundredths(percent: f32) -> u32 {
    // What is no number at all becomes 0.
    (percent * 100.0).clamp(0.0, 10_000.0).round() as u32
}

/// A length of time that fits a whole number of times into the time since 1970: at least a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step(u32);

impl Step {
    /// Five minutes.
    pub const FIVE_MINUTES: Self = Self(300);
    /// An hour.
    pub const HOUR: Self = Self(3600);
    /// A day.
    pub const DAY: Self = Self(86_400);

    /// So many seconds; `None` for none at all.
    pub const fn of_seconds(seconds: u32) -> Option<Self> {
        if seconds == 0 { None } else { Some(Self(seconds)) }
    }

    /// In seconds.
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// As a length of time.
    pub fn length(self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.0))
    }

    /// Whether every instant of the grid of `self` is one of that of `finer`.
    pub const fn is_multiple_of(self, finer: Self) -> bool {
        self.0.is_multiple_of(finer.0)
    }

    /// The least multiple of `finer` that is as long as this.
    #[must_use]
    pub const fn up_to_multiple_of(self, finer: Self) -> Self {
        Self(self.0.div_ceil(finer.0).saturating_mul(finer.0))
    }

    /// The last instant of the grid that is not after `at`.
    pub fn floor(self, at: Timestamp) -> Timestamp {
        let seconds = i64::from(self.0);
        let floor = at.timestamp().div_euclid(seconds).saturating_mul(seconds);
        DateTime::from_timestamp(floor, 0).unwrap_or(at)
    }
}

/// In what detail something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// Every sample.
    Samples,
    /// What five minutes come to.
    FiveMinutes,
    /// What an hour comes to.
    Hours,
}

impl Resolution {
    /// What is rolled up, the finest first.
    pub const ROLLED: [Self; 2] = [Self::FiveMinutes, Self::Hours];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::FiveMinutes => "five_minutes",
            Self::Hours => "hours",
        }
    }

    /// How long a bucket is; `None` of samples, which are in none.
    pub const fn bucket(self) -> Option<Step> {
        match self {
            Self::Samples => None,
            Self::FiveMinutes => Some(Step::FIVE_MINUTES),
            Self::Hours => Some(Step::HOUR),
        }
    }

    /// How much time what is kept together spans at most, and begins on the grid of which.
    pub const fn pack(self) -> Step {
        match self {
            Self::Samples | Self::FiveMinutes => Step::HOUR,
            Self::Hours => Step::DAY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_makes_no_sense_becomes_one_that_does() {
        for (said, kept) in [
            (12.345, 1235),
            (100.0, 10_000),
            (-3.0, 0),
            (1e30, 10_000),
            (f32::INFINITY, 10_000),
            (f32::NAN, 0),
        ] {
            assert_eq!(hundredths(said), kept, "{said}");
        }
    }

    #[test]
    fn a_grid_also_holds_before_1970() {
        let at = DateTime::from_timestamp(-1, 500).unwrap();
        assert_eq!(Step::HOUR.floor(at).timestamp(), -3600);
    }
}
