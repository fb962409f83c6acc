//! What samples come to over a length of time. Rolling up in one go or in any number of parts gives
//! the same, to the bit: everything in a bucket is a least, a greatest, a last or a sum of whole
//! numbers.

use muster_kernel::Timestamp;

use super::sample::{SILENCE, Sample, Step};

/// What a figure was over a length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge {
    /// Its least.
    pub min: u32,
    /// Its greatest.
    pub max: u32,
    /// All of them together: with the number of samples, what it was on average.
    pub sum: u64,
}

impl Gauge {
    fn of(value: u32) -> Self {
        Self { min: value, max: value, sum: u64::from(value) }
    }

    fn with(self, other: Self) -> Self {
        Self {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            sum: self.sum.saturating_add(other.sum),
        }
    }
}

/// What went over the network in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes in the time that is known.
    pub bytes: u64,
    /// The most between two samples that followed one another, in bytes a second.
    pub peak: u64,
}

impl Traffic {
    fn between(before: u64, after: u64, rebooted: bool, micros: u64) -> Self {
        // After a boot the machine counts from nothing: what it has counted came since.
        let bytes = if rebooted { after } else { after.checked_sub(before).unwrap_or(after) };
        let peak = u128::from(bytes) * 1_000_000 / u128::from(micros.max(1));
        Self { bytes, peak: u64::try_from(peak).unwrap_or(u64::MAX) }
    }

    fn with(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), peak: self.peak.max(other.peak) }
    }
}

/// What the samples come to that arrived within one step of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// When the step begins.
    pub at: Timestamp,
    /// How many samples; never none: where there is no sample there is no bucket.
    pub samples: u64,
    /// Busy share of all processors, in hundredths of a percent.
    pub cpu: Gauge,
    /// Used share of the memory, in hundredths of a percent.
    pub memory: Gauge,
    /// Used share of all disks together, in hundredths of a percent.
    pub disk: Gauge,
    /// Processes that ran.
    pub processes: Gauge,
    /// For how many microseconds the traffic is known.
    pub known_for: u64,
    /// What was received in that time.
    pub received: Traffic,
    /// What was sent in that time.
    pub sent: Traffic,
    /// Seconds since the machine had booted, at the last sample.
    pub uptime: u64,
}

impl Bucket {
    /// The bucket of one sample, on the grid of `step`. What went over the network since the sample
    /// before it belongs to it; where that is too long ago, nobody knows what did.
    pub fn of(step: Step, previous: Option<&Sample>, sample: &Sample) -> Self {
        let known = previous.and_then(|previous| {
            let apart = sample.at - previous.at;
            let micros = u64::try_from(apart.num_microseconds()?).ok().filter(|time| *time > 0)?;
            (apart <= SILENCE).then_some((previous, micros))
        });
        let (known_for, received, sent) = match known {
            None => Default::default(),
            Some((before, micros)) => {
                let rebooted = sample.uptime < before.uptime;
                let between = |before, after| Traffic::between(before, after, rebooted, micros);
                let received = between(before.received, sample.received);
                (micros, received, between(before.sent, sample.sent))
            }
        };
        Self {
            at: step.floor(sample.at),
            samples: 1,
            cpu: Gauge::of(sample.cpu),
            memory: Gauge::of(sample.memory),
            disk: Gauge::of(sample.disk),
            processes: Gauge::of(sample.processes),
            known_for,
            received,
            sent,
            uptime: sample.uptime,
        }
    }

    /// This and a `later` one in one.
    #[must_use]
    pub fn with(self, later: &Self) -> Self {
        Self {
            at: self.at,
            samples: self.samples.saturating_add(later.samples),
            cpu: self.cpu.with(later.cpu),
            memory: self.memory.with(later.memory),
            disk: self.disk.with(later.disk),
            processes: self.processes.with(later.processes),
            known_for: self.known_for.saturating_add(later.known_for),
            received: self.received.with(later.received),
            sent: self.sent.with(later.sent),
            uptime: later.uptime,
        }
    }
}

/// What `samples` come to on the grid of `step`. They are in the order of their times; `previous`
/// is the one before the first of them.
pub fn roll(step: Step, previous: Option<&Sample>, samples: &[Sample]) -> Vec<Bucket> {
    let before = std::iter::once(previous).chain(samples.iter().map(Some));
    let each = before.zip(samples).map(|(previous, sample)| Bucket::of(step, previous, sample));
    coarsen(step, each)
}

