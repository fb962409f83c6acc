//! What people do with assistants and projects.

use std::sync::Arc;

use muster_agents::{AgentRepository, AgentSelection};
use muster_kernel::{
    AssistantId, Clock, CustomerId, Denied, Entropy, Page, PageRequest, Permit, ProjectId,
    StorageError, TenantScope, act,
};

use super::{
    AssistantBody, Body, Entry, EntryId, EntryRepository, InvalidEntry, ProjectBody, WriteError,
};

/// Why something could not be done with an assistant or a project.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// There is no such thing, or it is not the asker's.
    #[error("there is no such {0}, or it is not yours")]
    NotFound(&'static str),
    /// It belongs to no single customer, and whoever asks works for some only.
    #[error("it belongs to all customers: only who works for all of them may change it")]
    Shared,
    /// It is not the version any more that the asker knows.
    #[error("it was changed since you read it; read it again")]
    Stale,
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidEntry),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<WriteError> for WorkspaceError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stale => Self::Stale,
            WriteError::NoCustomer => Self::NotFound("customer"),
            WriteError::Storage(error) => Self::Storage(error),
        }
    }
}

/// A change; what is `None` stays.
#[derive(Debug, Clone)]
pub struct Change<B> {
    /// Another name.
    pub name: Option<String>,
    /// What the body says then, made of what it said.
    pub body: B,
}

/// The ports of a [`Workspace`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct WorkspacePorts {
    pub assistants: Arc<dyn EntryRepository<AssistantBody>>,
    pub projects: Arc<dyn EntryRepository<ProjectBody>>,
    pub agents: Arc<dyn AgentRepository>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// What people do with assistants and projects; cheap to clone.
#[derive(Debug, Clone)]
pub struct Workspace(WorkspacePorts);

/// A kind of entry that a [`Workspace`] keeps.
pub trait Kept: Body {
    /// Where those of this kind are.
    fn of(ports: &WorkspacePorts) -> &Arc<dyn EntryRepository<Self>>;
}

impl Kept for AssistantBody {
    fn of(ports: &WorkspacePorts) -> &Arc<dyn EntryRepository<Self>> {
        &ports.assistants
    }
}

impl Kept for ProjectBody {
    fn of(ports: &WorkspacePorts) -> &Arc<dyn EntryRepository<Self>> {
        &ports.projects
    }
}

impl Workspace {
    /// Made of its ports.
    pub const fn new(ports: WorkspacePorts) -> Self {
        Self(ports)
    }

    /// Makes an assistant. Whoever works for all customers and names none makes one for all of
    /// them; whoever works for one alone makes one of that.
    ///
    /// # Errors
    /// [`WorkspaceError`] says what is in the way.
    pub async fn create_assistant(
        &self,
        permit: &Permit<act::ManageAssistants>,
        customer: Option<CustomerId>,
        name: String,
        body: AssistantBody,
    ) -> Result<Entry<AssistantBody>, WorkspaceError> {
        self.create(permit, customer, name, body).await
    }

    /// Makes a project, by the same rule.
    ///
    /// # Errors
    /// [`WorkspaceError`] says what is in the way.
    pub async fn create_project(
        &self,
        permit: &Permit<act::ManageAssistants>,
        customer: Option<CustomerId>,
        name: String,
        body: ProjectBody,
    ) -> Result<Entry<ProjectBody>, WorkspaceError> {
        self.check_project(permit, owner(permit.scope(), customer)?, &body).await?;
        self.create(permit, customer, name, body).await
    }

    async fn create<B: Kept>(
        &self,
        permit: &Permit<act::ManageAssistants>,
        customer: Option<CustomerId>,
        name: String,
        body: B,
    ) -> Result<Entry<B>, WorkspaceError> {
        let now = self.0.clock.now();
        let entry = Entry {
            id: B::Id::draw(&*self.0.clock, &*self.0.entropy),
            customer_id: owner(permit.scope(), customer)?,
            name,
            body,
            version: 1,
            created_at: now,
            updated_at: now,
        }
        .check()?;
        B::of(&self.0).create(entry.clone(), permit.author()).await?;
        Ok(entry)
    }

    /// One.
    ///
    /// # Errors
    /// [`WorkspaceError::NotFound`] when the asker may not see it.
    pub async fn get<B: Kept>(
        &self,
        permit: &Permit<act::ReadAssistants>,
        id: B::Id,
    ) -> Result<Entry<B>, WorkspaceError> {
        self.find(permit.scope(), id).await
    }

    /// Those that the asker may see, in the order of their creation.
    ///
    /// # Errors
    /// [`WorkspaceError::Storage`].
    pub async fn list<B: Kept>(
        &self,
        permit: &Permit<act::ReadAssistants>,
        page: &PageRequest,
    ) -> Result<Page<Entry<B>>, WorkspaceError> {
        Ok(B::of(&self.0).list(permit.scope(), page).await?)
    }

