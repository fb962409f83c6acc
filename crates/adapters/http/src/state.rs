//! What handlers work with.

use std::pin::Pin;
use std::sync::Arc;

use ipnet::IpNet;
use muster_agents::groups::Groups;
use muster_agents::metrics::History;
use muster_agents::{AgentTokens, Agents, Enrolment, Legacy, ManyAgents};
use muster_alerts::{Alerts, Channels, Rules, Windows};
use muster_assistant::chats::Chats;
use muster_assistant::proposals::Proposals;
use muster_assistant::tools::Toolbox;
use muster_assistant::workspace::Workspace;
use muster_assistant::{Assistant, Trials};
use muster_audit::Audit;
use muster_commands::approvals::Approvals;
use muster_commands::library::{SavedCommands, Scripts};
use muster_commands::local::LocalExecution;
use muster_commands::runs::Runs;
use muster_commands::schedules::Schedules;
use muster_commands::{Commands, Leases};
use muster_customers::{ApiKeys, Customers, EnrollmentTokens};
use muster_deployment_profiles::compliance::Compliance;
use muster_deployment_profiles::rollouts::Rollouts;
use muster_deployment_profiles::{Catalog, Exchange, OsImages, Profiles, SoftwareBody};
use muster_identity::Identity;
use muster_kernel::events::EventBus;
use muster_kernel::limits::RateLimiter;
use muster_kernel::{AgentId, Plan, ProblemCode, Timestamp};
use muster_settings::{Key, Settings};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::pages::Pages;

/// The use cases, as the server wired them.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are those of the use cases")]
pub struct AppState {
    pub identity: Arc<Identity>,
    pub customers: Customers,
    pub api_keys: Arc<ApiKeys>,
    pub enrollment_tokens: EnrollmentTokens,
    pub enrolment: Enrolment,
    pub legacy: Legacy,
    pub agents: Agents,
    pub metrics: History,
    pub many_agents: ManyAgents,
    pub groups: Groups,
    pub agent_tokens: Arc<dyn AgentTokens>,
    pub commands: Commands,
    pub local: LocalExecution,
    pub runs: Runs,
    pub approvals: Approvals,
    pub bus: Arc<dyn EventBus>,
    pub schedules: Schedules,
    pub leases: Leases,
    pub polls: Arc<dyn AgentPolls>,
    pub scripts: Arc<Scripts>,
    pub saved_commands: Arc<SavedCommands>,
    pub alerting: Alerting,
    pub deployment: Deployment,
    pub assistance: Assistance,
    pub settings: Arc<Settings>,
    pub audit: Audit,
    pub limiter: Arc<dyn RateLimiter>,
    pub web: Web,
    pub exposition: Arc<dyn Exposition>,
    pub pages: Arc<dyn Pages>,
    pub probes: Arc<dyn Probes>,
    /// Bytes of each stream of a command that are kept, and so the most that is answered.
    pub output_limit: usize,
    /// When this process started.
    pub started_at: Timestamp,
    pub clock: Arc<dyn muster_kernel::Clock>,
    /// Cancelled when the server is shutting down: streams that would go on end.
    pub closing: CancellationToken,
}

/// What people do with alerts and all that belongs to them.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are those of the use cases")]
pub struct Alerting {
    pub alerts: Alerts,
    pub rules: Rules,
    pub channels: Channels,
    pub windows: Windows,
}

/// What people do with the assistant.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are those of the use cases")]
pub struct Assistance {
    pub assistant: Assistant,
    pub trials: Trials,
    pub workspace: Workspace,
    pub chats: Chats,
    pub toolbox: Toolbox,
    /// What assistants proposed.
    pub kept: Proposals,
}

/// What people do to bring machines to where they are to be.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are those of the use cases")]
pub struct Deployment {
    pub profiles: Profiles,
    pub software: Catalog<SoftwareBody>,
    pub os_images: OsImages,
    pub rollouts: Rollouts,
    pub compliance: Compliance,
    pub exchange: Exchange,
}

impl AppState {
    /// The plan of everybody who has none of their own, and of a customer who is given none.
    pub(crate) fn default_plan(&self) -> Plan {
        Plan::parse(&self.settings.text(Key::DefaultPlan)).unwrap_or_default()
    }
}

/// An answer to a polled connection, or what to tell the agent instead.
pub type Exchanged = Pin<Box<dyn Future<Output = Result<Value, (ProblemCode, String)>>>>;

/// Agents whose connection is a row of requests: whoever speaks their protocol.
pub trait AgentPolls: Send + Sync + std::fmt::Debug {
    /// Takes what a request of the agent brings, and answers with what there is for it; the error
    /// says what to tell the agent, whose connection is over then.
    fn exchange(
        &self,
        agent_id: AgentId,
        peer_address: Option<String>,
        request: Value,
    ) -> Exchanged;
}

/// The figures of this process, for whoever watches it.
pub trait Exposition: Send + Sync + std::fmt::Debug {
    /// In Prometheus' text format.
    fn render(&self) -> String;
}

/// How something is that the server needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// It answers.
    Healthy,
    /// It does not.
    Unhealthy,
    /// The server does without.
    NotConfigured,
}

/// How something is, when it has answered or had the time to.
pub type Probed<'a> = Pin<Box<dyn Future<Output = Probe> + Send + 'a>>;

/// Asks what the server needs for a sign of life.
pub trait Probes: Send + Sync + std::fmt::Debug {
    /// The database.
    fn database(&self) -> Probed<'_>;

    /// Redis.
    fn redis(&self) -> Probed<'_>;
}

/// How this installation is reached.
#[derive(Debug, Clone, Default)]
pub struct Web {
    /// What agents and links are told, without a slash at its end.
    pub public_url: String,
    /// The proxies in front, whose word counts about where requests come from.
    pub trusted_proxies: Vec<IpNet>,
    /// Other origins whose pages may use the API, such as `https://panel.example.org`.
    pub origins: Vec<String>,
}

impl Web {
    /// Whether pages of `origin` may use the API.
    pub fn allows(&self, origin: &str) -> bool {
        self.own_origin() == Some(origin) || self.origins.iter().any(|known| known == origin)
    }

    /// Whether browsers reach it by TLS, and should by nothing else.
    pub fn is_https(&self) -> bool {
        self.public_url.starts_with("https://")
    }

    /// Scheme, host and port of the public address.
    fn own_origin(&self) -> Option<&str> {
        let host = self.public_url.find("://")? + 3;
        let path = self.public_url.get(host..)?.find('/');
        self.public_url.get(..path.map_or(self.public_url.len(), |path| host + path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_our_own_and_of_named_origins_are_allowed_and_of_no_others() {
        let web = Web {
            public_url: "https://muster.example.org:8443/rmm".into(),
            origins: vec!["https://panel.example.org".into()],
            ..Web::default()
        };
        assert!(web.allows("https://muster.example.org:8443"));
        assert!(web.allows("https://panel.example.org"));
        for other in [
            "https://muster.example.org",
            "http://muster.example.org:8443",
            "https://panel.example.org.evil.example",
            "null",
            "",
        ] {
            assert!(!web.allows(other), "{other}");
        }
    }
}
