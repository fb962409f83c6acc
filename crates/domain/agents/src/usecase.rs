//! What people do with agents.

use std::sync::Arc;

use muster_kernel::{
    AgentId, Clock, ConnectionId, Denied, Entropy, Page, PageRequest, Permit, Principal, Secret,
    StorageError, TenantScope, TokenKind, act,
};

use crate::ports::{
    AgentChange, AgentFilter, AgentPage, AgentRepository, ConnectionLog, CopyVerdicts, Presence,
    RefreshError, StatusCounts,
};
use crate::registration::{InvalidRegistration, hostname};
use crate::{
    Agent, AgentOrder, AgentStatus, Connection, ConnectionRecord, CopyDecision, CopyVerdict,
    MachineCopy, Metrics, NewIdentity,
};

/// Why something could not be done with an agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentsError {
    /// There is no such agent, or it is not the asker's.
    #[error("there is no such agent or customer, or it is not yours")]
    NotFound,
    /// No such copy of the machine waits or was rejected.
    #[error(
        "there is no such clone of this agent (any more), or it is connected to another server; \
         GET /agents/{{id}} of the server that it is connected to lists it"
    )]
    NoSuchCopy,
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
    /// Other machines that show its identity: those that are kept apart, and where one agent is
    /// asked for, also those that are not let in.
    pub copies: Vec<MachineCopy>,
}

/// What the registry's use cases need.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct AgentsPorts {
    pub repository: Arc<dyn AgentRepository>,
    pub presence: Arc<dyn Presence>,
    pub connections: Arc<dyn ConnectionLog>,
    pub verdicts: Arc<dyn CopyVerdicts>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// What people do with agents.
#[derive(Debug, Clone)]
pub struct Agents {
    ports: AgentsPorts,
}

impl Agents {
    /// Made of its ports.
    pub const fn new(ports: AgentsPorts) -> Self {
        Self { ports }
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
        let mut view = self.find(permit.scope(), id).await?;
        view.copies.extend(self.ports.verdicts.rejected(id).await?);
        Ok(view)
    }

    /// The latest connections of an agent, the newest first.
    ///
    /// # Errors
    /// [`AgentsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn connections(
        &self,
        permit: &Permit<act::ReadAgents>,
        id: AgentId,
    ) -> Result<Vec<ConnectionRecord>, AgentsError> {
        self.find(permit.scope(), id).await?;
        let mut connections = self.ports.connections.latest(id).await?;
        if let Some(live) = self.ports.presence.connection(id) {
            let current = |record: &&mut ConnectionRecord| record.id == live.connection_id;
            if let Some(record) = connections.iter_mut().find(current) {
                record.last_frame_at = live.last_frame_at;
            }
        }
        Ok(connections)
    }

    /// Decides what another machine becomes that shows the identity of the agent. One that was
    /// rejected and is decided about anew learns of it when it connects again.
    ///
    /// # Errors
    /// [`AgentsError::NotFound`] when the agent does not lie in the asker's scope,
    /// [`AgentsError::NoSuchCopy`] when nothing is known of such a machine.
    pub async fn resolve(
        &self,
        permit: &Permit<act::ResolveClones>,
        id: AgentId,
        copy: ConnectionId,
        decision: CopyDecision,
    ) -> Result<AgentView, AgentsError> {
        self.find(permit.scope(), id).await?;
        let AgentsPorts { presence, verdicts, clock, entropy, .. } = &self.ports;
        let mut copies = presence.copies(id);
        copies.extend(verdicts.rejected(id).await?);
        let copy = copies.into_iter().find(|known| known.connection_id == copy);
        let copy = copy.ok_or(AgentsError::NoSuchCopy)?;
        let connection_id = copy.connection_id;
        let verdict = CopyVerdict {
            agent_id: id,
            copy,
            decision,
            new_id: AgentId::new(&**clock, &**entropy),
            original_token: presence.token(id),
            author: permit.author().clone(),
            now: clock.now(),
        };
        let new_id = verdict.new_id;
        verdicts.decide(verdict).await?;
        let identity = match decision {
            CopyDecision::Separate => Some(self.identity(new_id).await?),
            CopyDecision::Replace | CopyDecision::Reject => None,
        };
        presence.settle(id, connection_id, decision, identity);
        let mut view = self.find(permit.scope(), id).await?;
        view.copies.retain(|waiting| waiting.connection_id != connection_id);
        view.copies.extend(verdicts.rejected(id).await?);
        Ok(view)
    }

    /// A fresh token for the agent `id`, which nobody shows yet.
    async fn identity(&self, id: AgentId) -> Result<NewIdentity, StorageError> {
        let agent_token = Secret::draw(TokenKind::Agent, &*self.ports.entropy);
        self.ports.verdicts.renew_token(id, agent_token.hash()).await?;
        Ok(NewIdentity { agent_id: id, agent_token })
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
        let (now, scope) = (self.ports.clock.now(), permit.scope());
        let AgentPage { page, counts } =
            self.ports.repository.list(scope, filter, order, page, now).await?;
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
        Ok(self.ports.repository.tags(permit.scope()).await?)
    }

    /// How many agents there are, and how many connections.
    ///
    /// # Errors
    /// [`AgentsError::Storage`].
    pub async fn totals(&self) -> Result<(StatusCounts, usize), AgentsError> {
        let now = self.ports.clock.now();
        let counts =
            self.ports.repository.count(&TenantScope::All, &AgentFilter::default(), now).await?;
        Ok((counts, self.ports.presence.connected()))
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
        let (scope, author, now) = (permit.scope(), permit.author(), self.ports.clock.now());
        let changed = self.ports.repository.update(scope, id, change, author, now).await?;
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
        if !self.ports.repository.delete(scope, id, author, self.ports.clock.now()).await? {
            return Err(AgentsError::NotFound);
        }
        self.ports.presence.disconnect(id);
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
        match permit.principal() {
            Principal::Agent { agent_id, customer_id } => {
                Ok(self.ports.presence.heard(*agent_id, *customer_id, metrics, address))
            }
            Principal::User { .. } | Principal::ApiKey { .. } => Err(Denied::Forbidden),
        }
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
        self.ports.presence.refresh(id).await?;
        self.find(permit.scope(), id).await
    }

    async fn find(&self, scope: &TenantScope, id: AgentId) -> Result<AgentView, AgentsError> {
        let agent = self.ports.repository.find(scope, id).await?.ok_or(AgentsError::NotFound)?;
        Ok(self.view(agent))
    }

    fn view(&self, mut agent: Agent) -> AgentView {
        let connection = self.ports.presence.connection(agent.id);
        if let Some(connection) = &connection {
            agent.last_seen = agent.last_seen.max(Some(connection.last_frame_at));
        }
        let status = agent.status(connection.is_some(), self.ports.clock.now());
        let copies = self.ports.presence.copies(agent.id);
        AgentView { agent, status, connection, copies }
    }
}
