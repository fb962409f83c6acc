//! Examples, and the contract that every repository of customers keeps.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    Clock, CustomerId, EnrollmentTokenId, PageRequest, Secret, TenantScope, TokenKind, UserId,
};

use crate::{
    Customer, CustomerChange, CustomerRepository, CustomerWriteError, EnrollmentToken,
    EnrollmentTokenRepository, Name, Once, Stored,
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
        revoked_at: None,
    }
}

/// The contract of [`CustomerRepository`], on an empty one.
///
/// # Panics
/// When the repository breaks it.
pub async fn customer_contract(repository: &dyn CustomerRepository) {
    let now = FakeClock::default().now();
    let (one, two) = (customer(1), customer(2));
    repository.create(one.clone()).await.unwrap();
    repository.create(two.clone()).await.unwrap();
    let shouted = Customer { name: Name::parse("CUSTOMER 1").unwrap(), ..customer(3) };
    let taken = repository.create(shouted).await;
    assert!(matches!(taken, Err(CustomerWriteError::NameTaken)));

    let only_one = TenantScope::one(one.id);
    assert_eq!(repository.find(&only_one, one.id).await.unwrap(), Some(one.clone()));
    assert_eq!(repository.find(&only_one, two.id).await.unwrap(), None);
    let page = repository.list(&TenantScope::All, Some("MER 2"), &PageRequest::default()).await;
    assert_eq!(page.unwrap().items, std::slice::from_ref(&two));
    let page = repository.list(&only_one, None, &PageRequest::default()).await.unwrap();
    assert_eq!(page.items, std::slice::from_ref(&one));

    let moved = CustomerChange { name: None, address: Some(String::new()) };
    let moved = repository.update(two.id, moved, now).await.unwrap().unwrap();
    assert_eq!((moved.name, moved.address), (two.name, None));
    let change = CustomerChange { name: Some(Name::parse("Acme").unwrap()), address: None };
    let changed = repository.update(one.id, change.clone(), now).await.unwrap().unwrap();
    assert_eq!((changed.name.as_str(), changed.address), ("Acme", one.address));
    let taken = repository.update(two.id, change, now).await;
    assert!(matches!(taken, Err(CustomerWriteError::NameTaken)));

    assert!(repository.delete(one.id, false, now).await.unwrap());
    assert!(!repository.delete(one.id, false, now).await.unwrap());
    assert_eq!(repository.find(&TenantScope::All, one.id).await.unwrap(), None);
    let again = Customer { name: Name::parse("Acme").unwrap(), ..customer(4) };
    repository.create(again).await.expect("a deleted customer's name is free");
}

/// The contract of [`EnrollmentTokenRepository`]; the customers of seeds 11 and 12 exist.
///
/// # Panics
/// When the repository breaks it.
pub async fn token_contract(repository: &dyn EnrollmentTokenRepository) {
    let now = FakeClock::default().now();
    let (mine, other) = (token(11), token(12));
    assert_eq!(repository.create(mine.clone(), None).await.unwrap(), Stored::New);
    let once = |fingerprint: u8| {
        Some(Once { scope: "u".into(), key: "k".into(), fingerprint: [fingerprint; 32] })
    };
    assert_eq!(repository.create(other.clone(), once(1)).await.unwrap(), Stored::New);
    let again = EnrollmentToken { id: token(13).id, ..other.clone() };
    let known = repository.create(again.clone(), once(1)).await.unwrap();
    assert_eq!(known, Stored::Known(other.clone()));
    assert_eq!(repository.create(again, once(2)).await.unwrap(), Stored::Conflict);

    let homeless = EnrollmentToken { customer_id: customer(99).id, ..token(14) };
    assert_eq!(repository.create(homeless, None).await.unwrap(), Stored::NoCustomer);

    let scope = TenantScope::one(mine.customer_id);
    assert_eq!(repository.find(&scope, mine.id).await.unwrap(), Some(mine.clone()));
    assert_eq!(repository.find(&scope, other.id).await.unwrap(), None);
    let page = repository.list(&scope, &PageRequest::default()).await.unwrap();
    assert_eq!((page.items, page.total), (vec![mine.clone()], 1));
    assert!(!repository.revoke(&scope, other.id, now).await.unwrap());
    assert!(repository.revoke(&scope, mine.id, now).await.unwrap());
    let revoked = repository.find(&scope, mine.id).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(now));
}
