//! How samples and buckets become bytes.
//!
//! A first byte names the encoding; whoever changes it takes the next and still reads the others.
//! Then come whole numbers, seven bits a byte, the least first. What changes little from one to the
//! next is written as the difference, wrapped where it overflows: nothing that a machine may say is
//! too large.

use chrono::DateTime;
use muster_agents::metrics::{Bucket, Gauge, Sample, Step, Traffic};
use muster_kernel::Timestamp;

use crate::DatabaseError;
use crate::columns::micros;

/// The encoding of both, so far.
const FIRST: u8 = 1;
/// Seven bits of a number; the eighth says that more are to come.
const LOW: u8 = 0x7f;

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut value: u64) {
        loop {
            let low = u8::try_from(value & u64::from(LOW)).unwrap_or(LOW);
            value >>= 7;
            if value == 0 {
                return self.0.push(low);
            }
            self.0.push(low | !LOW);
        }
    }

    /// Small whichever way it went.
    fn change(&mut self, before: u64, after: u64) {
        let change = after.wrapping_sub(before).cast_signed();
        self.number((change << 1 ^ change >> 63).cast_unsigned());
    }

    fn gauge(&mut self, gauge: Gauge) {
        self.number(gauge.min.into());
        self.change(gauge.min.into(), gauge.max.into());
        self.number(gauge.sum);
    }

    fn traffic(&mut self, traffic: Traffic) {
        self.number(traffic.bytes);
        self.number(traffic.peak);
    }
}

struct Reader<'a> {
    bytes: std::slice::Iter<'a, u8>,
    place: &'static str,
}

impl<'a> Reader<'a> {
    fn open(bytes: &'a [u8], place: &'static str) -> Result<Self, DatabaseError> {
        let mut bytes = bytes.iter();
        if bytes.next() == Some(&FIRST) {
            Ok(Self { bytes, place })
        } else {
            Err(DatabaseError::bad_row(place))
        }
    }

    fn is_at_end(&self) -> bool {
        self.bytes.as_slice().is_empty()
    }

    fn number(&mut self) -> Result<u64, DatabaseError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.bytes.next().ok_or_else(|| DatabaseError::bad_row(self.place))?;
            value |= u64::from(byte & LOW) << shift;
            if byte & !LOW == 0 {
                return Ok(value);
            }
        }
        Err(DatabaseError::bad_row(self.place))
    }

    fn short(&mut self) -> Result<u32, DatabaseError> {
        u32::try_from(self.number()?).map_err(|_| DatabaseError::bad_row(self.place))
    }

    fn change(&mut self, before: u64) -> Result<u64, DatabaseError> {
        let coded = self.number()?;
        let change = (coded >> 1).cast_signed() ^ -(coded & 1).cast_signed();
        Ok(before.wrapping_add(change.cast_unsigned()))
    }

    fn short_change(&mut self, before: u32) -> Result<u32, DatabaseError> {
        let place = self.place;
        u32::try_from(self.change(before.into())?).map_err(|_| DatabaseError::bad_row(place))
    }

    fn time(&self, micros: u64) -> Result<Timestamp, DatabaseError> {
        let at = DateTime::from_timestamp_micros(micros.cast_signed());
        at.ok_or_else(|| DatabaseError::bad_row(self.place))
    }

    fn gauge(&mut self) -> Result<Gauge, DatabaseError> {
        let min = self.short()?;
        Ok(Gauge { min, max: self.short_change(min)?, sum: self.number()? })
    }

    fn traffic(&mut self) -> Result<Traffic, DatabaseError> {
        Ok(Traffic { bytes: self.number()?, peak: self.number()? })
    }
}

/// What stands before the first: the first is written as it is.
const NOTHING: Sample = Sample {
    at: Timestamp::UNIX_EPOCH,
    cpu: 0,
    memory: 0,
    disk: 0,
    processes: 0,
    received: 0,
    sent: 0,
    uptime: 0,
};

