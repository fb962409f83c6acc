//! Examples, and the contract that every repository of customers keeps.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    ApiKeyId, Author, Clock, CustomerId, DangerPolicy, Dialect, DialectPolicy, EnrollmentTokenId,
    KeyScope, PageRequest, Plan, Secret, Tags, TenantScope, TokenKind, UserId,
};

use crate::{
    ApiKey, ApiKeyRepository, Customer, CustomerChange, CustomerRepository, CustomerWriteError,
    EnrollmentToken, EnrollmentTokenRepository, Name, Networks, Once, Stored,
};

/// A customer; the same `seed` makes the same one.
///
/// # Panics
/// Never: its name keeps the rules.
pub fn customer(seed: u64) -> Customer {
    let clock = FakeClock::default();
    Customer {
        id: CustomerId::new(&clock, &SeededEntropy::new(seed)),
        name: Name::parse(&format!("Customer {seed}")).expect("it keeps the rules"),
        address: Some("1 Main Street".into()),
        plan: Plan::Team,
        dangerous_commands: DangerPolicy::Allow,
        dialects: DialectPolicy::default(),
        created_at: clock.now(),
        updated_at: clock.now(),
    }
}

/// A token for one machine of the customer of the same `seed`.
///
/// # Panics
/// Never: its name keeps the rules.
pub fn token(seed: u64) -> EnrollmentToken {
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(seed.wrapping_add(1 << 32)));
    EnrollmentToken {
        id: EnrollmentTokenId::new(&clock, &entropy),
        customer_id: customer(seed).id,
        name: Name::parse("workshop").expect("it keeps the rules"),
        hash: Secret::draw(TokenKind::Enrollment, &entropy).hash(),
        created_by: UserId::new(&clock, &entropy),
        created_at: clock.now(),
        expires_at: None,
        max_uses: Some(1),
        uses: 0,
        tags: Tags::parse(["workshop".to_owned()]).expect("it keeps the rules"),
        group_ids: [].into(),
        revoked_at: None,
    }
}

/// A key of the customer of the same `seed`.
///
/// # Panics
/// Never: its name keeps the rules.
pub fn api_key(seed: u64) -> ApiKey {
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(seed.wrapping_add(1 << 33)));
    ApiKey {
        id: ApiKeyId::new(&clock, &entropy),
        customer_id: customer(seed).id,
        name: Name::parse("ci").expect("it keeps the rules"),
        hash: Secret::draw(TokenKind::ApiKey, &entropy).hash(),
        hint: "wxyz".into(),
        scopes: [KeyScope::AgentsRead, KeyScope::CommandsRun].into(),
        allowed: Vec::new(),
        is_default: false,
        created_by: UserId::new(&clock, &entropy),
        created_at: clock.now(),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    }
}

/// The contract of [`CustomerRepository`], on an empty one.
///
/// # Panics
/// When the repository breaks it.
pub async fn customer_contract(repository: &dyn CustomerRepository) {
    let (now, author) = (FakeClock::default().now(), Author::system());
    let (one, two) = (customer(1), customer(2));
    repository.create(one.clone(), &author).await.unwrap();
    repository.create(two.clone(), &author).await.unwrap();
    let shouted = Customer { name: Name::parse("CUSTOMER 1").unwrap(), ..customer(3) };
    let taken = repository.create(shouted, &author).await;
    assert!(matches!(taken, Err(CustomerWriteError::NameTaken)));

    let only_one = TenantScope::one(one.id);
    assert_eq!(repository.find(&only_one, one.id).await.unwrap(), Some(one.clone()));
    assert_eq!(repository.find(&only_one, two.id).await.unwrap(), None);
    let page = repository.list(&TenantScope::All, Some("MER 2"), &PageRequest::default()).await;
    assert_eq!(page.unwrap().items, std::slice::from_ref(&two));
    let page = repository.list(&only_one, None, &PageRequest::default()).await.unwrap();
    assert_eq!(page.items, std::slice::from_ref(&one));

    let moved = CustomerChange { address: Some(String::new()), ..CustomerChange::default() };
    let moved = repository.update(two.id, moved, &author, now).await.unwrap().unwrap();
    assert_eq!((moved.name, moved.address), (two.name, None));
    let change = CustomerChange {
        name: Some(Name::parse("Acme").unwrap()),
        plan: Some(Plan::Free),
        dangerous_commands: Some(DangerPolicy::Confirm),
        allowed_dialects: Some([Dialect::DexAgents, Dialect::DeployFlow].into()),
        without_credentials: Some(Networks::parse(vec!["10.0.0.0/8".parse().unwrap()]).unwrap()),
        ..CustomerChange::default()
    };
    let changed = repository.update(one.id, change.clone(), &author, now).await.unwrap().unwrap();
    assert_eq!((changed.name.as_str(), changed.plan), ("Acme", Plan::Free));
    assert_eq!(changed.dangerous_commands, DangerPolicy::Confirm);
    assert_eq!(changed.address, one.address);
    let dialects = DialectPolicy {
        allowed: [Dialect::DexAgents, Dialect::DeployFlow].into(),
        without_credentials: vec!["10.0.0.0/8".parse().unwrap()],
    };
    let kept = repository.find(&TenantScope::All, one.id).await.unwrap().unwrap();
    assert_eq!(kept.dialects, dialects);
    let taken = repository.update(two.id, change, &author, now).await;
    assert!(matches!(taken, Err(CustomerWriteError::NameTaken)));

    assert!(repository.delete(one.id, false, &author, now).await.unwrap());
    assert!(!repository.delete(one.id, false, &author, now).await.unwrap());
    assert_eq!(repository.find(&TenantScope::All, one.id).await.unwrap(), None);
    let again = Customer { name: Name::parse("Acme").unwrap(), ..customer(4) };
    repository.create(again, &author).await.expect("a deleted customer's name is free");
}

