//! The ports in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use muster_kernel::{
    Author, Cursor, Page, PageRequest, Secret, SessionId, StorageError, Timestamp, TokenHash,
    UserId,
};
use parking_lot::Mutex;

use crate::{
    AccountPolicy, Email, Identified, Keep, OneTimeCodes, PendingSignOn, Requirement, RotateError,
    SecondFactor, SecondFactorRepository, Session, SessionRepository, SignOnError, SignOnStart,
    SingleSignOn, TicketStore, User, UserChange, UserFilter, UserRepository, UserWriteError,
    Username,
};

/// Users, sessions, second factors and tickets in memory.
#[derive(Debug, Default)]
pub struct FakeIdentity {
    users: Mutex<Vec<User>>,
    links: Mutex<HashMap<(String, String), UserId>>,
    sessions: Mutex<BTreeMap<SessionId, Session>>,
    tokens: Mutex<HashMap<TokenHash, SessionId>>,
    factors: Mutex<HashMap<UserId, SecondFactor>>,
    tickets: Mutex<HashMap<TokenHash, (SessionId, Timestamp)>>,
}

impl FakeIdentity {
    fn other_admins(&self, id: UserId) -> u64 {
        let users = self.users.lock();
        let others = users.iter().filter(|user| user.id != id && user.is_active_admin());
        u64::try_from(others.count()).unwrap()
    }

    fn shown(&self, mut user: User) -> User {
        let factors = self.factors.lock();
        user.has_second_factor =
            factors.get(&user.id).is_some_and(|factor| factor.confirmed_at.is_some());
        user
    }

    fn one(&self, wanted: impl Fn(&User) -> bool) -> Option<User> {
        let found = self.users.lock().iter().find(|user| wanted(user)).cloned();
        found.map(|user| self.shown(user))
    }

    fn end_but(&self, user: UserId, keep: Keep, now: Timestamp) -> u64 {
        let mut ended = 0;
        for session in self.sessions.lock().values_mut().filter(|s| s.user_id == user) {
            let kept = match keep {
                Keep::All => true,
                Keep::Only(id) => session.id == id,
                Keep::None => false,
            };
            if !kept && session.ended_at.is_none() {
                session.ended_at = Some(now);
                ended += 1;
            }
        }
        ended
    }
}

#[async_trait]
impl UserRepository for FakeIdentity {
    async fn is_empty(&self) -> Result<bool, StorageError> {
        Ok(self.users.lock().is_empty())
    }

    async fn create_first(&self, user: User, _: &Author) -> Result<bool, StorageError> {
        let mut users = self.users.lock();
        let first = users.is_empty();
        if first {
            users.push(user);
        }
        Ok(first)
    }

    async fn create(&self, user: User, _: &Author) -> Result<(), UserWriteError> {
        let mut users = self.users.lock();
        let same = |other: &User| {
            other.username == user.username || (user.email.is_some() && other.email == user.email)
        };
        if users.iter().any(same) {
            return Err(UserWriteError::Taken);
        }
        users.push(user);
        Ok(())
    }

    async fn find(&self, id: UserId) -> Result<Option<User>, StorageError> {
        Ok(self.one(|user| user.id == id))
    }

    async fn find_by_username(&self, name: &Username) -> Result<Option<User>, StorageError> {
        Ok(self.one(|user| user.username == *name))
    }

    async fn find_by_email(&self, email: &Email) -> Result<Option<User>, StorageError> {
        Ok(self.one(|user| user.email.as_ref() == Some(email)))
    }

    async fn list(
        &self,
        filter: &UserFilter,
        page: &PageRequest,
    ) -> Result<Page<User>, StorageError> {
        let contains = |user: &User, q: &str| {
            let email = user.email.as_ref().map(Email::as_str);
            [Some(user.username.as_str()), email, user.full_name.as_deref()]
                .into_iter()
                .flatten()
                .any(|text| text.to_lowercase().contains(&q.to_lowercase()))
        };
        let mut all: Vec<User> = self
            .users
            .lock()
            .iter()
            .filter(|user| filter.status.is_none_or(|status| user.status == status))
            .filter(|user| filter.role.is_none_or(|role| user.role == role))
            .filter(|user| filter.q.as_ref().is_none_or(|q| contains(user, q)))
            .cloned()
            .collect();
        all.sort_by_key(|user| user.id);
        let total = u64::try_from(all.len()).unwrap();
        let after = page.cursor.as_ref().map(|cursor| UserId::from_uuid(cursor.id));
        all.retain(|user| after.is_none_or(|after| user.id > after));
        all.truncate(usize::from(page.limit()) + 1);
        let all = all.into_iter().map(|user| self.shown(user)).collect();
        Ok(Page::from_rows(all, page, total, |user| Cursor::after(user.id.as_uuid())))
    }