/// What `buckets`, in the order of their times, come to on the grid of `step`, which has to be a
/// multiple of theirs.
pub fn coarsen(step: Step, buckets: impl IntoIterator<Item = Bucket>) -> Vec<Bucket> {
    let mut coarse: Vec<Bucket> = Vec::new();
    for bucket in buckets {
        let at = step.floor(bucket.at);
        match coarse.last_mut() {
            Some(last) if last.at == at => *last = last.with(&bucket),
            Some(_) | None => coarse.push(Bucket { at, ..bucket }),
        }
    }
    coarse
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;

    use super::*;

    fn sample(second: i64, received: u64, uptime: u64) -> Sample {
        let at = DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap();
        Sample { at, cpu: 1, memory: 2, disk: 3, processes: 4, received, sent: 0, uptime }
    }

    /// Samples of a machine that reboots and falls silent now and then, and says what it likes.
    fn samples() -> impl Strategy<Value = Vec<Sample>> {
        let one = (
            0_i64..400_000_000,
            (0_u32..=10_000, any::<u32>()),
            prop_oneof![0_u64..1_000_000, any::<u64>()],
            prop_oneof![9 => Just(30_u64), 1 => Just(0), 1 => any::<u64>()],
        );
        prop::collection::vec(one, 0..120).prop_map(|said| {
            let mut at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
            let (mut received, mut uptime) = (0_u64, 0_u64);
            let sample = |(apart, (cpu, processes), bytes, ran)| {
                at += TimeDelta::microseconds(apart);
                received = received.wrapping_add(bytes);
                uptime = if ran == 0 { 0 } else { uptime.wrapping_add(ran) };
                let (memory, disk, sent) = (cpu / 2, cpu / 3, received / 2);
                Sample { at, cpu, memory, disk, processes, received, sent, uptime }
            };
            said.into_iter().map(sample).collect()
        })
    }

    proptest! {
        #[test]
        fn rolling_up_in_any_two_parts_gives_the_same(all in samples(), cut in 0_usize..120) {
            let (first, second) = all.split_at(cut.min(all.len()));
            for step in [Step::FIVE_MINUTES, Step::HOUR] {
                let parts = roll(step, None, first);
                let rest = roll(step, first.last(), second);
                let joined = coarsen(step, parts.into_iter().chain(rest));
                prop_assert_eq!(joined, roll(step, None, &all));
            }
        }

        #[test]
        fn rolling_up_by_way_of_five_minutes_and_hours_gives_the_same(all in samples()) {
            let fine = roll(Step::FIVE_MINUTES, None, &all);
            let hours = coarsen(Step::HOUR, fine.clone());
            prop_assert_eq!(&hours, &roll(Step::HOUR, None, &all));
            prop_assert_eq!(coarsen(Step::DAY, hours), coarsen(Step::DAY, fine));
        }

        #[test]
        fn nothing_is_lost_and_nothing_counts_twice(all in samples()) {
            let buckets = roll(Step::FIVE_MINUTES, None, &all);
            let number: u64 = buckets.iter().map(|bucket| bucket.samples).sum();
            prop_assert_eq!(number, u64::try_from(all.len()).unwrap());
            let cpu: u64 = buckets.iter().map(|bucket| bucket.cpu.sum).sum();
            prop_assert_eq!(cpu, all.iter().map(|sample| u64::from(sample.cpu)).sum::<u64>());
            prop_assert!(buckets.is_sorted_by_key(|bucket| bucket.at));
        }
    }

    #[test]
    fn a_reboot_costs_no_traffic_and_makes_none_up() {
        let all = [sample(0, 5000, 900), sample(30, 5300, 930), sample(60, 40, 10)];
        let [bucket] = roll(Step::FIVE_MINUTES, None, &all)[..] else { panic!("one bucket") };
        assert_eq!((bucket.received.bytes, bucket.known_for), (340, 60_000_000));
        assert_eq!((bucket.received.peak, bucket.uptime), (10, 10));
    }

    #[test]
    fn a_counter_that_goes_back_without_a_reboot_begins_anew() {
        let all = [sample(0, 5000, 900), sample(30, 60, 930)];
        assert_eq!(roll(Step::HOUR, None, &all)[0].received, Traffic { bytes: 60, peak: 2 });
    }

    #[test]
    fn what_went_on_during_a_silence_is_nobodys_rate() {
        let all = [sample(0, 0, 900), sample(301, 9_000_000, 1201)];
        let known: Vec<_> = roll(Step::HOUR, None, &all).iter().map(|b| b.known_for).collect();
        assert_eq!(known, [0]);
    }
}