/// The contract of [`EnrollmentTokenRepository`]; the customers of seeds 11 and 12 exist.
///
/// # Panics
/// When the repository breaks it.
pub async fn token_contract(repository: &dyn EnrollmentTokenRepository) {
    let (now, author) = (FakeClock::default().now(), Author::system());
    let (mine, other) = (token(11), token(12));
    assert_eq!(repository.create(mine.clone(), None, &author).await.unwrap(), Stored::New);
    let once = |fingerprint: u8| {
        Some(Once { scope: "u".into(), key: "k".into(), fingerprint: [fingerprint; 32] })
    };
    assert_eq!(repository.create(other.clone(), once(1), &author).await.unwrap(), Stored::New);
    let again = EnrollmentToken { id: token(13).id, ..other.clone() };
    let known = repository.create(again.clone(), once(1), &author).await.unwrap();
    assert_eq!(known, Stored::Known(other.clone()));
    assert_eq!(repository.create(again, once(2), &author).await.unwrap(), Stored::Conflict);

    let homeless = EnrollmentToken { customer_id: customer(99).id, ..token(14) };
    assert_eq!(repository.create(homeless, None, &author).await.unwrap(), Stored::NoCustomer);

    let scope = TenantScope::one(mine.customer_id);
    assert_eq!(repository.find(&scope, mine.id).await.unwrap(), Some(mine.clone()));
    assert_eq!(repository.find(&scope, other.id).await.unwrap(), None);
    let page = repository.list(&scope, &PageRequest::default()).await.unwrap();
    assert_eq!((page.items, page.total), (vec![mine.clone()], 1));
    assert!(!repository.revoke(&scope, other.id, &author, now).await.unwrap());
    assert!(repository.revoke(&scope, mine.id, &author, now).await.unwrap());
    let revoked = repository.find(&scope, mine.id).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(now));
}

/// The contract of [`ApiKeyRepository`]; the customers of seeds 21 and 22 exist.
///
/// # Panics
/// When the repository breaks it.
pub async fn api_key_contract(repository: &dyn ApiKeyRepository) {
    let (now, author) = (FakeClock::default().now(), Author::system());
    let once = |fingerprint: u8| {
        Some(Once { scope: "u".into(), key: "key".into(), fingerprint: [fingerprint; 32] })
    };
    let allowed = vec!["10.0.0.0/8".parse().unwrap()];
    let mine = ApiKey { allowed, expires_at: Some(now), ..api_key(21) };
    assert_eq!(repository.create(mine.clone(), once(1), &author).await.unwrap(), Stored::New);
    let again = ApiKey { id: api_key(31).id, ..mine.clone() };
    let known = repository.create(again.clone(), once(1), &author).await.unwrap();
    assert_eq!(known, Stored::Known(mine.clone()));
    assert_eq!(repository.create(again, once(2), &author).await.unwrap(), Stored::Conflict);
    let homeless = ApiKey { customer_id: customer(99).id, ..api_key(23) };
    assert_eq!(repository.create(homeless, None, &author).await.unwrap(), Stored::NoCustomer);

    let found = repository.find_by_hash(mine.hash).await.unwrap();
    assert_eq!(found, Some((mine.clone(), Plan::Team)));
    assert_eq!(repository.find(mine.id).await.unwrap(), found);
    assert_eq!(repository.find(api_key(22).id).await.unwrap(), None);
    assert_eq!(repository.find_by_hash(api_key(22).hash).await.unwrap(), None);

    assert_eq!(repository.find_default(mine.customer_id).await.unwrap(), None);
    let key = |seed| ApiKey { customer_id: mine.customer_id, is_default: true, ..api_key(seed) };
    let (first, second) = (key(24), key(25));
    repository.create(first.clone(), None, &author).await.unwrap();
    repository.create(second.clone(), None, &author).await.unwrap();
    assert_eq!(repository.find_default(mine.customer_id).await.unwrap(), Some(second.clone()));
    let (replaced, _) = repository.find_by_hash(first.hash).await.unwrap().unwrap();
    assert_eq!(replaced.revoked_at, Some(first.created_at));
    let page = repository.list(mine.customer_id, &PageRequest::default()).await.unwrap();
    assert_eq!(page.total, 3);
    let page = repository.list(customer(22).id, &PageRequest::default()).await.unwrap();
    assert_eq!(page.total, 0);

    repository.record_used(vec![(second.id, now), (mine.id, now)]).await.unwrap();
    let (used, _) = repository.find_by_hash(mine.hash).await.unwrap().unwrap();
    assert_eq!(used.last_used_at, Some(now));

    let revoke = async |customer| repository.revoke(customer, second.id, &author, now).await;
    assert!(!revoke(customer(22).id).await.unwrap(), "another customer's key");
    assert!(revoke(mine.customer_id).await.unwrap());
    assert!(!revoke(mine.customer_id).await.unwrap());
    assert_eq!(repository.find_default(mine.customer_id).await.unwrap(), None);
}