    /// Changes an assistant, if it has the version `expected`, where somebody expects one.
    ///
    /// # Errors
    /// [`WorkspaceError`] says what is in the way.
    pub async fn change_assistant(
        &self,
        permit: &Permit<act::ManageAssistants>,
        id: AssistantId,
        expected: Option<u32>,
        change: impl Fn(AssistantBody) -> Change<AssistantBody> + Send + Sync,
    ) -> Result<Entry<AssistantBody>, WorkspaceError> {
        let before = self.changeable::<AssistantBody>(permit, id, expected).await?;
        let change = change(before.body.clone());
        self.replace(permit, before, change).await
    }

    /// Changes a project, if it has the version `expected`, where somebody expects one.
    ///
    /// # Errors
    /// [`WorkspaceError`] says what is in the way.
    pub async fn change_project(
        &self,
        permit: &Permit<act::ManageAssistants>,
        id: ProjectId,
        expected: Option<u32>,
        change: impl Fn(ProjectBody) -> Change<ProjectBody> + Send + Sync,
    ) -> Result<Entry<ProjectBody>, WorkspaceError> {
        let before = self.changeable::<ProjectBody>(permit, id, expected).await?;
        let change = change(before.body.clone());
        if change.body != before.body {
            self.check_project(permit, before.customer_id, &change.body).await?;
        }
        self.replace(permit, before, change).await
    }

    async fn replace<B: Kept>(
        &self,
        permit: &Permit<act::ManageAssistants>,
        before: Entry<B>,
        change: Change<B>,
    ) -> Result<Entry<B>, WorkspaceError> {
        let version = before.version;
        let after = Entry {
            name: change.name.unwrap_or_else(|| before.name.clone()),
            body: change.body,
            version: version.saturating_add(1),
            updated_at: self.0.clock.now(),
            ..before.clone()
        }
        .check()?;
        if (&after.name, &after.body) == (&before.name, &before.body) {
            return Ok(before);
        }
        B::of(&self.0).replace(version, after.clone(), permit.author()).await?;
        Ok(after)
    }

    /// Removes one. The conversations of a project go with it; what was proposed stays.
    ///
    /// # Errors
    /// [`WorkspaceError`] says what is in the way.
    pub async fn delete<B: Kept>(
        &self,
        permit: &Permit<act::ManageAssistants>,
        id: B::Id,
        expected: Option<u32>,
    ) -> Result<(), WorkspaceError> {
        let entry = self.changeable::<B>(permit, id, expected).await?;
        let now = self.0.clock.now();
        Ok(B::of(&self.0).remove(id, entry.version, permit.author(), now).await?)
    }

    /// One in this scope.
    pub(crate) async fn find<B: Kept>(
        &self,
        scope: &TenantScope,
        id: B::Id,
    ) -> Result<Entry<B>, WorkspaceError> {
        B::of(&self.0).find(scope, id).await?.ok_or(WorkspaceError::NotFound(B::KIND))
    }

    async fn changeable<B: Kept>(
        &self,
        permit: &Permit<act::ManageAssistants>,
        id: B::Id,
        expected: Option<u32>,
    ) -> Result<Entry<B>, WorkspaceError> {
        let entry = self.find::<B>(permit.scope(), id).await?;
        if entry.customer_id.is_none() && *permit.scope() != TenantScope::All {
            return Err(WorkspaceError::Shared);
        }
        if expected.is_some_and(|expected| expected != entry.version) {
            return Err(WorkspaceError::Stale);
        }
        Ok(entry)
    }

    /// That a project names nothing which is another customer's: who sees it sees what it names.
    async fn check_project(
        &self,
        permit: &Permit<act::ManageAssistants>,
        owner: Option<CustomerId>,
        body: &ProjectBody,
    ) -> Result<(), WorkspaceError> {
        let scope = owner.map_or_else(|| permit.scope().clone(), TenantScope::one);
        if !body.agent_ids.is_empty() {
            let ids = Some(body.agent_ids.clone());
            let selection = AgentSelection { ids, ..AgentSelection::default() };
            let found = self.0.agents.select(&scope, &selection, self.0.clock.now()).await?;
            if found.len() != body.agent_ids.len() {
                return Err(WorkspaceError::NotFound("agent"));
            }
        }
        for assistant in body.roles.values() {
            self.find::<AssistantBody>(&scope, *assistant).await?;
        }
        Ok(())
    }
}

/// Whose something new is: of one's only customer when nobody says; of no single one only by whoever
/// may see all.
pub(crate) fn owner(
    scope: &TenantScope,
    wished: Option<CustomerId>,
) -> Result<Option<CustomerId>, WorkspaceError> {
    match (wished, scope) {
        (Some(id), scope) if scope.contains(id) => Ok(Some(id)),
        (Some(_), _) => Err(WorkspaceError::NotFound("customer")),
        (None, TenantScope::All) => Ok(None),
        (None, TenantScope::Customers(own)) => {
            let only = own.first().copied().filter(|_| own.len() == 1);
            let rule = "one of your customers is expected";
            Ok(Some(only.ok_or(InvalidEntry { field: "customer_id", rule })?))
        }
    }
}
