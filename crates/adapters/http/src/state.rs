//! What handlers work with.

use std::sync::Arc;

use muster_agents::{AgentTokens, Agents, Enrolment};
use muster_commands::Commands;
use muster_customers::{Customers, EnrollmentTokens};
use muster_identity::Identity;
use muster_kernel::Timestamp;
use tokio_util::sync::CancellationToken;

/// The use cases, as the server wired them.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are those of the use cases")]
pub struct AppState {
    pub identity: Identity,
    pub customers: Customers,
    pub enrollment_tokens: EnrollmentTokens,
    pub enrolment: Enrolment,
    pub agents: Agents,
    pub agent_tokens: Arc<dyn AgentTokens>,
    pub commands: Commands,
    /// Bytes of each stream of a command that are kept, and so the most that is answered.
    pub output_limit: usize,
    /// When this process started.
    pub started_at: Timestamp,
    pub clock: Arc<dyn muster_kernel::Clock>,
    /// Cancelled when the server is shutting down: streams that would go on end.
    pub closing: CancellationToken,
}
