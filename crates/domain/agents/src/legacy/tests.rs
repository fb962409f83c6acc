//! Who is let in as an older product's agent, and who is not.

use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{ApiKeyId, KeyScope, Permit, Plan, Principal, act};

use super::*;
use crate::testing::{FakeAgents, FakePolicies};

struct World {
    legacy: Legacy,
    policies: Arc<FakePolicies>,
    agents: Arc<FakeAgents>,
    customer: CustomerId,
    token: Secret,
}

fn world() -> World {
    let (clock, entropy) = (Arc::new(FakeClock::default()), Arc::new(SeededEntropy::new(5)));
    let (agents, policies) = (Arc::new(FakeAgents::default()), Arc::new(FakePolicies::default()));
    let customer = CustomerId::new(&*clock, &*entropy);
    let token = Secret::draw(TokenKind::Enrollment, &*entropy);
    agents.allow(token.hash(), customer);
    policies.tokens.lock().insert(token.hash(), customer);
    let legacy = Legacy::new(agents.clone(), policies.clone(), agents.clone(), clock, entropy);
    World { legacy, policies, agents, customer, token }
}

fn host(name: &str) -> RegistrationRequest {
    RegistrationRequest { hostname: name.into(), ..RegistrationRequest::default() }
}

fn from(address: &str) -> Author {
    Author { address: Some(address.parse().unwrap()), ..Author::system() }
}

impl World {
    fn allow(&self, customer: CustomerId, dialects: &[Dialect], networks: &[&str]) {
        let policy = DialectPolicy {
            allowed: dialects.iter().copied().collect(),
            without_credentials: networks.iter().map(|text| text.parse().unwrap()).collect(),
        };
        self.policies.customers.lock().insert(customer, policy);
    }

    fn credential(&self) -> Credential {
        Credential::Token(self.token.clone(), Author::system())
    }
}

#[tokio::test]
async fn nobody_is_let_in_unless_the_customer_allows_what_they_speak() {
    let world = world();
    let credential = world.credential();
    let refused = world.legacy.admit(&credential, Dialect::DexAgents, Some("a"), host("h")).await;
    assert!(matches!(refused, Err(LegacyError::NotAllowed(Dialect::DexAgents))));
    world.allow(world.customer, &[Dialect::DexAgents], &[]);
    let speaker =
        world.legacy.admit(&credential, Dialect::DexAgents, Some("a"), host("h")).await.unwrap();
    assert_eq!(
        world.legacy.recognise(&credential, Dialect::DexAgents, "a").await.unwrap(),
        Some(speaker)
    );
    assert!(world.legacy.recognise(&credential, Dialect::DexAgents, "b").await.unwrap().is_none());
    let other = world.legacy.admit(&credential, Dialect::DeployFlow, None, host("h")).await;
    assert!(matches!(other, Err(LegacyError::NotAllowed(Dialect::DeployFlow))));
    world.allow(world.customer, &[], &[]);
    let late = world.legacy.recognise(&credential, Dialect::DexAgents, "a").await;
    assert!(matches!(late, Err(LegacyError::NotAllowed(_))), "it is over at once");
}

#[tokio::test]
async fn a_revoked_token_stands_for_nobody_any_more() {
    let world = world();
    world.allow(world.customer, &[Dialect::DexAgents], &[]);
    let credential = world.credential();
    world.legacy.admit(&credential, Dialect::DexAgents, Some("a"), host("h")).await.unwrap();
    world.policies.tokens.lock().clear();
    let refused = world.legacy.recognise(&credential, Dialect::DexAgents, "a").await;
    assert!(matches!(refused, Err(LegacyError::Enrol(EnrolError::TokenInvalid))));
}

#[tokio::test]
async fn a_key_stands_for_every_older_agent_of_its_customer_and_for_no_other() {
    let world = world();
    world.allow(world.customer, &[Dialect::DexAgents], &[]);
    let let_in = world.credential();
    let speaker =
        world.legacy.admit(&let_in, Dialect::DexAgents, Some("a"), host("h")).await.unwrap();
    let key = |customer_id| {
        let principal = Principal::ApiKey {
            key_id: ApiKeyId::new(&FakeClock::default(), &SeededEntropy::new(8)),
            name: "agents".into(),
            customer_id,
            scopes: [KeyScope::AgentsEnrol].into(),
            plan: Plan::default(),
        };
        Credential::Key(Permit::<act::EnrolAgents>::ask(principal, &Author::system()).unwrap())
    };
    let known =
        world.legacy.recognise(&key(world.customer), Dialect::DexAgents, "a").await.unwrap();
    assert_eq!(known, Some(speaker));
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(6));
    let stranger = CustomerId::new(&clock, &entropy);
    world.allow(stranger, &[Dialect::DexAgents], &[]);
    assert_eq!(
        world.legacy.recognise(&key(stranger), Dialect::DexAgents, "a").await.unwrap(),
        None
    );
    assert_eq!(world.agents.len(), 1);
}

#[tokio::test]
async fn without_a_credential_the_closest_network_counts_and_a_tie_opens_nothing() {
    let world = world();
    let entropy = SeededEntropy::new(7);
    let other = CustomerId::new(&FakeClock::default(), &entropy);
    world.allow(world.customer, &[Dialect::DexAgents], &["10.0.0.0/8", "172.16.0.0/12"]);
    world.allow(other, &[Dialect::DexAgents], &["10.1.0.0/16", "172.16.0.0/12"]);
    let whose = async |address: &str, dialect| match world
        .legacy
        .vouch_for_network(from(address), dialect)
        .await
    {
        Ok(Credential::Network { customer_id, .. }) => Some(customer_id),
        Ok(_) => panic!("another credential"),
        Err(error) => {
            assert!(matches!(error, LegacyError::NoCredential));
            None
        }
    };
    assert_eq!(whose("10.2.0.1", Dialect::DexAgents).await, Some(world.customer));
    assert_eq!(whose("10.1.0.1", Dialect::DexAgents).await, Some(other));
    for (address, dialect) in [
        ("172.16.0.1", Dialect::DexAgents),
        ("192.0.2.1", Dialect::DexAgents),
        ("10.1.0.1", Dialect::DeployFlow),
    ] {
        assert_eq!(whose(address, dialect).await, None, "{address}");
    }
    let nowhere = world.legacy.vouch_for_network(Author::system(), Dialect::DexAgents).await;
    assert!(matches!(nowhere, Err(LegacyError::NoCredential)));
}
