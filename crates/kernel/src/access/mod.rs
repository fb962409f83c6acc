//! Who may do what: the one place that decides.
//!
//! [`authorise`] decides by one table (`action.rs`) and answers with the [`TenantScope`] in which
//! something may be done. Use cases take the [`Permit`] that holds this answer, queries of a
//! tenant's data the scope in it. What lies outside the scope does not exist for the asker.

mod action;
mod actor;
mod permit;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::limits::Plan;
use crate::{AgentId, ApiKeyId, CustomerId, SessionId, UserId};
pub use action::{Act, Action, act};
pub use actor::{Actor, Author};
pub use permit::Permit;

/// What a user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees what an operator sees, changes nothing.
    Viewer,
    /// Runs what is in the library on the machines of their customers, and no text of their own.
    Runner,
    /// Works with agents, commands, scripts and profiles of their customers.
    Operator,
    /// May do everything.
    Admin,
}

impl Role {
    /// The role's name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Runner => "runner",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Reads what [`Role::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Viewer, Self::Runner, Self::Operator, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
    }
}

/// What a customer's key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyScope {
    /// See agents, commands and their output.
    AgentsRead,
    /// Enrol, change and remove agents.
    AgentsWrite,
    /// Enrol agents, and nothing else.
    AgentsEnrol,
    /// Run and cancel commands, and see them.
    CommandsRun,
    /// Run what is in the library and no text of one's own, and see and cancel commands.
    CommandsRunSaved,
    /// See scripts.
    ScriptsRead,
    /// Create, change and remove scripts.
    ScriptsWrite,
    /// Apply deployment profiles.
    ProfilesApply,
}

impl KeyScope {
    /// Every scope.
    pub const ALL: &[Self] = &[
        Self::AgentsRead,
        Self::AgentsWrite,
        Self::AgentsEnrol,
        Self::CommandsRun,
        Self::CommandsRunSaved,
        Self::ScriptsRead,
        Self::ScriptsWrite,
        Self::ProfilesApply,
    ];

    /// The scope's name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentsRead => "agents:read",
            Self::AgentsWrite => "agents:write",
            Self::AgentsEnrol => "agents:enrol",
            Self::CommandsRun => "commands:run",
            Self::CommandsRunSaved => "commands:run-saved",
            Self::ScriptsRead => "scripts:read",
            Self::ScriptsWrite => "scripts:write",
            Self::ProfilesApply => "profiles:apply",
        }
    }

    /// Reads what [`KeyScope::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|scope| scope.as_str() == text)
    }
}

/// Whose data a query may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantScope {
    /// Every customer's.
    All,
    /// Only these customers'.
    Customers(BTreeSet<CustomerId>),
}

impl TenantScope {
    /// Whether `customer`'s data lies within.
    pub fn contains(&self, customer: CustomerId) -> bool {
        match self {
            Self::All => true,
            Self::Customers(customers) => customers.contains(&customer),
        }
    }

    /// The scope of one customer.
    pub fn one(customer: CustomerId) -> Self {
        Self::Customers(BTreeSet::from([customer]))
    }
}

/// Who asks, as their credential proved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A person with a valid session.
    User {
        /// Who.
        user_id: UserId,
        /// What they sign in with.
        name: Arc<str>,
        /// On which signed-in device.
        session_id: SessionId,
        /// What they are.
        role: Role,
        /// The customers they belong to; all, when they belong to none.
        tenants: TenantScope,
        /// Whether they have shown their password or second factor lately.
        confirmed: bool,
        /// Whether they have to set up a second factor before anything else.
        lacks_second_factor: bool,
    },
    /// A program with a customer's key.
    ApiKey {
        /// Which key.
        key_id: ApiKeyId,
        /// What the key is called.
        name: Arc<str>,
        /// Whose it is.
        customer_id: CustomerId,
        /// What it may be used for.
        scopes: BTreeSet<KeyScope>,
        /// How much its customer may ask for.
        plan: Plan,
    },
    /// A managed machine.
    Agent {
        /// Which.
        agent_id: AgentId,
        /// Whose.
        customer_id: CustomerId,
    },
}

impl Principal {
    /// Who it is, as the audit log says it.
    pub fn actor(&self) -> Actor {
        match self {
            Self::User { user_id, name, .. } => {
                Actor::User { id: *user_id, name: Arc::clone(name) }
            }
            Self::ApiKey { key_id, name, .. } => {
                Actor::ApiKey { id: *key_id, name: Arc::clone(name) }
            }
            Self::Agent { agent_id, .. } => Actor::Agent(*agent_id),
        }
    }
}

/// Why something may not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The credential is good and does not allow this.
    #[error("your role, or your key's scopes, do not allow this")]
    Forbidden,
    /// The resource is another tenant's, which is told like one that does not exist.
    #[error("there is no such thing, or it is not yours")]
    NotFound,
    /// The person has to show their password or second factor again.
    #[error("this needs your password or second factor again: POST /auth/confirm, or sign in anew")]
    Unconfirmed,
    /// The person has to set up a second factor before anything else.
    #[error("an admin requires a second factor: set one up with POST /auth/totp")]
    SecondFactorRequired,
}

