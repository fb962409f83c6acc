//! What people may rely on when they sign in, stay signed in and change their account.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use muster_identity::testing::{FakeCodes, FakeIdentity, World, world};
use muster_identity::{
    ACCESS_TOKEN_LIFETIME, AccountError, CONFIRMED_FOR, FactorError, NewAccount, Password,
    Requirement, SIGN_ON_WITHIN, SessionError, SignInError, SignOnError, SignOnFailure, SignedIn,
    TICKET_LIFETIME, User, UserError, UserFilter, Username,
};
use muster_kernel::{
    Act, Action, Author, Clock, Denied, PageRequest, Permit, Principal, Role, Sealed, Secret,
    access, act,
};

fn secret(text: &str) -> Secret {
    Secret::from_text(text)
}

async fn signed_in(world: &World) -> SignedIn {
    world.try_sign_in("admin", &world.password, None).await.unwrap()
}

async fn permit<A: Act>(world: &World) -> Permit<A> {
    world.permit(&signed_in(world).await).await
}

async fn registered(world: &World, name: &str) -> User {
    let wish = NewAccount {
        username: Username::parse(name).unwrap(),
        email: None,
        full_name: None,
        password: Password::parse(secret("a good password")).unwrap(),
    };
    world.identity.register(wish, &Author::system()).await.unwrap()
}

async fn approved(world: &World, name: &str) -> User {
    let user = registered(world, name).await;
    world.identity.approve(&permit(world).await, user.id).await.unwrap()
}

