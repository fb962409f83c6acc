//! The contracts of the repositories.

use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    Author, Clock, PageRequest, Role, Sealed, Secret, SessionId, Timestamp, TokenKind,
};

use super::user;
use crate::{
    Email, Keep, LastAdmin, RotateError, SESSION_LIFETIME, SecondFactor, SecondFactorRepository,
    Session, SessionRepository, TICKET_LIFETIME, TicketStore, User, UserChange, UserFilter,
    UserRepository, UserStatus, UserWriteError, Username,
};

/// Everything that is to be kept about users.
pub trait Store: UserRepository + SessionRepository + SecondFactorRepository {}

impl<T: UserRepository + SessionRepository + SecondFactorRepository> Store for T {}

/// The contracts of [`UserRepository`], [`SessionRepository`] and [`SecondFactorRepository`], on
/// an empty one.
///
/// # Panics
/// When the repository breaks them.
pub async fn contract<R: Store>(repository: &R) {
    let now = FakeClock::default().now();
    users_are_kept_and_found(repository).await;
    there_is_always_an_admin(repository, now).await;
    sessions_are_renewed_and_ended(repository, now).await;
    codes_are_good_once(repository, now).await;
    sessions_that_are_long_over_are_let_go(repository, now).await;
    a_removed_user_is_gone(repository, now).await;
}

/// The contract of [`TicketStore`].
///
/// # Panics
/// When the store breaks it.
pub async fn ticket_contract<T: TicketStore>(store: &T) {
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(8));
    let (now, session) = (clock.now(), SessionId::new(&clock, &entropy));
    let [one, other] = [0, 1].map(|_| Secret::draw(TokenKind::Ticket, &entropy).hash());
    let end = now + TICKET_LIFETIME;
    store.put(one, session, end, now).await.unwrap();
    store.put(other, session, end, now).await.unwrap();
    assert_eq!(store.take(one, now).await.unwrap(), Some(session));
    assert_eq!(store.take(one, now).await.unwrap(), None, "it was used");
    assert_eq!(store.take(other, end).await.unwrap(), None, "it is too old");
    assert_eq!(store.take(other, now).await.unwrap(), None);
}

async fn users_are_kept_and_found<R: Store>(repository: &R) {
    let author = Author::system();
    let (first, second) = (User { role: Role::Admin, ..user(1) }, user(2));
    assert!(repository.is_empty().await.unwrap());
    assert!(repository.create_first(first.clone(), &author).await.unwrap());
    assert!(!repository.is_empty().await.unwrap());
    assert!(!repository.create_first(second.clone(), &author).await.unwrap(), "there is one");
    UserRepository::create(repository, second.clone(), &author).await.unwrap();
    for taken in [
        User { id: user(9).id, email: None, ..second.clone() },
        User { username: Username::parse("another").unwrap(), id: user(9).id, ..second.clone() },
    ] {
        let refused = UserRepository::create(repository, taken, &author).await;
        assert!(matches!(refused, Err(UserWriteError::Taken)));
    }
    assert_eq!(UserRepository::find(repository, first.id).await.unwrap(), Some(first.clone()));
    let by_name = repository.find_by_username(&first.username).await.unwrap();
    let by_email = repository.find_by_email(first.email.as_ref().unwrap()).await.unwrap();
    assert_eq!((by_name, by_email), (Some(first.clone()), Some(first.clone())));
    let nobody = Username::parse("nobody").unwrap();
    assert_eq!(repository.find_by_username(&nobody).await.unwrap(), None);

    let found = async |filter: UserFilter| {
        let page = repository.list(&filter, &PageRequest::default()).await.unwrap();
        page.items.into_iter().map(|user| user.id).collect::<Vec<_>>()
    };
    let mut both = vec![first.id, second.id];
    both.sort_unstable();
    assert_eq!(found(UserFilter::default()).await, both);
    let admins = UserFilter { role: Some(Role::Admin), ..UserFilter::default() };
    assert_eq!(found(admins).await, [first.id]);
    let pending = UserFilter { status: Some(UserStatus::Pending), ..UserFilter::default() };
    assert_eq!(found(pending).await, []);
    for (q, expected) in [("ANN2@exa", 1), ("ann", 2), ("%", 0)] {
        let filter = UserFilter { q: Some(q.into()), ..UserFilter::default() };
        assert_eq!(found(filter).await.len(), expected, "{q}");
    }

    let sign_on = |new: User| repository.create_signed_on(new, "https://id", "42", &author);
    sign_on(user(3)).await.unwrap();
    assert!(matches!(sign_on(user(4)).await, Err(UserWriteError::Taken)));
    let neither = UserRepository::find(repository, user(4).id).await.unwrap();
    assert_eq!(neither, None, "both or neither");
    let linked = repository.find_by_sign_on("https://id", "42").await.unwrap();
    assert_eq!(linked.map(|user| user.id), Some(user(3).id));
    assert_eq!(repository.find_by_sign_on("https://other", "42").await.unwrap(), None);
}

