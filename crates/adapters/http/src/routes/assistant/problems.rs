//! What goes wrong between people and assistants, as clients see it.

use muster_assistant::chats::ChatError;
use muster_assistant::proposals::ProposalsError;
use muster_assistant::workspace::WorkspaceError;
use muster_kernel::ProblemCode;

use crate::Problem;

impl From<WorkspaceError> for Problem {
    fn from(error: WorkspaceError) -> Self {
        let text = error.to_string();
        match error {
            WorkspaceError::NotFound(_) => Self::new(ProblemCode::NotFound, text),
            WorkspaceError::Shared => Self::new(ProblemCode::Forbidden, text),
            WorkspaceError::Stale => Self::new(ProblemCode::PreconditionFailed, text),
            WorkspaceError::Denied(denied) => denied.into(),
            WorkspaceError::Invalid(error) => {
                Self::invalid(format!("/{}", error.field), error.rule)
            }
            WorkspaceError::Storage(error) => error.into(),
        }
    }
}

impl From<ChatError> for Problem {
    fn from(error: ChatError) -> Self {
        let text = error.to_string();
        match error {
            ChatError::NotFound(_) => Self::new(ProblemCode::NotFound, text),
            ChatError::Inactive | ChatError::Busy | ChatError::NothingCame => {
                Self::new(ProblemCode::WrongState, text)
            }
            ChatError::Endless | ChatError::TimedOut => Self::new(ProblemCode::Unavailable, text),
            ChatError::Denied(denied) => denied.into(),
            ChatError::Assistant(error) => error.into(),
            ChatError::Workspace(error) => error.into(),
            ChatError::Proposals(error) => error.into(),
            ChatError::Storage(error) => error.into(),
        }
    }
}

impl From<ProposalsError> for Problem {
    fn from(error: ProposalsError) -> Self {
        let text = error.to_string();
        match error {
            ProposalsError::NotFound => Self::new(ProblemCode::NotFound, text),
            ProposalsError::Denied(denied) => denied.into(),
            ProposalsError::NotConfirmed(_) => Self::new(ProblemCode::DangerousCommand, text),
            ProposalsError::Decided(_) | ProposalsError::Changed => {
                Self::new(ProblemCode::WrongState, text)
            }
            ProposalsError::ReasonTooLong => Self::invalid("/reason", text),
            ProposalsError::Run(error) => error.into(),
            ProposalsError::Storage(error) => error.into(),
        }
    }
}
