//! Answers that are given again to who asks the same.

use std::collections::{HashMap, VecDeque};

use chrono::TimeDelta;
use muster_kernel::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::budget::Payer;
use crate::model::{Access, Prompt};

/// How many answers are kept, of all tenants together.
const MOST: usize = 1000;
/// How long.
const FOR: TimeDelta = TimeDelta::hours(1);

/// What was asked, on whose account. One tenant never gets what another asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    payer: Payer,
    hash: [u8; 32],
}

impl Question {
    pub(crate) fn new(payer: Payer, access: &Access, prompt: &Prompt) -> Self {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update(text.len().to_le_bytes());
            hash.update(text.as_bytes());
        };
        add(&access.base_url);
        add(&access.model);
        add(&format!("{:?} {}", access.temperature, access.max_tokens));
        add(prompt.schema.as_ref().map_or("", |schema| schema.name));
        for message in &prompt.messages {
            add(message.speaker.as_str());
            add(&message.text);
        }
        Self { payer, hash: hash.finalize().into() }
    }
}

/// The answers, the oldest of which make way.
#[derive(Debug)]
pub(crate) struct Cache<T>(Mutex<Kept<T>>);

#[derive(Debug)]
struct Kept<T> {
    answers: HashMap<Question, (Timestamp, T)>,
    order: VecDeque<Question>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Mutex::new(Kept { answers: HashMap::new(), order: VecDeque::new() }))
    }
}

impl<T: Clone> Cache<T> {
    pub(crate) fn find(&self, question: &Question, now: Timestamp) -> Option<T> {
        let kept = self.0.lock();
        let (at, answer) = kept.answers.get(question)?;
        (now - *at < FOR).then(|| answer.clone())
    }

    pub(crate) fn keep(&self, question: Question, answer: T, now: Timestamp) {
        let mut kept = self.0.lock();
        if kept.answers.insert(question, (now, answer)).is_none() {
            kept.order.push_back(question);
        }
        while kept.order.len() > MOST
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.answers.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_kernel::testing::{FakeClock, SeededEntropy};
    use muster_kernel::{Clock, UserId};

    use super::*;

    fn question(seed: u64) -> Question {
        let person = UserId::new(&FakeClock::default(), &SeededEntropy::new(seed));
        Question { payer: Payer::Person(person), hash: [7; 32] }
    }

    #[test]
    fn an_answer_is_for_who_asked_and_for_an_hour() {
        let (cache, now) = (Cache::default(), FakeClock::default().now());
        cache.keep(question(1), "a", now);
        assert_eq!(cache.find(&question(1), now), Some("a"));
        assert_eq!(cache.find(&question(2), now), None);
        assert_eq!(cache.find(&question(1), now + FOR), None);
    }

    #[test]
    fn the_oldest_answers_make_way_for_others() {
        let (cache, now) = (Cache::default(), FakeClock::default().now());
        let most = u64::try_from(MOST).unwrap();
        for seed in 0..=most {
            cache.keep(question(seed), seed, now);
        }
        assert_eq!(cache.find(&question(0), now), None);
        assert_eq!(cache.find(&question(1), now), Some(1));
        assert_eq!(cache.0.lock().answers.len(), MOST);
    }
}
