//! What can be wrong with a rollout.

use muster_agents::{OsType, TargetError};
use muster_commands::InvalidSpec;
use muster_kernel::{AgentId, Denied, StorageError};

use super::freeze::FreezeError;
use crate::Invalid;
use crate::catalog::CatalogError;

/// Why something could not be done with a rollout.
#[derive(Debug, thiserror::Error)]
pub enum RolloutsError {
    /// There is no such rollout, or it is not the asker's.
    #[error("there is no such rollout, or it is not yours")]
    NotFound,
    /// The rollout has no such machine.
    #[error("the rollout has no such device")]
    NoDevice,
    /// There is no such profile, or it is not the asker's.
    #[error(transparent)]
    Profile(CatalogError),
    /// A machine is of another family than the profile is made for.
    #[error("the profile is made for {wanted}, and {agent} has {other}", wanted = wanted.as_str(), other = other.as_str())]
    OtherSystem {
        /// What it is made for.
        wanted: OsType,
        /// What a machine has.
        other: OsType,
        /// Which machine.
        agent: AgentId,
    },
    /// The profile can't be applied as it is.
    #[error("{0}")]
    NotApplicable(String),
    /// The target means nobody, or what can't be.
    #[error(transparent)]
    Target(TargetError),
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The wish breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The idempotency key came before with another request.
    #[error("this idempotency key was used for another request; take a new one")]
    KeyReused,
    /// It is dangerous, and nobody said that they know.
    #[error("this is dangerous: it {}; send confirm: true if you mean it", .0.join(", and "))]
    Dangerous(Vec<&'static str>),
    /// It is dangerous, and where a second person has to approve that, no profile does it.
    #[error(
        "this is dangerous: it {}; where a second person has to approve that, run it as a command",
        .0.join(", and ")
    )]
    NeedsApproval(Vec<&'static str>),
    /// It is not in a state in which this can be done.
    #[error("{0}")]
    WrongState(&'static str),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<CatalogError> for RolloutsError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Storage(error) => Self::Storage(error),
            other => Self::Profile(other),
        }
    }
}

impl From<TargetError> for RolloutsError {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::Storage(error) => Self::Storage(error),
            other => Self::Target(other),
        }
    }
}

impl From<FreezeError> for RolloutsError {
    fn from(error: FreezeError) -> Self {
        match error {
            FreezeError::Storage(error) => Self::Storage(error),
            task @ FreezeError::Task { .. } => Self::NotApplicable(task.to_string()),
        }
    }
}

impl From<InvalidSpec> for RolloutsError {
    fn from(error: InvalidSpec) -> Self {
        Invalid::from(error).into()
    }
}
