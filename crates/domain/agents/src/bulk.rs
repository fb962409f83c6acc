//! What people do with many agents at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_kernel::{
    AgentId, Clock, CustomerId, Denied, GroupId, InvalidTags, Permit, StorageError, Tags, act,
};

use crate::groups::{Groups, GroupsError};
use crate::{
    Agent, AgentChange, AgentRepository, Aim, Presence, SelectedAgent, Target, TargetError, Targets,
};

/// How many agents are changed at once at most: all of it is one transaction.
pub const MAX_AT_ONCE: usize = 10_000;

/// A change to many agents; what is empty or `None` stays, and empty notes remove those there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BulkEdit {
    /// Tags that each gets.
    pub add_tags: Tags,
    /// Tags that each loses.
    pub remove_tags: Tags,
    /// Groups that each is put into.
    pub add_to_groups: BTreeSet<GroupId>,
    /// Groups that each is taken out of.
    pub remove_from_groups: BTreeSet<GroupId>,
    /// Whose each is from now on.
    pub customer_id: Option<CustomerId>,
    /// What is noted of each from now on.
    pub notes: Option<String>,
}

impl BulkEdit {
    /// What it changes of `agent`; `None` when that is nothing.
    ///
    /// # Errors
    /// When the agent had too many tags then.
    pub fn change(&self, agent: &Agent) -> Result<Option<AgentChange>, InvalidTags> {
        let groups = &(&agent.groups - &self.remove_from_groups) | &self.add_to_groups;
        let tags = agent.tags.clone().changed(&self.add_tags, &self.remove_tags)?;
        let notes = self.notes.clone().filter(|notes| *notes != notes_of(agent));
        let customer_id = self.customer_id.filter(|id| *id != agent.customer_id);
        let change = AgentChange {
            hostname: None,
            tags: (tags != agent.tags).then_some(tags),
            customer_id,
            notes,
            groups: (groups != agent.groups).then_some(groups),
        };
        Ok((change != AgentChange::default()).then_some(change))
    }
}

fn notes_of(agent: &Agent) -> String {
    agent.notes.clone().unwrap_or_default()
}

/// Why many agents could not be changed; none was.
#[derive(Debug, thiserror::Error)]
pub enum BulkWriteError {
    /// This agent would have too many tags.
    #[error("agent {0} would have more than 64 tags")]
    TooManyTags(AgentId),
    /// Their new customer was deleted meanwhile.
    #[error("there is no such customer, or it is not yours")]
    NoCustomer,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why something could not be done with many agents.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    /// Nothing is to be changed.
    #[error("say what is to be changed: tags, groups, customer_id or notes")]
    Nothing,
    /// More are meant than are changed at once.
    #[error("{0} machines are meant, and at most 10000 are changed at once: narrow the target")]
    TooMany(usize),
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The target means nobody.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Machines can't be put into these groups.
    #[error(transparent)]
    Groups(#[from] GroupsError),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] BulkWriteError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkDone {
    /// Who was meant.
    pub machines: Vec<SelectedAgent>,
    /// How many are another now, or gone; `None` when it was only asked who is meant.
    pub changed: Option<u64>,
}

/// What people do with many agents at once; cheap to clone.
#[derive(Debug, Clone)]
pub struct ManyAgents {
    repository: Arc<dyn AgentRepository>,
    presence: Arc<dyn Presence>,
    targets: Targets,
    groups: Groups,
    clock: Arc<dyn Clock>,
}

impl ManyAgents {
    /// Made of its ports, and of those who know targets and groups.
    pub fn new(
        repository: Arc<dyn AgentRepository>,
        presence: Arc<dyn Presence>,
        targets: Targets,
        groups: Groups,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { repository, presence, targets, groups, clock }
    }

    /// Changes all agents that are meant, or none; when it is `dry`, only says who they are.
    ///
    /// # Errors
    /// [`BulkError`] says what is wrong with the target or the change.
    pub async fn edit(
        &self,
        permit: &Permit<act::ManageAgents>,
        target: &Target,
        edit: BulkEdit,
        dry: bool,
    ) -> Result<BulkDone, BulkError> {
        if edit == BulkEdit::default() {
            return Err(BulkError::Nothing);
        }
        edit.customer_id.map_or(Ok(()), |customer| permit.of(customer))?;
        let machines = self.targets.machines(permit.scope(), target, &Aim::default()).await?;
        check_count(&machines)?;
        self.groups.check_joinable(permit, None, &edit.remove_from_groups).await?;
        let owners: BTreeSet<_> = match edit.customer_id {
            Some(customer) => [customer].into(),
            None => machines.iter().map(|machine| machine.customer_id).collect(),
        };
        for owner in owners {
            self.groups.check_joinable(permit, Some(owner), &edit.add_to_groups).await?;
        }
        if dry {
            return Ok(BulkDone { machines, changed: None });
        }
        let ids = machines.iter().map(|machine| machine.id).collect();
        let (scope, author, now) = (permit.scope(), permit.author(), self.clock.now());
        let changed = self.repository.update_many(scope, ids, edit, author, now).await?;
        Ok(BulkDone { machines, changed: Some(changed) })
    }

    /// Removes all agents that are meant for ever, and ends their connections; when it is `dry`,
    /// only says who they are.
    ///
    /// # Errors
    /// [`BulkError`] says what is wrong with the target.
    pub async fn delete(
        &self,
        permit: &Permit<act::DeleteManyAgents>,
        target: &Target,
        dry: bool,
    ) -> Result<BulkDone, BulkError> {
        let machines = self.targets.machines(permit.scope(), target, &Aim::default()).await?;
        check_count(&machines)?;
        if dry {
            return Ok(BulkDone { machines, changed: None });
        }
        let ids = machines.iter().map(|machine| machine.id).collect();
        let (scope, author, now) = (permit.scope(), permit.author(), self.clock.now());
        let gone = self.repository.delete_many(scope, ids, author, now).await?;
        for id in &gone {
            self.presence.disconnect(*id);
        }
        let changed = Some(u64::try_from(gone.len()).unwrap_or(u64::MAX));
        Ok(BulkDone { machines, changed })
    }
}

fn check_count(machines: &[SelectedAgent]) -> Result<(), BulkError> {
    if machines.len() > MAX_AT_ONCE { Err(BulkError::TooMany(machines.len())) } else { Ok(()) }
}
