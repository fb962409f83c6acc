//! Profiles, software and rollouts: from a bare machine to one that is done.

pub(super) mod compliance;
pub(super) mod exchange;
pub(super) mod os_images;
pub(super) mod profiles;
mod rollout_answer;
pub(super) mod rollouts;
pub(super) mod software;
mod task_body;
mod task_parts;
pub(super) mod tasks;
pub(super) mod templates;
mod yaml;

use muster_agents::TargetError;
use muster_commands::InvalidSpec;
use muster_commands::library::Kind;
use muster_commands::runs::RunsError;
use muster_deployment_profiles::compliance::ComplianceError;
use muster_deployment_profiles::rollouts::RolloutsError;
use muster_deployment_profiles::{CatalogError, ExchangeError, Invalid, ProfilesError, WriteError};
use muster_kernel::ProblemCode;

use super::library;
use crate::Problem;
pub use yaml::{read_profile, write_profile};

impl From<Invalid> for Problem {
    fn from(Invalid { pointer, rule }: Invalid) -> Self {
        Self::invalid(pointer, rule)
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        let text = error.to_string();
        match error {
            CatalogError::NotFound(_) | CatalogError::Write(WriteError::NoCustomer) => {
                Self::new(ProblemCode::NotFound, text)
            }
            CatalogError::Shared => Self::new(ProblemCode::Forbidden, text),
            CatalogError::Stale | CatalogError::Write(WriteError::Stale) => {
                Self::new(ProblemCode::PreconditionFailed, text)
            }
            CatalogError::Denied(denied) => denied.into(),
            CatalogError::Invalid(invalid) => invalid.into(),
            CatalogError::Write(WriteError::NameTaken) => {
                Self::new(ProblemCode::AlreadyExists, text)
            }
            CatalogError::Write(WriteError::Storage(error)) | CatalogError::Storage(error) => {
                error.into()
            }
        }
    }
}

impl From<ProfilesError> for Problem {
    fn from(error: ProfilesError) -> Self {
        let text = error.to_string();
        match error {
            ProfilesError::Catalog(error) => error.into(),
            ProfilesError::NoTask | ProfilesError::NoTemplate => {
                Self::new(ProblemCode::NotFound, text)
            }
            ProfilesError::Work(RunsError::OtherSystem { .. }) => Self::invalid("/script_id", text),
            ProfilesError::Work(error) => error.into(),
        }
    }
}

impl From<RolloutsError> for Problem {
    fn from(error: RolloutsError) -> Self {
        let text = error.to_string();
        match error {
            RolloutsError::NotFound
            | RolloutsError::NoDevice
            | RolloutsError::Target(
                TargetError::UnknownAgent(_)
                | TargetError::UnknownCustomer(_)
                | TargetError::UnknownGroup(_),
            ) => Self::new(ProblemCode::NotFound, text),
            RolloutsError::OtherSystem { .. } | RolloutsError::Target(TargetError::Nobody) => {
                Self::invalid("/target", text)
            }
            // It is the profile that is not right, and nothing in the body.
            RolloutsError::NotApplicable(_) => Self::new(ProblemCode::ValidationFailed, text),
            RolloutsError::Target(TargetError::Invalid(error)) => InvalidSpec::from(error).into(),
            RolloutsError::Target(TargetError::Storage(error)) | RolloutsError::Storage(error) => {
                error.into()
            }
            RolloutsError::Profile(error) => error.into(),
            RolloutsError::Denied(denied) => denied.into(),
            RolloutsError::Invalid(invalid) => invalid.into(),
            RolloutsError::KeyReused => Self::new(ProblemCode::IdempotencyConflict, text),
            RolloutsError::Dangerous(_) | RolloutsError::NeedsApproval(_) => {
                Self::new(ProblemCode::DangerousCommand, text)
            }
            RolloutsError::WrongState(_) => Self::new(ProblemCode::WrongState, text),
        }
    }
}

impl From<ComplianceError> for Problem {
    fn from(error: ComplianceError) -> Self {
        let text = error.to_string();
        match error {
            ComplianceError::NotFound(_) => Self::new(ProblemCode::NotFound, text),
            ComplianceError::Shared => Self::new(ProblemCode::Forbidden, text),
            ComplianceError::Denied(denied) => denied.into(),
            ComplianceError::Invalid(invalid) => invalid.into(),
            ComplianceError::Rollout(error) => error.into(),
            ComplianceError::Storage(error) => error.into(),
        }
    }
}

impl From<ExchangeError> for Problem {
    fn from(error: ExchangeError) -> Self {
        let text = error.to_string();
        match error {
            ExchangeError::Profile(error) => error.into(),
            ExchangeError::Script(error) => library::problem(Kind::Script, error),
            ExchangeError::Gone(_) => Self::new(ProblemCode::WrongState, text),
        }
    }
}
