//! What people do with agents.

use std::sync::Arc;

use muster_kernel::{
    AgentId, Clock, Denied, Page, PageRequest, Permit, StorageError, TenantScope, act,
};

use crate::ports::{
    AgentChange, AgentFilter, AgentPage, AgentRepository, Connection, Presence, RefreshError,
    StatusCounts,
};
use crate::registration::{InvalidRegistration, hostname};
use crate::{Agent, AgentOrder, AgentStatus, Metrics};

/// Why something could not be done with an agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentsError {
    /// There is no such agent, or it is not the asker's.
    #[error("there is no such agent or customer, or it is not yours")]
    NotFound,
    /// A page was asked for by the cursor of another order.
    #[error(
        "cursor: it belongs to a list in another order; begin at the first page when you sort by \
         something else"
    )]
    OtherOrder,
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The change breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidRegistration),
    /// The agent gave no fresh information.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// An agent and whether it can be reached.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentView {
    /// What the registry knows; `last_seen` is to the second when the agent is connected.
    pub agent: Agent,
    /// Whether it can be reached.
    pub status: AgentStatus,
    /// Its live connection.
    pub connection: Option<Connection>,
}

/// What people do with agents.
#[derive(Debug, Clone)]
pub struct Agents {
    repository: Arc<dyn AgentRepository>,
    presence: Arc<dyn Presence>,
    clock: Arc<dyn Clock>,
}

impl Agents {
    /// Made of its ports.
    pub fn new(
        repository: Arc<dyn AgentRepository>,
        presence: Arc<dyn Presence>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { repository, presence, clock }
    }

    /// One agent.
    ///
    /// # Errors
    /// [`AgentsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadAgents>,
        id: AgentId,
    ) -> Result<AgentView, AgentsError> {
        self.find(permit.scope(), id).await
    }

    /// A page of agents in this order, and how many pass the filter (its status aside), by status.
    ///
    /// # Errors
    /// [`AgentsError::OtherOrder`] when the page's cursor is of another order.
    pub async fn list(
        &self,
        permit: &Permit<act::ReadAgents>,
        filter: &AgentFilter,
        order: AgentOrder,
        page: &PageRequest,
    ) -> Result<(Page<AgentView>, StatusCounts), AgentsError> {
        if page.cursor.as_ref().is_some_and(|cursor| order.check(cursor).is_err()) {
            return Err(AgentsError::OtherOrder);
        }
        let (scope, now) = (permit.scope(), self.clock.now());
        let AgentPage { page, counts } =
            self.repository.list(scope, filter, order, page, now).await?;
        Ok((page.map(|agent| self.view(agent)), counts))
    }

    /// The tags that agents have, in order, and how many have each.
    ///
    /// # Errors
    /// [`AgentsError::Storage`].
    pub async fn tags(
        &self,
        permit: &Permit<act::ReadAgents>,
    ) -> Result<Vec<(String, u64)>, AgentsError> {
        Ok(self.repository.tags(permit.scope()).await?)
    }

    /// How many agents there are, and how many connections.
    ///
    /// # Errors
    /// [`AgentsError::Storage`].
    pub async fn totals(&self) -> Result<(StatusCounts, usize), AgentsError> {
        let now = self.clock.now();
        let counts = self.repository.count(&TenantScope::All, &AgentFilter::default(), now).await?;
        Ok((counts, self.presence.connected()))
    }

    /// Changes an agent. Giving it to another customer takes that customer's scope as well.
    ///
    /// # Errors
    /// [`AgentsError::NotFound`] when the agent or its new customer does not lie in the asker's scope,
    /// [`AgentsError::Invalid`] when the change breaks a rule.
    pub async fn update(
        &self,
        permit: &Permit<act::ManageAgents>,
        id: AgentId,
        mut change: AgentChange,
    ) -> Result<AgentView, AgentsError> {
        change.customer_id.map_or(Ok(()), |customer| permit.of(customer))?;
        if let Some(name) = &mut change.hostname {
            *name = hostname(name)?;
        }
        let (scope, author, now) = (permit.scope(), permit.author(), self.clock.now());
        let changed = self.repository.update(scope, id, change, author, now).await?;
        changed.map(|agent| self.view(agent)).ok_or(AgentsError::NotFound)
    }

    /// Removes an agent for ever and ends its connection. Its commands that have not begun are
    /// cancelled by the next sweep; its history stays.
    ///
    /// # Errors
    /// [`AgentsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn delete(
        &self,
        permit: &Permit<act::DeleteAgents>,
        id: AgentId,
    ) -> Result<(), AgentsError> {
        let (scope, author) = (permit.scope(), permit.author());
        if !self.repository.delete(scope, id, author, self.clock.now()).await? {
            return Err(AgentsError::NotFound);
        }
        self.presence.disconnect(id);
        Ok(())
    }

    /// Notes that the agent that asks is alive, and its load; answers whether it has a live
    /// connection beside its requests.
    ///
    /// # Errors
    /// [`Denied::Forbidden`] when it is no agent.
    pub fn heartbeat(
        &self,
        permit: &Permit<act::ReportAsAgent>,
        metrics: Option<Metrics>,
    ) -> Result<bool, Denied> {
        let address = permit.author().address.map(|address| address.to_string());
        Ok(self.presence.heard(permit.agent()?, metrics, address))
    }

    /// Asks the agent what kind of machine it is, waits for the answer and shows it.
    ///
    /// # Errors
    /// [`AgentsError::Refresh`] when it is not connected or does not answer.
    pub async fn refresh(
        &self,
        permit: &Permit<act::ManageAgents>,
        id: AgentId,
    ) -> Result<AgentView, AgentsError> {
        self.find(permit.scope(), id).await?;
        self.presence.refresh(id).await?;
        self.find(permit.scope(), id).await
    }

    async fn find(&self, scope: &TenantScope, id: AgentId) -> Result<AgentView, AgentsError> {
        let agent = self.repository.find(scope, id).await?.ok_or(AgentsError::NotFound)?;
        Ok(self.view(agent))
    }

    fn view(&self, mut agent: Agent) -> AgentView {
        let connection = self.presence.connection(agent.id);
        if let Some(connection) = &connection {
            agent.last_seen = agent.last_seen.max(Some(connection.last_frame_at));
        }
        let status = agent.status(connection.is_some(), self.clock.now());
        AgentView { agent, status, connection }
    }
}
