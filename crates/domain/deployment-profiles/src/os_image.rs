//! Images that machines are made from.

use std::sync::Arc;

use async_trait::async_trait;
use muster_agents::OsType;
use muster_kernel::{
    AgentId, Author, Clock, CustomerId, OsImageId, Page, PageRequest, Permit, StorageError,
    TenantScope, Timestamp, act,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Invalid;
use crate::catalog::{Body, Catalog, CatalogError, Entry, Kind, MAX_NAME};
use crate::invalid::{address, line, sha256};

/// What an OS image says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OsImageBody {
    /// Its family of operating systems.
    pub os_type: OsType,
    /// Which version of which one, such as `Debian 13.2`.
    pub os_version: String,
    /// The SHA-256 of its file, as hexadecimal digits.
    pub checksum: Option<String>,
    /// Where its file is.
    pub url: Option<String>,
}

/// An image that machines are made from.
pub type OsImage = Entry<OsImageBody>;

impl OsImageBody {
    /// Checks what came in.
    ///
    /// # Errors
    /// [`Invalid`] names the field and what is expected there.
    pub fn check(self) -> Result<Self, Invalid> {
        Ok(Self {
            os_type: self.os_type,
            os_version: line("/os_version", &self.os_version, MAX_NAME)?,
            checksum: self.checksum.map(|text| sha256("/checksum", &text)).transpose()?,
            url: self.url.map(|url| address("/url", &url)).transpose()?,
        })
    }
}

impl Body for OsImageBody {
    const KIND: Kind = Kind::OsImage;
    type Id = OsImageId;

    fn os_type(&self) -> Option<OsType> {
        Some(self.os_type)
    }

    fn facts(&self) -> Value {
        json!({
            "os_type": self.os_type.as_str(), "os_version": self.os_version,
            "checksum": self.checksum, "url": self.url,
        })
    }
}

/// What a machine was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagedAgent {
    /// Which machine.
    pub agent_id: AgentId,
    /// Whose.
    pub customer_id: CustomerId,
    /// From which image.
    pub os_image_id: OsImageId,
    /// What the image is called.
    pub name: String,
    /// When.
    pub imaged_at: Timestamp,
}

/// What machines were made from. A machine that was removed is not among them.
#[async_trait]
pub trait ImagedAgents: Send + Sync + std::fmt::Debug {
    /// Keeps what a machine in `scope` was made from, instead of what was kept before, and enters
    /// it in the audit log; `None` when there is no such machine.
    async fn set(
        &self,
        scope: &TenantScope,
        agent: AgentId,
        image: &OsImage,
        imaged_at: Timestamp,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<ImagedAgent>, StorageError>;

    /// What a machine in `scope` was made from.
    async fn of(
        &self,
        scope: &TenantScope,
        agent: AgentId,
    ) -> Result<Option<ImagedAgent>, StorageError>;

    /// Forgets what a machine in `scope` was made from; says whether that was known.
    async fn unset(
        &self,
        scope: &TenantScope,
        agent: AgentId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// The machines in `scope` that were made from an image, in the order of their ids.
    async fn made_from(
        &self,
        scope: &TenantScope,
        image: OsImageId,
        page: &PageRequest,
    ) -> Result<Page<ImagedAgent>, StorageError>;
}

/// What people do with OS images beside keeping them.
#[derive(Debug, Clone)]
pub struct OsImages {
    /// The images.
    pub catalog: Catalog<OsImageBody>,
    agents: Arc<dyn ImagedAgents>,
    clock: Arc<dyn Clock>,
}

impl OsImages {
    /// Made of its ports.
    pub fn new(
        catalog: Catalog<OsImageBody>,
        agents: Arc<dyn ImagedAgents>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { catalog, agents, clock }
    }

    /// Keeps what a machine was made from; now, unless somebody says when.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] without such a machine or image.
    pub async fn assign(
        &self,
        permit: &Permit<act::ManageAgents>,
        agent: AgentId,
        image: OsImageId,
        imaged_at: Option<Timestamp>,
    ) -> Result<ImagedAgent, CatalogError> {
        let (scope, now) = (permit.scope(), self.clock.now());
        let image = self.catalog.find(scope, image).await?;
        let imaged_at = imaged_at.unwrap_or(now);
        let set = self.agents.set(scope, agent, &image, imaged_at, permit.author(), now).await?;
        set.ok_or(CatalogError::NotFound("agent"))
    }

    /// What a machine was made from.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when that is not known.
    pub async fn of(
        &self,
        permit: &Permit<act::ReadAgents>,
        agent: AgentId,
    ) -> Result<ImagedAgent, CatalogError> {
        let known = self.agents.of(permit.scope(), agent).await?;
        known.ok_or(CatalogError::NotFound("OS image of this agent"))
    }

    /// Forgets what a machine was made from.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] when that is not known.
    pub async fn forget(
        &self,
        permit: &Permit<act::ManageAgents>,
        agent: AgentId,
    ) -> Result<(), CatalogError> {
        let now = self.clock.now();
        let known = self.agents.unset(permit.scope(), agent, permit.author(), now).await?;
        if known { Ok(()) } else { Err(CatalogError::NotFound("OS image of this agent")) }
    }

    /// The machines that were made from an image.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] without such an image.
    pub async fn made_from(
        &self,
        permit: &Permit<act::ReadAgents>,
        image: OsImageId,
        page: &PageRequest,
    ) -> Result<Page<ImagedAgent>, CatalogError> {
        self.catalog.find(permit.scope(), image).await?;
        Ok(self.agents.made_from(permit.scope(), image, page).await?)
    }
}