async fn there_is_always_an_admin<R: Store>(repository: &R, now: Timestamp) {
    let author = Author::system();
    let update = async |id, change| {
        repository.update(id, change, Keep::All, "user.update", &author, now).await
    };
    let demote = UserChange { role: Some(Role::Viewer), ..UserChange::default() };
    let refused = update(user(1).id, demote.clone()).await;
    assert!(matches!(refused, Err(UserWriteError::LastAdmin(LastAdmin))));
    let refused = repository.remove(user(1).id, &author, now).await;
    assert!(matches!(refused, Err(UserWriteError::LastAdmin(LastAdmin))));
    let promote = UserChange { role: Some(Role::Admin), ..UserChange::default() };
    update(user(2).id, promote).await.unwrap().unwrap();
    let demoted = update(user(1).id, demote).await.unwrap().unwrap();
    assert_eq!(demoted.role, Role::Viewer);

    let change = UserChange {
        email: Some(None),
        full_name: Some(Some("Anna".into())),
        customers: Some(user(3).customers),
        password_hash: Some("other".into()),
        ..UserChange::default()
    };
    let changed = update(user(1).id, change).await.unwrap().unwrap();
    assert_eq!((changed.email.clone(), changed.full_name.as_deref()), (None, Some("Anna")));
    assert_eq!(UserRepository::find(repository, changed.id).await.unwrap(), Some(changed));
    let address = Some(Some(Email::parse("ann2@example.org").unwrap()));
    let taken = update(user(1).id, UserChange { email: address, ..UserChange::default() }).await;
    assert!(matches!(taken, Err(UserWriteError::Taken)));
    assert!(update(user(9).id, UserChange::default()).await.unwrap().is_none());
}

fn session(seed: u64, now: Timestamp) -> Session {
    let entropy = SeededEntropy::new(seed.wrapping_add(1 << 21));
    Session {
        id: SessionId::new(&FakeClock::default(), &entropy),
        user_id: user(1).id,
        created_at: now,
        renewed_at: now,
        expires_at: now + SESSION_LIFETIME,
        ended_at: None,
        confirmed_at: now,
        address: Some("10.0.0.1".into()),
        user_agent: Some("curl".into()),
        refresh_token: Secret::draw(TokenKind::Refresh, &entropy).hash(),
    }
}

async fn sessions_are_renewed_and_ended<R: Store>(repository: &R, now: Timestamp) {
    let author = Author::system();
    let (one, two, three) = (session(1, now), session(2, now), session(3, now));
    let (first, second) = (one.refresh_token, session(4, now).refresh_token);
    SessionRepository::create(repository, one.clone(), &author).await.unwrap();
    let find = async |id| SessionRepository::find(repository, id).await.unwrap().unwrap();
    assert_eq!(find(one.id).await, one);
    let rotate = async |presented, next| repository.rotate(presented, next, &author, now).await;
    assert_eq!(rotate(two.refresh_token, second).await.unwrap(), None, "never a token");
    let (renewed, outcome) = rotate(first, second).await.unwrap().unwrap();
    assert_eq!((renewed.refresh_token, outcome), (second, Ok(())));
    let later = now + chrono::TimeDelta::hours(1);
    repository.confirm(one.id, later).await.unwrap();
    assert_eq!(find(one.id).await.confirmed_at, later);
    let (_, outcome) = rotate(first, two.refresh_token).await.unwrap().unwrap();
    assert_eq!(outcome, Err(RotateError::Reused));
    assert_eq!(find(one.id).await.ended_at, Some(now), "a used token ends the session");
    let (_, outcome) = rotate(second, two.refresh_token).await.unwrap().unwrap();
    assert_eq!(outcome, Err(RotateError::Over));

    for session in [&two, &three] {
        SessionRepository::create(repository, session.clone(), &author).await.unwrap();
    }
    let live = async || {
        let mut ids: Vec<_> =
            repository.live(user(1).id, now).await.unwrap().iter().map(|s| s.id).collect();
        ids.sort_unstable();
        ids
    };
    let mut both = vec![two.id, three.id];
    both.sort_unstable();
    assert_eq!(live().await, both);
    assert!(!repository.end(user(2).id, two.id, &author, now).await.unwrap(), "not theirs");
    assert!(repository.end(user(1).id, two.id, &author, now).await.unwrap());
    assert!(!repository.end(user(1).id, two.id, &author, now).await.unwrap());
    assert_eq!(live().await, [three.id]);
    let kept = Keep::Only(three.id);
    assert_eq!(repository.end_all(user(1).id, kept, &author, now).await.unwrap(), 0);
    let change = UserChange::default();
    let update = repository.update(user(1).id, change, Keep::None, "user.update", &author, now);
    update.await.unwrap().unwrap();
    assert_eq!(live().await, []);
}