#[tokio::test]
async fn the_first_admin_is_created_once_with_a_password_that_works() {
    let world = world().await;
    assert_eq!(world.password.expose().len(), 24);
    assert!(world.identity.ensure_first_admin(None).await.unwrap().is_none());
    let principal =
        world.identity.authenticate(&signed_in(&world).await.access_token).await.unwrap();
    assert!(matches!(principal, Principal::User { role: Role::Admin, .. }));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_get_the_same_answer() {
    let world = world().await;
    for login in ["admin", "nobody", "nobody@example.org", "not a name", ""] {
        let answer = world.try_sign_in(login, &secret("wrong"), None).await;
        assert!(matches!(answer, Err(SignInError::WrongCredentials)), "{login}");
    }
    assert_eq!(world.hasher_calls(), 1 + 5, "every attempt costs a hash");
}

#[tokio::test]
async fn no_spelling_of_a_name_evades_the_lock() {
    let world = world().await;
    for login in ["admin", " admin", "ADMIN", "Admin ", "aDmin"] {
        let _ = world.try_sign_in(login, &secret("wrong"), None).await;
    }
    let answer = world.try_sign_in("admin", &world.password, None).await;
    assert!(matches!(answer, Err(SignInError::Locked(_))));
    world.clock.advance(TimeDelta::minutes(15));
    signed_in(&world).await;
}

#[tokio::test]
async fn a_thousand_guesses_from_one_address_cost_as_many_hashes_as_a_lock_allows() {
    let world = world().await;
    let before = world.hasher_calls();
    for _ in 0..1000 {
        let _ = world.try_sign_in("admin", &secret("wrong"), None).await;
    }
    assert_eq!(world.hasher_calls() - before, 5);
    for n in 0..1000 {
        let _ = world.try_sign_in(&format!("user{n}"), &secret("wrong"), None).await;
    }
    assert!(world.hasher_calls() - before <= 30, "names in plenty are locked by the address");
}

#[tokio::test]
async fn guesses_at_the_same_time_are_no_more_than_one_after_the_other() {
    let world = world().await;
    let before = world.hasher_calls();
    let wrong = secret("wrong");
    let guess = || world.try_sign_in("admin", &wrong, None);
    let _ = tokio::join!(guess(), guess(), guess(), guess(), guess(), guess(), guess());
    assert_eq!(world.hasher_calls() - before, 5);
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_second_use_ends_the_session() {
    let world = world().await;
    let first = signed_in(&world).await;
    let refresh = async |token| world.identity.refresh(token, &Author::system()).await;
    let second = refresh(&first.refresh_token).await.unwrap();
    world.identity.authenticate(&second.access_token).await.unwrap();
    let stolen = refresh(&first.refresh_token).await;
    assert!(matches!(stolen, Err(SessionError::Invalid)));
    for token in [&first.access_token, &second.access_token] {
        let answer = world.identity.authenticate(token).await;
        assert!(matches!(answer, Err(SessionError::Invalid)));
    }
    assert!(refresh(&second.refresh_token).await.is_err());
}

#[tokio::test]
async fn signing_out_ends_the_access_token_at_once_and_an_access_token_expires() {
    let world = world().await;
    let tokens = signed_in(&world).await;
    world.identity.sign_out(&world.permit(&tokens).await).await.unwrap();
    assert!(world.identity.authenticate(&tokens.access_token).await.is_err());
    assert!(world.identity.refresh(&tokens.refresh_token, &Author::system()).await.is_err());
    let tokens = signed_in(&world).await;
    world.clock.advance(ACCESS_TOKEN_LIFETIME);
    assert!(world.identity.authenticate(&tokens.access_token).await.is_err());
    assert!(world.identity.refresh(&tokens.refresh_token, &Author::system()).await.is_ok());
}

#[tokio::test]
async fn whoever_registers_waits_for_an_admin() {
    let world = world().await;
    let ann = registered(&world, "Ann").await;
    let attempt = async || world.try_sign_in("ann", &secret("a good password"), None).await;
    assert!(matches!(attempt().await, Err(SignInError::Pending)));
    world.identity.approve(&permit(&world).await, ann.id).await.unwrap();
    let tokens = attempt().await.unwrap();
    assert_eq!(tokens.user.role, Role::Operator);
    world.identity.reject(&permit(&world).await, ann.id).await.unwrap();
    assert!(matches!(attempt().await, Err(SignInError::Disabled)));
    let over = world.identity.authenticate(&tokens.access_token).await;
    assert!(matches!(over, Err(SessionError::Invalid)), "their sessions are over at once");

    let wish = NewAccount {
        username: Username::parse("ANN").unwrap(),
        email: None,
        full_name: None,
        password: Password::parse(secret("a good password")).unwrap(),
    };
    let taken = world.identity.register(wish.clone(), &Author::system()).await;
    assert!(matches!(taken, Err(AccountError::Taken)));
    world.policy.closed.store(true, Ordering::Relaxed);
    let closed = world.identity.register(wish, &Author::system()).await;
    assert!(matches!(closed, Err(AccountError::Closed)));
}

#[tokio::test]
async fn the_last_admin_can_not_be_lost() {
    let world = world().await;
    let admin = permit::<act::ManageUsers>(&world).await;
    let me = world.identity.me(&permit(&world).await).await.unwrap();
    let identity = &world.identity;
    assert!(matches!(identity.reject(&admin, me.id).await, Err(UserError::LastAdmin(_))));
    let demoted = identity.set_role(&admin, me.id, Role::Viewer).await;
    assert!(matches!(demoted, Err(UserError::LastAdmin(_))));
    assert!(matches!(identity.remove_user(&admin, me.id).await, Err(UserError::LastAdmin(_))));
    let ann = approved(&world, "ann").await;
    identity.set_role(&admin, ann.id, Role::Admin).await.unwrap();
    identity.remove_user(&admin, me.id).await.unwrap();
}

#[tokio::test]
async fn another_password_ends_the_other_sessions_and_only_those() {
    let world = world().await;
    let (here, elsewhere) = (signed_in(&world).await, signed_in(&world).await);
    let permit = world.permit(&here).await;
    let new = || Password::parse(secret("another password")).unwrap();
    let wrong = world.identity.change_password(&permit, secret("wrong"), new()).await;
    assert!(matches!(wrong, Err(AccountError::WrongPassword)));
    world.identity.change_password(&permit, world.password.clone(), new()).await.unwrap();
    assert!(world.identity.authenticate(&here.access_token).await.is_ok());
    assert!(world.identity.authenticate(&elsewhere.access_token).await.is_err());
    assert!(world.try_sign_in("admin", &secret("another password"), None).await.is_ok());
}

#[tokio::test]
async fn somebody_sees_and_ends_their_own_sessions_and_nobody_elses() {
    let world = world().await;
    approved(&world, "ann").await;
    let ann = world.try_sign_in("ann", &secret("a good password"), None).await.unwrap();
    let ann = world.permit::<act::UseOwnAccount>(&ann).await;
    let (_, ann_session) = ann.person().unwrap();
    let mine = permit::<act::UseOwnAccount>(&world).await;
    let other = signed_in(&world).await;
    let shown = world.identity.sessions(&mine).await.unwrap();
    assert!(shown.iter().all(|session| session.id != ann_session));
    let refused = world.identity.end_session(&mine, ann_session).await;
    assert!(matches!(refused, Err(SessionError::NotFound)));
    world.identity.end_sessions(&mine, true).await.unwrap();
    assert_eq!(world.identity.sessions(&mine).await.unwrap().len(), 1);
    assert!(world.identity.authenticate(&other.access_token).await.is_err());
}

#[tokio::test]
async fn a_second_factor_is_asked_for_once_it_was_confirmed_and_each_code_works_once() {
    let world = world().await;
    let tokens = signed_in(&world).await;
    let permit = world.permit(&tokens).await;
    let identity = &world.identity;
    let wrong = identity.begin_second_factor(&permit, Some(secret("wrong"))).await;
    assert!(matches!(wrong, Err(FactorError::Wrong)));
    let enrolment = identity.begin_second_factor(&permit, Some(world.password.clone())).await;
    assert!(enrolment.unwrap().uri.expose().starts_with("otpauth://totp/admin"));
    signed_in(&world).await;
    let wrong = identity.confirm_second_factor(&permit, &secret("code 1")).await;
    assert!(matches!(wrong, Err(FactorError::Wrong)));
    let code = FakeCodes::code(world.clock.now());
    let recovery = identity.confirm_second_factor(&permit, &code).await.unwrap();
    assert_eq!(recovery.len(), 10);

    let attempt = async |code| world.try_sign_in("admin", &world.password, code).await;
    assert!(matches!(attempt(None).await, Err(SignInError::CodeRequired)));
    assert!(matches!(attempt(Some(code)).await, Err(SignInError::WrongCredentials)), "used");
    world.clock.advance(TimeDelta::seconds(30));
    let next = FakeCodes::code(world.clock.now());
    attempt(Some(next)).await.unwrap();
    attempt(recovery.first().cloned()).await.unwrap();
    let again = attempt(recovery.first().cloned()).await;
    assert!(matches!(again, Err(SignInError::WrongCredentials)), "a recovery code works once");

    let wrong = identity.remove_second_factor(&permit, world.password.clone()).await;
    assert!(matches!(wrong, Err(FactorError::Wrong)), "the password alone is not enough");
    let good = recovery.get(1).cloned().unwrap();
    identity.remove_second_factor(&permit, good).await.unwrap();
    signed_in(&world).await;
}

#[tokio::test]
async fn codes_are_guessed_no_more_often_than_passwords() {
    let world = world().await;
    let permit = permit(&world).await;
    world.identity.begin_second_factor(&permit, Some(world.password.clone())).await.unwrap();
    let code = FakeCodes::code(world.clock.now());
    world.identity.confirm_second_factor(&permit, &code).await.unwrap();
    for _ in 0..5 {
        let guess = world.try_sign_in("admin", &world.password, Some(secret("code 2"))).await;
        assert!(matches!(guess, Err(SignInError::WrongCredentials)));
    }
    let guess = world.try_sign_in("admin", &world.password, Some(secret("code 2"))).await;
    assert!(matches!(guess, Err(SignInError::Locked(_))));
}

#[tokio::test]
async fn who_has_no_second_factor_although_it_is_required_can_only_set_one_up() {
    let world = world().await;
    let tokens = signed_in(&world).await;
    *world.policy.required.lock() = Requirement::Admins;
    world.clock.advance(TimeDelta::seconds(5));
    let principal = world.identity.authenticate(&tokens.access_token).await.unwrap();
    let refused = access::authorise(&principal, Action::ReadAgents);
    assert_eq!(refused, Err(Denied::SecondFactorRequired));
    let permit = world.permit(&tokens).await;
    world.identity.begin_second_factor(&permit, Some(world.password.clone())).await.unwrap();
    let code = FakeCodes::code(world.clock.now());
    world.identity.confirm_second_factor(&permit, &code).await.unwrap();
    let principal = world.identity.authenticate(&tokens.access_token).await.unwrap();
    assert!(access::authorise(&principal, Action::ReadAgents).is_ok());
}

#[tokio::test]
async fn what_needs_a_fresh_proof_gets_it_by_password() {
    let world = world().await;
    let tokens = signed_in(&world).await;
    world.clock.advance(CONFIRMED_FOR);
    let principal = world.identity.authenticate(&tokens.access_token).await.unwrap();
    assert_eq!(access::authorise(&principal, Action::ManageUsers), Err(Denied::Unconfirmed));
    let permit = world.permit(&tokens).await;
    let wrong = world.identity.confirm(&permit, Some(secret("wrong")), None).await;
    assert!(matches!(wrong, Err(SignInError::WrongCredentials)));
    world.identity.confirm(&permit, Some(world.password.clone()), None).await.unwrap();
    let principal = world.identity.authenticate(&tokens.access_token).await.unwrap();
    assert!(access::authorise(&principal, Action::ManageUsers).is_ok());
}

#[tokio::test]
async fn a_ticket_opens_one_thing_within_half_a_minute() {
    let world = world().await;
    let tokens = signed_in(&world).await;
    let permit = world.permit(&tokens).await;
    let ticket = world.identity.ticket(&permit).await.unwrap();
    assert!(world.identity.redeem_ticket(&ticket).await.is_ok());
    assert!(world.identity.redeem_ticket(&ticket).await.is_err());
    let late = world.identity.ticket(&permit).await.unwrap();
    world.clock.advance(TICKET_LIFETIME);
    assert!(world.identity.redeem_ticket(&late).await.is_err());
    let orphan = world.identity.ticket(&permit).await.unwrap();
    world.identity.sign_out(&world.permit(&tokens).await).await.unwrap();
    assert!(world.identity.redeem_ticket(&orphan).await.is_err());
}

#[tokio::test]
async fn tickets_in_memory_keep_the_contract() {
    muster_identity::testing::ticket_contract(&FakeIdentity::default()).await;
}

#[tokio::test]
async fn whom_the_provider_vouches_for_waits_for_approval_once_and_then_signs_in() {
    let world = world().await;
    let admin = signed_in(&world).await;
    let sign_on = async |code: &str| {
        let (_, brought) = world.identity.begin_sign_on().await.unwrap();
        let author = Author::system();
        world.identity.finish_sign_on(code, "state", &brought, None, &author).await
    };
    let pending = sign_on("1:Ann@corp:ann@example.org").await;
    assert!(matches!(pending, Err(SignOnFailure::SignIn(SignInError::Pending))), "{pending:?}");
    let permit: Permit<act::ReadUsers> = world.permit(&admin).await;
    let page = PageRequest::default();
    let users =
        async || world.identity.users(&permit, &UserFilter::default(), &page).await.unwrap().items;
    let ann = users().await.pop().unwrap();
    assert_eq!((ann.username.as_str(), ann.role), ("ann", Role::Operator));
    world.identity.approve(&world.permit(&admin).await, ann.id).await.unwrap();
    assert_eq!(sign_on("1:another name").await.unwrap().user.id, ann.id);
    // The address and the name are another's here: that does not make them the same person.
    sign_on("2:ann:ann@example.org").await.unwrap_err();
    let other = users().await.pop().unwrap();
    assert_eq!((other.username.as_str(), other.email), ("ann-2", None));
    world.policy.closed.store(true, Ordering::Relaxed);
    assert!(matches!(sign_on("3:bob").await, Err(SignOnFailure::Unknown)));
}

#[tokio::test]
async fn a_sign_on_that_was_not_begun_here_or_too_long_ago_is_not_taken() {
    let world = world().await;
    let (_, brought) = world.identity.begin_sign_on().await.unwrap();
    let finish = async |state: &str, brought: &Sealed| {
        let author = Author::system();
        world.identity.finish_sign_on("1:ann", state, brought, None, &author).await.unwrap_err()
    };
    let refused = finish("another", &brought).await;
    assert!(matches!(refused, SignOnFailure::Provider(SignOnError::Refused(_))));
    let forged = finish("state", &Sealed(b"forged".to_vec())).await;
    assert!(matches!(forged, SignOnFailure::NotBegun));
    world.clock.advance(SIGN_ON_WITHIN);
    assert!(matches!(finish("state", &brought).await, SignOnFailure::NotBegun));
}