/// The bytes of samples.
pub(super) fn samples_to_bytes(samples: &[Sample]) -> Vec<u8> {
    let mut writer = Writer(Vec::with_capacity(16 + 24 * samples.len()));
    writer.0.push(FIRST);
    let mut before = NOTHING;
    for sample in samples {
        writer.change(micros(before.at).cast_unsigned(), micros(sample.at).cast_unsigned());
        writer.change(before.cpu.into(), sample.cpu.into());
        writer.change(before.memory.into(), sample.memory.into());
        writer.change(before.disk.into(), sample.disk.into());
        writer.change(before.processes.into(), sample.processes.into());
        writer.change(before.received, sample.received);
        writer.change(before.sent, sample.sent);
        writer.change(before.uptime, sample.uptime);
        before = *sample;
    }
    writer.0
}

/// The samples in a column.
pub(super) fn samples_from_bytes(bytes: &[u8]) -> Result<Vec<Sample>, DatabaseError> {
    let mut reader = Reader::open(bytes, "metric_samples.data")?;
    let mut samples = Vec::new();
    let mut before = NOTHING;
    while !reader.is_at_end() {
        let at = reader.change(micros(before.at).cast_unsigned())?;
        before = Sample {
            at: reader.time(at)?,
            cpu: reader.short_change(before.cpu)?,
            memory: reader.short_change(before.memory)?,
            disk: reader.short_change(before.disk)?,
            processes: reader.short_change(before.processes)?,
            received: reader.change(before.received)?,
            sent: reader.change(before.sent)?,
            uptime: reader.change(before.uptime)?,
        };
        samples.push(before);
    }
    Ok(samples)
}

/// The bytes of buckets, which are so far apart or a multiple of that.
pub(super) fn buckets_to_bytes(step: Step, buckets: &[Bucket]) -> Vec<u8> {
    let mut writer = Writer(Vec::with_capacity(16 + 56 * buckets.len()));
    writer.0.push(FIRST);
    let mut before = 0;
    for bucket in buckets {
        let number = bucket.at.timestamp().div_euclid(step.seconds().into()).cast_unsigned();
        writer.change(before, number);
        before = number;
        writer.number(bucket.samples);
        for gauge in [bucket.cpu, bucket.memory, bucket.disk, bucket.processes] {
            writer.gauge(gauge);
        }
        writer.number(bucket.known_for);
        writer.traffic(bucket.received);
        writer.traffic(bucket.sent);
        writer.number(bucket.uptime);
    }
    writer.0
}

/// The buckets in a column.
pub(super) fn buckets_from_bytes(step: Step, bytes: &[u8]) -> Result<Vec<Bucket>, DatabaseError> {
    let place = "metric_rollups.data";
    let mut reader = Reader::open(bytes, place)?;
    let mut buckets = Vec::new();
    let mut before = 0;
    while !reader.is_at_end() {
        before = reader.change(before)?;
        let seconds = before.cast_signed().saturating_mul(step.seconds().into());
        buckets.push(Bucket {
            at: DateTime::from_timestamp(seconds, 0).ok_or(DatabaseError::bad_row(place))?,
            samples: reader.number()?,
            cpu: reader.gauge()?,
            memory: reader.gauge()?,
            disk: reader.gauge()?,
            processes: reader.gauge()?,
            known_for: reader.number()?,
            received: reader.traffic()?,
            sent: reader.traffic()?,
            uptime: reader.number()?,
        });
    }
    Ok(buckets)
}

#[cfg(test)]
mod tests {
    use muster_agents::metrics::roll;
    use muster_agents::testing::metrics::day_of_samples;

    use super::*;

    #[test]
    fn a_sample_takes_some_twenty_bytes_and_a_bucket_some_fifty() {
        let day = day_of_samples();
        let bytes = samples_to_bytes(&day[..10]).len();
        assert!(bytes <= 220, "{bytes} for 10 samples");
        let buckets = roll(Step::FIVE_MINUTES, None, &day);
        let bytes = buckets_to_bytes(Step::FIVE_MINUTES, &buckets[..12]).len();
        assert!(bytes <= 12 * 55, "{bytes} for 12 buckets");
    }

    #[test]
    fn bytes_that_nobody_wrote_are_an_error_and_no_figures() {
        let good = samples_to_bytes(&day_of_samples()[..3]);
        for cut in [0, 2, good.len() - 1] {
            assert!(samples_from_bytes(&good[..cut]).is_err(), "{cut}");
        }
        assert!(samples_from_bytes(&[2, 0]).is_err());
        assert!(samples_from_bytes(&[&[1][..], &[0xff; 11]].concat()).is_err());
        assert!(buckets_from_bytes(Step::HOUR, &[1, 0]).is_err());
    }
}