    async fn update(
        &self,
        id: UserId,
        change: UserChange,
        keep: Keep,
        _: &'static str,
        _: &Author,
        now: Timestamp,
    ) -> Result<Option<User>, UserWriteError> {
        let Some(user) = self.one(|user| user.id == id) else { return Ok(None) };
        let user = user.changed(change, self.other_admins(id))?;
        let taken =
            |other: &User| other.id != id && user.email.is_some() && other.email == user.email;
        if self.users.lock().iter().any(taken) {
            return Err(UserWriteError::Taken);
        }
        self.end_but(id, keep, now);
        self.users.lock().iter_mut().filter(|row| row.id == id).for_each(|row| *row = user.clone());
        Ok(Some(user))
    }

    async fn remove(&self, id: UserId, _: &Author, now: Timestamp) -> Result<bool, UserWriteError> {
        let Some(user) = self.one(|user| user.id == id) else { return Ok(false) };
        user.removable(self.other_admins(id))?;
        self.end_but(id, Keep::None, now);
        self.sessions.lock().retain(|_, session| session.user_id != id);
        self.users.lock().retain(|user| user.id != id);
        self.factors.lock().remove(&id);
        self.links.lock().retain(|_, user| *user != id);
        Ok(true)
    }

    async fn find_by_sign_on(
        &self,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<User>, StorageError> {
        let id = self.links.lock().get(&(issuer.to_owned(), subject.to_owned())).copied();
        Ok(id.and_then(|id| self.one(|user| user.id == id)))
    }

    async fn create_signed_on(
        &self,
        user: User,
        issuer: &str,
        subject: &str,
        author: &Author,
    ) -> Result<(), UserWriteError> {
        let key = (issuer.to_owned(), subject.to_owned());
        if self.links.lock().contains_key(&key) {
            return Err(UserWriteError::Taken);
        }
        let id = user.id;
        UserRepository::create(self, user, author).await?;
        self.links.lock().insert(key, id);
        Ok(())
    }
}

#[async_trait]
impl SessionRepository for FakeIdentity {
    async fn create(&self, session: Session, _: &Author) -> Result<(), StorageError> {
        self.tokens.lock().insert(session.refresh_token, session.id);
        self.sessions.lock().insert(session.id, session);
        Ok(())
    }

    async fn find(&self, id: SessionId) -> Result<Option<Session>, StorageError> {
        Ok(self.sessions.lock().get(&id).cloned())
    }

    async fn live(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StorageError> {
        let sessions = self.sessions.lock();
        let live = sessions.values().rev().filter(|s| s.user_id == user && s.is_live(now));
        Ok(live.cloned().collect())
    }

    async fn rotate(
        &self,
        presented: TokenHash,
        next: TokenHash,
        _: &Author,
        now: Timestamp,
    ) -> Result<Option<(Session, Result<(), RotateError>)>, StorageError> {
        let mut tokens = self.tokens.lock();
        let mut sessions = self.sessions.lock();
        let Some(session) = tokens.get(&presented).and_then(|id| sessions.get_mut(id)) else {
            return Ok(None);
        };
        let outcome = session.rotate(presented, next, now);
        if outcome.is_ok() {
            tokens.insert(next, session.id);
        }
        Ok(Some((session.clone(), outcome)))
    }

    async fn confirm(&self, id: SessionId, now: Timestamp) -> Result<(), StorageError> {
        if let Some(session) = self.sessions.lock().get_mut(&id) {
            session.confirmed_at = now;
        }
        Ok(())
    }

    async fn end(
        &self,
        user: UserId,
        id: SessionId,
        _: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut sessions = self.sessions.lock();
        let session = sessions.get_mut(&id).filter(|s| s.user_id == user && s.is_live(now));
        Ok(session.map(|session| session.ended_at = Some(now)).is_some())
    }

    async fn end_all(
        &self,
        user: UserId,
        keep: Keep,
        _: &Author,
        now: Timestamp,
    ) -> Result<u64, StorageError> {
        Ok(self.end_but(user, keep, now))
    }

    async fn forget(&self, before: Timestamp) -> Result<u64, StorageError> {
        let mut sessions = self.sessions.lock();
        let known = sessions.len();
        sessions.retain(|_, session| session.ended_at.unwrap_or(session.expires_at) >= before);
        Ok(u64::try_from(known - sessions.len()).unwrap())
    }
}

#[async_trait]
impl SecondFactorRepository for FakeIdentity {
    async fn find_factor(&self, user: UserId) -> Result<Option<SecondFactor>, StorageError> {
        Ok(self.factors.lock().get(&user).cloned())
    }

