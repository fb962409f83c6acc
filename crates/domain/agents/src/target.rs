//! Which machines somebody means who does something with many.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_kernel::{AgentId, Clock, CustomerId, GroupId, StorageError, TenantScope};
use serde::{Deserialize, Serialize};

use crate::groups::{GroupRepository, Membership};
use crate::{AgentRepository, AgentSelection, OsType, SelectedAgent};

/// How many machines a target may name one by one.
pub const MAX_AGENT_IDS: usize = 100_000;
/// How many groups a target may name.
const MAX_GROUP_IDS: usize = 100;

/// Which machines are meant: those that everything which is given applies to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    /// These, one by one; a machine that is not there makes the whole target invalid.
    pub agent_ids: BTreeSet<AgentId>,
    /// Those with all of these tags.
    pub tags: BTreeSet<String>,
    /// Members of at least one of these groups; a group that is not there makes the whole target
    /// invalid.
    pub group_ids: BTreeSet<GroupId>,
    /// Those of this customer.
    pub customer_id: Option<CustomerId>,
    /// Those with this family of operating systems.
    pub os_type: Option<OsType>,
    /// Every machine that whoever asks may use; has to be said, and narrows nothing.
    pub all: bool,
}

/// A target that says nothing, or what can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct InvalidTarget {
    /// Which field, from `target` on.
    pub field: &'static str,
    /// What is expected there.
    pub rule: &'static str,
}

/// Why nobody can be found by a target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It says nothing, or what can't be.
    #[error(transparent)]
    Invalid(#[from] InvalidTarget),
    /// A machine that was named is not there.
    #[error("there is no agent {0}, or it is not yours")]
    UnknownAgent(AgentId),
    /// A customer that was named is not there.
    #[error("there is no customer {0}, or it is not yours")]
    UnknownCustomer(CustomerId),
    /// A group that was named is not there.
    #[error("there is no group {0}, or it is not yours")]
    UnknownGroup(GroupId),
    /// No machine is meant.
    #[error("no machine is meant: nothing that you may use passes all that the target asks for")]
    Nobody,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Target {
    /// Checks that it says something, and nothing that can't be.
    ///
    /// # Errors
    /// [`InvalidTarget`] says what is expected.
    pub fn check(&self) -> Result<(), InvalidTarget> {
        let invalid = |field, rule| Err(InvalidTarget { field, rule });
        let named = !self.agent_ids.is_empty();
        let narrowed = !self.tags.is_empty()
            || !self.group_ids.is_empty()
            || self.customer_id.is_some()
            || self.os_type.is_some();
        if !named && !narrowed && !self.all {
            let rule = "say which machines are meant: agent_ids, tags, group_ids, customer_id, \
                os_type, or all: true";
            return invalid("target", rule);
        }
        if named && self.all {
            return invalid("target/all", "either all, or those that agent_ids names");
        }
        if self.agent_ids.len() > MAX_AGENT_IDS {
            return invalid("target/agent_ids", "at most 100000 machines");
        }
        if self.group_ids.len() > MAX_GROUP_IDS {
            return invalid("target/group_ids", "at most 100 groups");
        }
        Ok(())
    }
}

/// How a target is looked up.
#[derive(Debug, Clone, Default)]
pub struct Aim {
    /// Whether machines that are named and not there are left out in silence.
    pub gone_are_left_out: bool,
    /// Only machines whose clocks show one of these zones.
    pub time_zones: Option<BTreeSet<String>>,
}

/// Finds the machines that targets mean; cheap to clone.
#[derive(Debug, Clone)]
pub struct Targets {
    agents: Arc<dyn AgentRepository>,
    groups: Arc<dyn GroupRepository>,
    clock: Arc<dyn Clock>,
}

impl Targets {
    /// Made of its ports.
    pub fn new(
        agents: Arc<dyn AgentRepository>,
        groups: Arc<dyn GroupRepository>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { agents, groups, clock }
    }

    /// The machines in `scope` that are meant now; at least one.
    ///
    /// # Errors
    /// [`TargetError`] says what is wrong with the target.
    pub async fn machines(
        &self,
        scope: &TenantScope,
        target: &Target,
        aim: &Aim,
    ) -> Result<Vec<SelectedAgent>, TargetError> {
        target.check()?;
        if let Some(customer) = target.customer_id.filter(|id| !scope.contains(*id)) {
            return Err(TargetError::UnknownCustomer(customer));
        }
        if !target.agent_ids.is_empty() && !aim.gone_are_left_out {
            self.check_named(scope, &target.agent_ids).await?;
        }
        let selection = self.selection(scope, target).await?;
        let selection = AgentSelection { time_zones: aim.time_zones.clone(), ..selection };
        let machines = self.agents.select(scope, &selection, self.clock.now()).await?;
        if machines.is_empty() { Err(TargetError::Nobody) } else { Ok(machines) }
    }

    /// The zones that the clocks of the machines in `scope` show which are meant; `None` of those
    /// that told none.
    ///
    /// # Errors
    /// [`TargetError::UnknownGroup`], [`TargetError::Storage`].
    pub async fn time_zones(
        &self,
        scope: &TenantScope,
        target: &Target,
    ) -> Result<BTreeSet<Option<String>>, TargetError> {
        let selection = self.selection(scope, target).await?;
        Ok(self.agents.time_zones(scope, &selection, self.clock.now()).await?)
    }

    async fn selection(
        &self,
        scope: &TenantScope,
        target: &Target,
    ) -> Result<AgentSelection, TargetError> {
        Ok(AgentSelection {
            ids: (!target.agent_ids.is_empty()).then(|| target.agent_ids.clone()),
            tags: target.tags.clone(),
            customer_id: target.customer_id,
            os_type: target.os_type,
            time_zones: None,
            only_online: false,
            groups: self.memberships(scope, &target.group_ids).await?,
        })
    }

    async fn memberships(
        &self,
        scope: &TenantScope,
        ids: &BTreeSet<GroupId>,
    ) -> Result<Option<Vec<Membership>>, TargetError> {
        if ids.is_empty() {
            return Ok(None);
        }
        let mut memberships = Vec::with_capacity(ids.len());
        for id in ids {
            let group = self.groups.find(scope, *id).await?;
            memberships.push(group.ok_or(TargetError::UnknownGroup(*id))?.membership());
        }
        Ok(Some(memberships))
    }

    /// That each machine which is named is there: nothing is left out in silence.
    async fn check_named(
        &self,
        scope: &TenantScope,
        named: &BTreeSet<AgentId>,
    ) -> Result<(), TargetError> {
        let alone = AgentSelection { ids: Some(named.clone()), ..AgentSelection::default() };
        let known = self.agents.select(scope, &alone, self.clock.now()).await?;
        let known: BTreeSet<_> = known.into_iter().map(|machine| machine.id).collect();
        match named.difference(&known).next() {
            Some(unknown) => Err(TargetError::UnknownAgent(*unknown)),
            None => Ok(()),
        }
    }
}
