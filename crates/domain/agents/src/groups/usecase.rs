//! What people do with groups.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_kernel::{
    Act, AgentId, Clock, CustomerId, Denied, Entropy, GroupId, Page, PageRequest, Permit,
    StorageError, TenantScope, act,
};

use super::group::description;
use super::{
    Group, GroupChange, GroupFilter, GroupKind, GroupRepository, GroupWriteError, InvalidGroup,
    MemberChange, MembersChanged, Membership, NewGroup,
};
use crate::{AgentRepository, AgentSelection};

/// Why something could not be done with a group.
#[derive(Debug, thiserror::Error)]
pub enum GroupsError {
    /// There is no such group, or it is not the asker's.
    #[error("there is no such group, or it is not yours")]
    NotFound,
    /// A group that was named is not there.
    #[error("there is no group {0}, or it is not yours")]
    Unknown(GroupId),
    /// It is of all customers, and whoever asks works for some only.
    #[error("it is of all customers: only who works for all of them may change it")]
    Shared,
    /// Machines can't be put into it or taken out of it.
    #[error("the group {0} has a filter: change that, and its machines follow")]
    Filtered(GroupId),
    /// A machine that was named is not there, or can't be in it.
    #[error("there is no agent {0} that can be in this group, or it is not yours")]
    UnknownAgent(AgentId),
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidGroup),
    /// It is not the version any more that the asker knows.
    #[error("it was changed since you read it; read it again")]
    Stale,
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] GroupWriteError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What people do with groups; cheap to clone.
#[derive(Debug, Clone)]
pub struct Groups {
    repository: Arc<dyn GroupRepository>,
    agents: Arc<dyn AgentRepository>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Groups {
    /// Made of its ports.
    pub fn new(
        repository: Arc<dyn GroupRepository>,
        agents: Arc<dyn AgentRepository>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { repository, agents, clock, entropy }
    }

    /// Makes a group. Whoever works for all customers and names none makes one of all customers;
    /// whoever works for one alone makes one of that.
    ///
    /// # Errors
    /// [`GroupsError::Denied`] for another's customer, [`GroupWriteError::NameTaken`],
    /// [`GroupsError::Invalid`].
    pub async fn create(
        &self,
        permit: &Permit<act::ManageGroups>,
        wish: NewGroup,
    ) -> Result<Group, GroupsError> {
        let now = self.clock.now();
        let group = Group {
            id: GroupId::new(&*self.clock, &*self.entropy),
            customer_id: owner(permit, wish.customer_id)?,
            name: wish.name,
            description: description(wish.description)?,
            kind: wish.kind.checked()?,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        self.repository.create(group.clone(), permit.author()).await?;
        Ok(group)
    }

    /// One group.
    ///
    /// # Errors
    /// [`GroupsError::NotFound`] when the asker may not see it.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadGroups>,
        id: GroupId,
    ) -> Result<Group, GroupsError> {
        self.find(permit.scope(), id).await
    }

    /// A page of groups, in the order of their names.
    ///
    /// # Errors
    /// [`GroupsError::Storage`].
    pub async fn list(
        &self,
        permit: &Permit<act::ReadGroups>,
        filter: &GroupFilter,
        page: &PageRequest,
    ) -> Result<Page<Group>, GroupsError> {
        Ok(self.repository.list(permit.scope(), filter, page).await?)
    }

    /// Changes a group. With `expected`, only if that is its version; without, a change that comes
    /// at the same time as another's is made to what came of that.
    ///
    /// # Errors
    /// [`GroupsError::Shared`], [`GroupsError::Stale`], [`GroupsError::Invalid`],
    /// [`GroupWriteError::NameTaken`].
    pub async fn change(
        &self,
        permit: &Permit<act::ManageGroups>,
        id: GroupId,
        expected: Option<u32>,
        change: GroupChange,
    ) -> Result<Group, GroupsError> {
        loop {
            let before = self.changeable(permit, id, expected).await?;
            let after = before.clone().changed(change.clone(), self.clock.now())?;
            match self.repository.update(&before, after.clone(), permit.author()).await {
                Err(GroupWriteError::Stale) if expected.is_none() => {}
                Err(GroupWriteError::Stale) => return Err(GroupsError::Stale),
                written => return written.map(|()| after).map_err(Into::into),
            }
        }
    }

    /// Removes a group. Its machines stay; schedules that name it say that it is gone.
    ///
    /// # Errors
    /// [`GroupsError::Shared`], [`GroupsError::Stale`].
    pub async fn delete(
        &self,
        permit: &Permit<act::ManageGroups>,
        id: GroupId,
        expected: Option<u32>,
    ) -> Result<(), GroupsError> {
        loop {
            let group = self.changeable(permit, id, expected).await?;
            match self.repository.remove(&group, permit.author(), self.clock.now()).await {
                Err(GroupWriteError::Stale) if expected.is_none() => {}
                Err(GroupWriteError::Stale) => return Err(GroupsError::Stale),
                removed => return Ok(removed?),
            }
        }
    }

    /// Puts machines into a group or takes them out of it.
    ///
    /// # Errors
    /// [`GroupsError::Filtered`], [`GroupsError::Shared`]; [`GroupsError::UnknownAgent`] for one
    /// that is not the asker's, or is another customer's than the group.
    pub async fn change_members(
        &self,
        permit: &Permit<act::ManageGroups>,
        id: GroupId,
        change: MemberChange,
    ) -> Result<MembersChanged, GroupsError> {
        let group = self.changeable(permit, id, None).await?;
        if group.kind != GroupKind::Static {
            return Err(GroupsError::Filtered(id));
        }
        match &change {
            MemberChange::Add(agents) | MemberChange::Replace(agents) => {
                self.check_there(permit.scope(), group.customer_id, agents).await?;
            }
            MemberChange::Remove(_) => {}
        }
        let (author, now) = (permit.author(), self.clock.now());
        match self.repository.change_members(&group, change, author, now).await {
            Err(GroupWriteError::Stale) => Err(GroupsError::NotFound),
            changed => Ok(changed?),
        }
    }

    /// Who is in a group, for queries in the asker's scope.
    ///
    /// # Errors
    /// [`GroupsError::Unknown`] when the asker may not see it.
    pub async fn membership<A: Act>(
        &self,
        permit: &Permit<A>,
        id: GroupId,
    ) -> Result<Membership, GroupsError> {
        let group = self.repository.find(permit.scope(), id).await?;
        Ok(group.ok_or(GroupsError::Unknown(id))?.membership())
    }

    /// Checks that machines of `customer` may be put into these groups by whoever asks; those of
    /// several customers when `None`.
    ///
    /// # Errors
    /// [`GroupsError::Unknown`], also for a group that another customer has;
    /// [`GroupsError::Filtered`], [`GroupsError::Shared`].
    pub async fn check_joinable<A: Act>(
        &self,
        permit: &Permit<A>,
        customer: Option<CustomerId>,
        ids: &BTreeSet<GroupId>,
    ) -> Result<(), GroupsError> {
        for id in ids {
            let group = self.repository.find(permit.scope(), *id).await?;
            let group = group.ok_or(GroupsError::Unknown(*id))?;
            if group.customer_id.is_some_and(|own| customer.is_some_and(|it| it != own)) {
                return Err(GroupsError::Unknown(*id));
            }
            check_owner(permit.scope(), &group)?;
            if group.kind != GroupKind::Static {
                return Err(GroupsError::Filtered(*id));
            }
        }
        Ok(())
    }

    async fn find(&self, scope: &TenantScope, id: GroupId) -> Result<Group, GroupsError> {
        self.repository.find(scope, id).await?.ok_or(GroupsError::NotFound)
    }

    /// The group, if the asker may change it and it is the version that they know.
    async fn changeable(
        &self,
        permit: &Permit<act::ManageGroups>,
        id: GroupId,
        expected: Option<u32>,
    ) -> Result<Group, GroupsError> {
        let group = self.find(permit.scope(), id).await?;
        check_owner(permit.scope(), &group)?;
        if expected.is_some_and(|version| version != group.version) {
            return Err(GroupsError::Stale);
        }
        Ok(group)
    }

    async fn check_there(
        &self,
        scope: &TenantScope,
        customer_id: Option<CustomerId>,
        agents: &BTreeSet<AgentId>,
    ) -> Result<(), GroupsError> {
        let named =
            AgentSelection { ids: Some(agents.clone()), customer_id, ..AgentSelection::default() };
        let there = self.agents.select(scope, &named, self.clock.now()).await?;
        let there: BTreeSet<_> = there.into_iter().map(|agent| agent.id).collect();
        match agents.difference(&there).next() {
            Some(unknown) => Err(GroupsError::UnknownAgent(*unknown)),
            None => Ok(()),
        }
    }
}

/// Whose a new group is.
fn owner(
    permit: &Permit<act::ManageGroups>,
    customer: Option<CustomerId>,
) -> Result<Option<CustomerId>, GroupsError> {
    match (customer, permit.scope()) {
        (Some(customer), _) => {
            permit.of(customer)?;
            Ok(Some(customer))
        }
        (None, TenantScope::All) => Ok(None),
        (None, TenantScope::Customers(own)) => {
            let mut own = own.iter().copied();
            match (own.next(), own.next()) {
                (Some(only), None) => Ok(Some(only)),
                _ => Err(InvalidGroup { field: "customer_id", rule: "say whose it is" }.into()),
            }
        }
    }
}

fn check_owner(scope: &TenantScope, group: &Group) -> Result<(), GroupsError> {
    match (group.customer_id, scope) {
        (None, TenantScope::Customers(_)) => Err(GroupsError::Shared),
        (None, TenantScope::All) | (Some(_), _) => Ok(()),
    }
}