    async fn keep_factor(
        &self,
        factor: SecondFactor,
        _: &'static str,
        _: &Author,
        _: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut factors = self.factors.lock();
        let may = factor.may_replace(factors.get(&factor.user_id));
        if may {
            factors.insert(factor.user_id, factor);
        }
        Ok(may)
    }

    async fn use_step(&self, user: UserId, step: u64) -> Result<bool, StorageError> {
        Ok(self.factors.lock().get_mut(&user).is_some_and(|factor| factor.use_step(step)))
    }

    async fn use_recovery_code(
        &self,
        user: UserId,
        code: TokenHash,
        _: &Author,
        _: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut factors = self.factors.lock();
        Ok(factors.get_mut(&user).is_some_and(|factor| factor.use_recovery_code(&code)))
    }

    async fn remove_factor(
        &self,
        user: UserId,
        _: &Author,
        _: Timestamp,
    ) -> Result<bool, StorageError> {
        Ok(self.factors.lock().remove(&user).is_some())
    }
}

#[async_trait]
impl TicketStore for FakeIdentity {
    async fn put(
        &self,
        ticket: TokenHash,
        session: SessionId,
        expires_at: Timestamp,
        _: Timestamp,
    ) -> Result<(), StorageError> {
        self.tickets.lock().insert(ticket, (session, expires_at));
        Ok(())
    }

    async fn take(
        &self,
        ticket: TokenHash,
        now: Timestamp,
    ) -> Result<Option<SessionId>, StorageError> {
        let ticket = self.tickets.lock().remove(&ticket);
        Ok(ticket.filter(|(_, end)| now < *end).map(|(session, _)| session))
    }
}

/// Codes that say which half minute it is.
#[derive(Debug, Default)]
pub struct FakeCodes;

impl FakeCodes {
    /// The code that a device shows at `now`.
    pub fn code(now: Timestamp) -> Secret {
        Secret::from_text(format!("code {}", now.timestamp() / 30))
    }
}

impl OneTimeCodes for FakeCodes {
    fn draw(&self) -> Secret {
        Secret::from_text("SHARED")
    }

    fn uri(&self, secret: &Secret, account: &str) -> Option<Secret> {
        Some(Secret::from_text(format!("otpauth://totp/{account}?secret={}", secret.expose())))
    }

    fn step_of(&self, _: &Secret, code: &str, now: Timestamp) -> Option<u64> {
        let step = code.strip_prefix("code ")?.parse().ok()?;
        let present = u64::try_from(now.timestamp() / 30).ok()?;
        (present.abs_diff(step) <= 1).then_some(step)
    }
}

/// A policy that a test changes.
#[derive(Debug, Default)]
pub struct FakePolicy {
    /// Whether registration is closed.
    pub closed: AtomicBool,
    /// Who has to have a second factor.
    pub required: Mutex<Requirement>,
}

impl AccountPolicy for FakePolicy {
    fn registration_is_open(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }

    fn second_factor(&self) -> Requirement {
        *self.required.lock()
    }

    fn provider_registers(&self) -> bool {
        !self.closed.load(Ordering::Relaxed)
    }
}

/// A provider for which everybody is who their code says: `subject:username:email`.
#[derive(Debug, Default)]
pub struct FakeProvider;

#[async_trait]
impl SingleSignOn for FakeProvider {
    async fn begin(&self) -> Result<SignOnStart, SignOnError> {
        let pending = PendingSignOn::from_parts("state", "nonce", "verifier");
        Ok(SignOnStart { url: "https://id.example/".to_owned(), pending })
    }

    async fn finish(
        &self,
        code: &str,
        state: &str,
        pending: &PendingSignOn,
    ) -> Result<Identified, SignOnError> {
        let mut parts = code.split(':').map(ToOwned::to_owned);
        if state != pending.state.expose() {
            return Err(SignOnError::Refused("the state".to_owned()));
        }
        Ok(Identified {
            issuer: "https://id.example".to_owned(),
            subject: parts.next().unwrap_or_default(),
            username: parts.next(),
            email: parts.next(),
            email_verified: true,
            full_name: None,
        })
    }
}
