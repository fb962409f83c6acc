//! Recent looks at sessions, so that not every request asks the storage.

use std::collections::HashMap;

use chrono::TimeDelta;
use muster_kernel::{Principal, SessionId, Timestamp};
use parking_lot::Mutex;

/// How long a look is trusted before the next.
const TRUSTED_FOR: TimeDelta = TimeDelta::seconds(3);
/// How many sessions are remembered at a time.
const MAX_SESSIONS: usize = 10_000;

/// Recent looks, and how many sessions have ended since the start.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    endings: u64,
    recent: HashMap<SessionId, (Timestamp, Principal)>,
}

/// A look that is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    endings: u64,
}

impl Looks {
    /// Whose session it is, if somebody looked lately.
    pub(crate) fn recent(&self, id: SessionId, now: Timestamp) -> Option<Principal> {
        let state = self.0.lock();
        let (at, principal) = state.recent.get(&id)?;
        (TimeDelta::zero()..TRUSTED_FOR).contains(&(now - *at)).then(|| principal.clone())
    }

    /// To be called before the storage is asked.
    pub(crate) fn begin(&self) -> Look {
        Look { endings: self.0.lock().endings }
    }

    /// Remembers what `look` saw, unless any session ended meanwhile: it may be this one, and
    /// what was seen older than its end.
    pub(crate) fn keep(&self, look: Look, id: SessionId, now: Timestamp, principal: Principal) {
        let mut state = self.0.lock();
        if state.endings != look.endings {
            return;
        }
        if state.recent.len() >= MAX_SESSIONS {
            state.recent.clear();
        }
        state.recent.insert(id, (now, principal));
    }

    /// To be called after the storage knows that the session `id` has ended.
    pub(crate) fn end(&self, id: SessionId) {
        let mut state = self.0.lock();
        state.endings = state.endings.wrapping_add(1);
        state.recent.remove(&id);
    }

    /// To be called after the storage knows of a change to users or to many sessions.
    pub(crate) fn forget_all(&self) {
        let mut state = self.0.lock();
        state.endings = state.endings.wrapping_add(1);
        state.recent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_kernel::testing::{FakeClock, SeededEntropy};
    use muster_kernel::{AgentId, Clock, CustomerId};

    #[test]
    fn a_look_that_began_before_the_end_is_not_remembered_after_it() {
        let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(1));
        let (looks, now) = (Looks::default(), clock.now());
        let id = SessionId::new(&clock, &entropy);
        let principal = Principal::Agent {
            agent_id: AgentId::new(&clock, &entropy),
            customer_id: CustomerId::new(&clock, &entropy),
        };
        let look = looks.begin();
        looks.end(id);
        looks.keep(look, id, now, principal.clone());
        assert_eq!(looks.recent(id, now), None);
        looks.keep(looks.begin(), id, now, principal.clone());
        assert_eq!(looks.recent(id, now), Some(principal));
        assert_eq!(looks.recent(id, now + TRUSTED_FOR), None);
    }
}
