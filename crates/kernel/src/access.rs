//! Who may do what: the one place that decides.
//!
//! A handler names the [`Action`]; [`authorise`] answers with the [`TenantScope`] in which it may
//! be done, and every query of a tenant's data takes that scope. What lies outside the scope does
//! not exist for the asker.

use std::collections::BTreeSet;

use crate::{AgentId, CustomerId, SessionId, UserId};

/// What a user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees what an operator sees, changes nothing.
    Viewer,
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
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Reads what [`Role::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.as_str() == text)
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
        /// On which signed-in device.
        session_id: SessionId,
        /// What they are.
        role: Role,
        /// The customers they belong to; all, when they belong to none.
        tenants: TenantScope,
    },
    /// A managed machine.
    Agent {
        /// Which.
        agent_id: AgentId,
        /// Whose.
        customer_id: CustomerId,
    },
}

/// Something one may do. A route without an action has no way to its use case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// See and end one's own sessions, see oneself.
    UseOwnAccount,
    /// See customers.
    ReadCustomers,
    /// Create, change and remove customers.
    ManageCustomers,
    /// See enrollment tokens (never their secrets).
    ReadEnrollmentTokens,
    /// Create and revoke enrollment tokens.
    ManageEnrollmentTokens,
    /// See agents.
    ReadAgents,
    /// Change agents, ask them for fresh information.
    ManageAgents,
    /// Remove agents for ever.
    DeleteAgents,
    /// See commands and their output.
    ReadCommands,
    /// Run and cancel commands.
    RunCommands,
    /// Report one's own state and results, as an agent.
    ReportAsAgent,
}

impl Action {
    /// Every action, for tests that go through all of them.
    pub const ALL: &[Self] = &[
        Self::UseOwnAccount,
        Self::ReadCustomers,
        Self::ManageCustomers,
        Self::ReadEnrollmentTokens,
        Self::ManageEnrollmentTokens,
        Self::ReadAgents,
        Self::ManageAgents,
        Self::DeleteAgents,
        Self::ReadCommands,
        Self::RunCommands,
        Self::ReportAsAgent,
    ];

    /// The least role that may do it; `None` when it is not for people.
    const fn least_role(self) -> Option<Role> {
        match self {
            Self::UseOwnAccount | Self::ReadCustomers | Self::ReadAgents | Self::ReadCommands => {
                Some(Role::Viewer)
            }
            Self::ReadEnrollmentTokens
            | Self::ManageEnrollmentTokens
            | Self::ManageAgents
            | Self::DeleteAgents
            | Self::RunCommands => Some(Role::Operator),
            Self::ManageCustomers => Some(Role::Admin),
            Self::ReportAsAgent => None,
        }
    }
}

/// What an action is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Whatever lies in the asker's scope: a list, or one thing that is looked up within it.
    InScope,
    /// Something that will belong to this customer.
    OfCustomer(CustomerId),
}

/// Why something may not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The credential is good and does not allow this.
    #[error("your role does not allow this")]
    Forbidden,
    /// The resource is another tenant's, which is told like one that does not exist.
    #[error("there is no such thing, or it is not yours")]
    NotFound,
}

/// Decides whether `principal` may do `action` to `resource`, and in which scope.
///
/// # Errors
/// [`Denied`], with the reason that the asker may know.
pub fn authorise(
    principal: &Principal,
    action: Action,
    resource: Resource,
) -> Result<TenantScope, Denied> {
    let scope = match principal {
        Principal::User { role, tenants, .. } => match action.least_role() {
            Some(least) if *role >= least => {
                if *role == Role::Admin {
                    TenantScope::All
                } else {
                    tenants.clone()
                }
            }
            Some(_) | None => return Err(Denied::Forbidden),
        },
        Principal::Agent { customer_id, .. } => match action {
            Action::ReportAsAgent => TenantScope::one(*customer_id),
            _ => return Err(Denied::Forbidden),
        },
    };
    match resource {
        Resource::OfCustomer(customer) if !scope.contains(customer) => Err(Denied::NotFound),
        Resource::OfCustomer(_) | Resource::InScope => Ok(scope),
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
            session_id: SessionId::new(&clock, &entropy),
            role,
            tenants,
        }
    }

    fn customers() -> [CustomerId; 2] {
        let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(2));
        [CustomerId::new(&clock, &entropy), CustomerId::new(&clock, &entropy)]
    }

    #[test]
    fn an_agent_may_only_report() {
        let [mine, _] = customers();
        let agent_id = AgentId::new(&FakeClock::default(), &SeededEntropy::new(3));
        let agent = Principal::Agent { agent_id, customer_id: mine };
        for action in Action::ALL {
            let allowed = authorise(&agent, *action, Resource::InScope).is_ok();
            assert_eq!(allowed, *action == Action::ReportAsAgent, "{action:?}");
        }
    }

    #[test]
    fn a_viewer_changes_nothing() {
        let viewer = user(Role::Viewer, TenantScope::All);
        for action in [
            Action::ManageCustomers,
            Action::ManageEnrollmentTokens,
            Action::ManageAgents,
            Action::DeleteAgents,
            Action::RunCommands,
        ] {
            assert_eq!(authorise(&viewer, action, Resource::InScope), Err(Denied::Forbidden));
        }
    }

    #[test]
    fn an_operator_stays_within_their_customers() {
        let [mine, other] = customers();
        let operator = user(Role::Operator, TenantScope::one(mine));
        let run = |resource| authorise(&operator, Action::RunCommands, resource);
        assert_eq!(run(Resource::InScope), Ok(TenantScope::one(mine)));
        assert_eq!(run(Resource::OfCustomer(mine)), Ok(TenantScope::one(mine)));
        assert_eq!(run(Resource::OfCustomer(other)), Err(Denied::NotFound));
    }

    #[test]
    fn an_admin_may_do_all_that_people_may() {
        let admin = user(Role::Admin, TenantScope::All);
        for action in Action::ALL {
            let allowed = authorise(&admin, *action, Resource::InScope).is_ok();
            assert_eq!(allowed, *action != Action::ReportAsAgent, "{action:?}");
        }
    }
}
