//! Whom rules may tell.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_alerts::testing::{FakeAlerts, channel, condition, customer_id, rule};
use muster_alerts::{
    AlertsError, Channel, ChannelRepository, ConditionWish, InvalidAlert, Rule, RuleWish, Rules,
    Selector, Severity,
};
use muster_kernel::testing::{FakeClock, SeededEntropy, permit, permit_in};
use muster_kernel::{AlertChannelId, Author, Clock, TenantScope};

fn wish(channel_ids: BTreeSet<AlertChannelId>) -> RuleWish {
    RuleWish {
        name: "Servers are there".into(),
        severity: Severity::Warning,
        condition: ConditionWish { kind: "offline".into(), ..ConditionWish::default() },
        selector: Selector::default(),
        channel_ids,
        enabled: true,
    }
}

/// A rule of a customer that tells a channel for all, beside channels of it and of another one.
fn world() -> (Arc<FakeAlerts>, Rules, Rule) {
    let (fake, clock) = (Arc::new(FakeAlerts::default()), Arc::new(FakeClock::default()));
    let owners = [None, None, Some(customer_id(1)), Some(customer_id(2))];
    for (seed, owner) in (1..).zip(owners) {
        let channel = Channel { customer_id: owner, ..channel(seed) };
        fake.channels.lock().insert(channel.id, channel);
    }
    let theirs = Rule { customer_id: Some(customer_id(1)), ..rule(1, condition("offline")) };
    fake.rules.lock().insert(theirs.id, theirs.clone());
    let entropy = Arc::new(SeededEntropy::new(9));
    (fake.clone(), Rules::new(fake.clone(), fake, clock, entropy), theirs)
}

fn refused<T>(result: &Result<T, AlertsError>) -> bool {
    matches!(result, Err(AlertsError::Invalid(InvalidAlert { field: "channel_ids", .. })))
}

#[tokio::test]
async fn operators_keep_the_shared_channel_that_their_rule_tells_and_add_only_their_own() {
    let (_, rules, theirs) = world();
    let scope = TenantScope::one(customer_id(1));
    let id = |seed| channel(seed).id;
    let replace = async |channels: &[u64]| {
        let channels = channels.iter().map(|seed| id(*seed)).collect();
        rules.replace(&permit_in(1, scope.clone()), theirs.id, None, wish(channels)).await
    };
    let saved = replace(&[1, 3]).await.unwrap();
    assert_eq!(saved.channel_ids, [id(1), id(3)].into());
    assert!(refused(&replace(&[1, 2]).await), "a shared one that it did not tell");
    assert!(refused(&replace(&[4]).await), "another customer's");
    let all = permit(1);
    let by_admin = rules.replace(&all, theirs.id, None, wish([id(2)].into())).await;
    assert_eq!(by_admin.unwrap().channel_ids, [id(2)].into());
    assert!(refused(&rules.replace(&all, theirs.id, None, wish([id(4)].into())).await));
    assert!(refused(&rules.create(&all, None, wish([id(3)].into())).await), "it is of all");
}

#[tokio::test]
async fn a_rule_is_saved_as_it_is_after_its_channel_was_deleted() {
    let (fake, rules, theirs) = world();
    let now = FakeClock::default().now();
    let gone = fake.delete(&TenantScope::All, channel(1).id, &Author::system(), now).await;
    assert!(gone.unwrap());
    let left = rules.get(&permit(1), theirs.id).await.unwrap();
    assert_eq!((left.channel_ids.len(), left.version), (0, 2));
    let saved = rules.replace(&permit(1), theirs.id, Some(2), wish(left.channel_ids)).await;
    assert_eq!(saved.unwrap().version, 3);
}
