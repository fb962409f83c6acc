//! The machine's clock and its source of randomness.

use chrono::Utc;
use muster_kernel::{Clock, Entropy, Timestamp, time};
use rand::TryRng;
use rand::rngs::SysRng;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the port's implementation")]
        let now = Utc::now();
        time::to_micros(now)
    }
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness every secret drawn from now on could be guessed: better to stop.
        if SysRng.try_fill_bytes(bytes).is_err() {
            std::process::abort();
        }
    }
}
