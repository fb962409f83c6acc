//! The proof that somebody may do something.

use std::marker::PhantomData;

use super::{Act, Actor, Author, Denied, Principal, TenantScope, authorise};
use crate::{AgentId, CustomerId, SessionId, UserId};

/// The proof that somebody may do `A`, and in which scope. Only [`Permit::ask`] makes one, and
/// every use case takes one, so what was not authorised does not compile.
#[derive(Debug, Clone)]
pub struct Permit<A> {
    principal: Principal,
    scope: TenantScope,
    author: Author,
    action: PhantomData<A>,
}

impl<A: Act> Permit<A> {
    /// Asks for the permission. `author` says from where and by which request; who it is follows
    /// from the principal.
    ///
    /// # Errors
    /// [`Denied`], with the reason that the asker may know.
    pub fn ask(principal: Principal, author: &Author) -> Result<Self, Denied> {
        let scope = authorise(&principal, A::ACTION)?;
        let author = author.as_actor(principal.actor());
        Ok(Self { principal, scope, author, action: PhantomData })
    }

    /// Whose data it is about.
    pub const fn scope(&self) -> &TenantScope {
        &self.scope
    }

    /// What the audit log says of whoever does it.
    pub const fn author(&self) -> &Author {
        &self.author
    }

    /// Who asks.
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Who asks, as what they give is signed with.
    pub const fn actor(&self) -> &Actor {
        &self.author.actor
    }

    /// The person who asks and their session.
    ///
    /// # Errors
    /// [`Denied::Forbidden`] when it is no person.
    pub const fn person(&self) -> Result<(UserId, SessionId), Denied> {
        match &self.principal {
            Principal::User { user_id, session_id, .. } => Ok((*user_id, *session_id)),
            Principal::ApiKey { .. } | Principal::Agent { .. } => Err(Denied::Forbidden),
        }
    }

    /// The agent that asks.
    ///
    /// # Errors
    /// [`Denied::Forbidden`] when it is none.
    pub const fn agent(&self) -> Result<AgentId, Denied> {
        match &self.principal {
            Principal::Agent { agent_id, .. } => Ok(*agent_id),
            Principal::User { .. } | Principal::ApiKey { .. } => Err(Denied::Forbidden),
        }
    }

    /// The same permission for what is this customer's alone.
    ///
    /// # Errors
    /// [`Denied::NotFound`] when the customer is another tenant.
    pub fn within(&self, customer: CustomerId) -> Result<Self, Denied> {
        self.of(customer)?;
        Ok(Self { scope: TenantScope::one(customer), ..self.clone() })
    }

    /// That it may also be done to something of this customer.
    ///
    /// # Errors
    /// [`Denied::NotFound`] when the customer is another tenant.
    pub fn of(&self, customer: CustomerId) -> Result<(), Denied> {
        if self.scope.contains(customer) { Ok(()) } else { Err(Denied::NotFound) }
    }
}