/// Decides whether `principal` may do `action`, and in which scope.
///
/// # Errors
/// [`Denied`], with the reason that the asker may know.
pub fn authorise(principal: &Principal, action: Action) -> Result<TenantScope, Denied> {
    let rule = action.rule();
    match principal {
        Principal::User { role, tenants, confirmed, lacks_second_factor, .. } => {
            if rule.least.is_none_or(|least| *role < least) {
                return Err(Denied::Forbidden);
            }
            let own = matches!(action, Action::UseOwnAccount | Action::SecureOwnAccount);
            if *lacks_second_factor && !own {
                return Err(Denied::SecondFactorRequired);
            }
            if rule.confirmed && !confirmed {
                return Err(Denied::Unconfirmed);
            }
            Ok(if *role == Role::Admin { TenantScope::All } else { tenants.clone() })
        }
        Principal::ApiKey { customer_id, scopes, .. } => {
            if rule.scopes.iter().any(|scope| scopes.contains(scope)) {
                Ok(TenantScope::one(*customer_id))
            } else {
                Err(Denied::Forbidden)
            }
        }
        Principal::Agent { customer_id, .. } => match action {
            Action::ReportAsAgent => Ok(TenantScope::one(*customer_id)),
            _ => Err(Denied::Forbidden),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeClock, SeededEntropy};

    fn user(role: Role, tenants: TenantScope) -> Principal {
        let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(1));
        Principal::User {
            user_id: UserId::new(&clock, &entropy),
            name: "ann".into(),
            session_id: SessionId::new(&clock, &entropy),
            role,
            tenants,
            confirmed: true,
            lacks_second_factor: false,
        }
    }

    fn customers() -> [CustomerId; 2] {
        let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(2));
        [CustomerId::new(&clock, &entropy), CustomerId::new(&clock, &entropy)]
    }

    fn key(customer_id: CustomerId, scopes: &[KeyScope]) -> Principal {
        Principal::ApiKey {
            key_id: ApiKeyId::new(&FakeClock::default(), &SeededEntropy::new(3)),
            name: "ci".into(),
            customer_id,
            scopes: scopes.iter().copied().collect(),
            plan: Plan::Free,
        }
    }

    #[test]
    fn an_agent_may_only_report() {
        let [mine, _] = customers();
        let agent_id = AgentId::new(&FakeClock::default(), &SeededEntropy::new(3));
        let agent = Principal::Agent { agent_id, customer_id: mine };
        for action in Action::ALL {
            let allowed = authorise(&agent, *action).is_ok();
            assert_eq!(allowed, *action == Action::ReportAsAgent, "{action:?}");
        }
    }

    #[test]
    fn a_viewer_changes_nothing_but_their_own_account() {
        let viewer = user(Role::Viewer, TenantScope::All);
        for action in Action::ALL {
            let name = format!("{action:?}");
            let own = name.ends_with("OwnAccount");
            // It answers, and changes nothing.
            let asks = *action == Action::UseAssistant;
            if !name.starts_with("Read") && !own && !asks {
                assert_eq!(authorise(&viewer, *action), Err(Denied::Forbidden), "{name}");
            }
        }
    }

    #[test]
    fn an_operator_stays_within_their_customers() {
        let [mine, other] = customers();
        let operator = user(Role::Operator, TenantScope::one(mine));
        let permit = Permit::<act::RunCommands>::ask(operator, &Author::system()).unwrap();
        assert_eq!(permit.scope(), &TenantScope::one(mine));
        assert_eq!((permit.of(mine), permit.of(other)), (Ok(()), Err(Denied::NotFound)));
    }

    #[test]
    fn an_admin_may_do_all_that_people_may() {
        let admin = user(Role::Admin, TenantScope::All);
        let not_for_people = [Action::ReportAsAgent, Action::EnrolAgents, Action::ReadOwnCustomer];
        for action in Action::ALL {
            let allowed = authorise(&admin, *action).is_ok();
            assert_eq!(allowed, !not_for_people.contains(action), "{action:?}");
        }
    }

    #[test]
    fn a_key_opens_what_its_scopes_name_with_its_own_customer_and_nothing_else() {
        let [mine, _] = customers();
        for action in Action::ALL {
            for scope in KeyScope::ALL {
                let answer = authorise(&key(mine, &[*scope]), *action);
                let named = action.rule().scopes.contains(scope);
                let expected =
                    if named { Ok(TenantScope::one(mine)) } else { Err(Denied::Forbidden) };
                assert_eq!(answer, expected, "{action:?} {scope:?}");
            }
            assert!(authorise(&key(mine, &[]), *action).is_err(), "{action:?}");
        }
    }

    #[test]
    fn who_lacks_a_required_second_factor_can_only_set_one_up() {
        let mut admin = user(Role::Admin, TenantScope::All);
        if let Principal::User { lacks_second_factor, .. } = &mut admin {
            *lacks_second_factor = true;
        }
        for action in Action::ALL {
            let own = matches!(action, Action::UseOwnAccount | Action::SecureOwnAccount);
            assert_eq!(authorise(&admin, *action).is_ok(), own, "{action:?}");
        }
    }

    #[test]
    fn what_outlives_a_stolen_session_needs_a_fresh_proof() {
        let mut admin = user(Role::Admin, TenantScope::All);
        if let Principal::User { confirmed, .. } = &mut admin {
            *confirmed = false;
        }
        for action in [Action::ManageUsers, Action::ManageApiKeys, Action::ManageSettings] {
            assert_eq!(authorise(&admin, action), Err(Denied::Unconfirmed));
        }
        assert!(authorise(&admin, Action::RunCommands).is_ok());
    }
}