async fn codes_are_good_once<R: Store>(repository: &R, now: Timestamp) {
    let author = Author::system();
    let codes: Vec<_> = (5..7).map(|seed| session(seed, now).refresh_token).collect();
    let factor = SecondFactor {
        user_id: user(1).id,
        secret: Sealed(vec![1, 2, 3]),
        confirmed_at: None,
        last_step: 0,
        recovery_codes: codes.iter().copied().collect(),
    };
    let keep = async |factor: &SecondFactor| {
        repository.keep_factor(factor.clone(), "second_factor.begin", &author, now).await.unwrap()
    };
    let has = async || {
        let user = UserRepository::find(repository, user(1).id).await.unwrap();
        user.is_some_and(|user| user.has_second_factor)
    };
    assert!(keep(&factor).await);
    assert_eq!(repository.find_factor(user(1).id).await.unwrap(), Some(factor.clone()));
    assert!(!has().await, "not before it was confirmed");
    assert!(keep(&SecondFactor { confirmed_at: Some(now), ..factor.clone() }).await);
    assert!(!keep(&factor).await, "a confirmed one stays until it is removed");
    assert!(has().await);
    let step = async |step| repository.use_step(user(1).id, step).await.unwrap();
    assert!(step(7).await && !step(7).await && !step(6).await && step(8).await);
    let code =
        async |code| repository.use_recovery_code(user(1).id, code, &author, now).await.unwrap();
    let first = codes.first().copied().unwrap();
    assert!(code(first).await && !code(first).await);
    let left = repository.find_factor(user(1).id).await.unwrap().unwrap();
    assert_eq!((left.recovery_codes.len(), left.last_step), (1, 8));
    assert!(repository.remove_factor(user(1).id, &author, now).await.unwrap());
    assert!(!repository.remove_factor(user(1).id, &author, now).await.unwrap());
    assert!(!has().await);
}

async fn sessions_that_are_long_over_are_let_go<R: Store>(repository: &R, now: Timestamp) {
    let author = Author::system();
    let (ended, live) = (session(20, now), session(21, now));
    for session in [&ended, &live] {
        SessionRepository::create(repository, session.clone(), &author).await.unwrap();
    }
    repository.end(ended.user_id, ended.id, &author, now).await.unwrap();
    repository.forget(now).await.unwrap();
    let found = async |id| SessionRepository::find(repository, id).await.unwrap();
    assert!(found(ended.id).await.is_some(), "it has only just ended");
    let later = now + std::time::Duration::from_secs(1);
    assert!(repository.forget(later).await.unwrap() >= 1);
    assert!(found(ended.id).await.is_none() && found(live.id).await.is_some());
}

async fn a_removed_user_is_gone<R: Store>(repository: &R, now: Timestamp) {
    let author = Author::system();
    let session = session(8, now);
    SessionRepository::create(repository, session.clone(), &author).await.unwrap();
    assert!(repository.remove(user(1).id, &author, now).await.unwrap());
    assert!(!repository.remove(user(1).id, &author, now).await.unwrap());
    assert_eq!(UserRepository::find(repository, user(1).id).await.unwrap(), None);
    let session = SessionRepository::find(repository, session.id).await.unwrap();
    assert!(session.is_none_or(|session| !session.is_live(now)));
    let again = User { id: user(9).id, ..user(1) };
    UserRepository::create(repository, again, &author).await.unwrap();
}
