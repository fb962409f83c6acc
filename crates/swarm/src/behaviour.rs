//! How machines work.

use std::time::Duration;

use bytes::Bytes;

/// How the machines of a swarm work. The default answers at once, writes nothing and never fails.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// How long each command takes at least.
    pub takes: Duration,
    /// Up to how much longer it takes, evenly spread.
    pub varies_by: Duration,
    /// The machines, by their number, on which every command fails.
    pub failing: Vec<usize>,
    /// The share of commands that fail on the others, 0 to 1.
    pub failure_rate: f64,
    /// Whether commands that are cancelled go on.
    pub ignores_cancel: bool,
    /// What each command writes to its standard output.
    pub output: Bytes,
    /// How often a machine sends its load; as the server says when absent.
    pub heartbeat: Option<Duration>,
    /// The share of machines that drop their connection and come back, each minute.
    pub churn: f64,
    /// How a machine whose connection ended comes back.
    pub reconnect: Reconnect,
}

/// How a machine whose connection ended comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reconnect {
    /// After a tenth of a second, every time.
    #[default]
    Soon,
    /// As agents do: after up to half a second, and up to twice as long each time up to a minute.
    LikeAgents,
}

/// How fast machines connect for the first time.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How many begin to connect each second; all at once when absent.
    pub per_second: Option<f64>,
    /// How many may be on their way to a welcome at a time, later on as well.
    pub at_once: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { per_second: None, at_once: 256 }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
const SOON: Duration = Duration::from_millis(100);

impl Reconnect {
    /// The pause after so many attempts in a row that failed.
    pub(crate) fn pause(self, failures: u32) -> Duration {
        match self {
            Self::Soon => SOON,
            Self::LikeAgents => {
                let bound = FIRST_PAUSE.saturating_mul(1 << failures.min(7)).min(LONGEST_PAUSE);
                bound.mul_f64(rand::random())
            }
        }
    }
}

impl Behaviour {
    /// How long the next command takes.
    pub(crate) fn next_takes(&self) -> Duration {
        self.takes + self.varies_by.mul_f64(rand::random())
    }

    /// Whether the next command of the machine fails.
    pub(crate) fn next_fails(&self, machine: usize) -> bool {
        self.failing.contains(&machine) || rand::random::<f64>() < self.failure_rate
    }

    /// How long the next connection of a machine lasts; `None` when it is not to be dropped.
    pub(crate) fn next_stay(&self) -> Option<Duration> {
        if self.churn <= 0.0 {
            return None;
        }
        // Who stays as long as the others did is as likely to go as they were.
        let share: f64 = 1.0 - rand::random::<f64>();
        Duration::try_from_secs_f64(-share.ln() * 60.0 / self.churn).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_of_agents_start_short_and_never_exceed_a_minute() {
        assert!(Reconnect::LikeAgents.pause(0) <= FIRST_PAUSE);
        assert!((0..100).all(|failures| Reconnect::LikeAgents.pause(failures) <= LONGEST_PAUSE));
        assert_eq!(Reconnect::Soon.pause(50), SOON);
    }

    #[test]
    fn the_asked_share_of_machines_goes_each_minute() {
        let behaviour = Behaviour { churn: 0.1, ..Behaviour::default() };
        let minute = Duration::from_mins(1);
        let gone = (0..20_000).filter(|_| behaviour.next_stay().unwrap() < minute).count();
        assert!((1700..2100).contains(&gone), "{gone} of 20,000 within a minute, at 10 %");
        assert_eq!(Behaviour::default().next_stay(), None);
    }

    #[test]
    fn commands_fail_on_machines_that_are_named_and_else_as_often_as_said() {
        let behaviour = Behaviour { failing: vec![3], failure_rate: 0.25, ..Behaviour::default() };
        assert!((0..100).all(|_| behaviour.next_fails(3)));
        let failed = (0..10_000).filter(|_| behaviour.next_fails(4)).count();
        assert!((2200..2800).contains(&failed), "{failed} of 10,000 at 25 %");
    }
}
