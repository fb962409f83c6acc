//! The assistant with everything that it needs, in memory.
#![allow(clippy::allow_attributes, reason = "not every test uses all of it")]
#![allow(dead_code, reason = "not every test uses all of it")]

pub(crate) mod talk;

use std::sync::Arc;

use async_trait::async_trait;
use muster_agents::testing::{FakeAgents, candidate};
use muster_agents::{Enrol, Registration, RegistrationRequest};
use muster_assistant::testing::{FakeConfiguration, FakeLog, FakeModel, FakePlans};
use muster_assistant::{Assistant, BudgetInMemory, ConsultationPorts, Trials};
use muster_commands::approvals::Desk;
use muster_commands::testing::approvals::FakeApprovals;
use muster_commands::testing::{FakeCourier, FakeFeed, FakeLedger};
use muster_commands::{Commands, CommandsPorts, DangerPolicies, Limits};
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, CustomerId, DangerPolicy, Secret, StorageError, TokenHash, TokenKind,
};
use serde_json::{Value, json};

/// Every customer lets dangerous commands through.
#[derive(Debug)]
struct AllowAll;

#[async_trait]
impl DangerPolicies for AllowAll {
    async fn danger_policy(&self, _: CustomerId) -> Result<DangerPolicy, StorageError> {
        Ok(DangerPolicy::Allow)
    }
}

pub(crate) struct House {
    pub(crate) model: Arc<FakeModel>,
    pub(crate) configuration: Arc<FakeConfiguration>,
    pub(crate) plans: Arc<FakePlans>,
    pub(crate) budget: Arc<BudgetInMemory>,
    pub(crate) log: Arc<FakeLog>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) agents: Arc<FakeAgents>,
    pub(crate) courier: Arc<FakeCourier>,
    pub(crate) ledger: Arc<FakeLedger>,
    pub(crate) assistant: Assistant,
    pub(crate) trials: Trials,
    token: TokenHash,
    pub(crate) customer: CustomerId,
    entropy: Arc<SeededEntropy>,
}

impl House {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(FakeClock::default());
        let entropy = Arc::new(SeededEntropy::new(42));
        let (model, agents) = (Arc::new(FakeModel::default()), Arc::new(FakeAgents::default()));
        let (configuration, plans): (Arc<FakeConfiguration>, Arc<FakePlans>) = Default::default();
        let budget = Arc::new(BudgetInMemory::default());
        let log = Arc::new(FakeLog::default());
        let courier = Arc::new(FakeCourier::default());
        let ledger = Arc::new(FakeLedger::default());
        let approvals = Arc::new(FakeApprovals::default());
        let desk = Desk::new(approvals, Arc::new(AllowAll), clock.clone(), entropy.clone());
        let ports = CommandsPorts {
            ledger: ledger.clone(),
            archive: ledger.clone(),
            agents: agents.clone(),
            courier: courier.clone(),
            feed: Arc::new(FakeFeed::default()),
            desk,
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let second = std::time::Duration::from_secs(1);
        let limits = Limits { default_timeout: second, max_timeout: second };
        let commands = Commands::new(ports, limits);
        let ports = ConsultationPorts {
            model: model.clone(),
            configuration: configuration.clone(),
            budget: budget.clone(),
            plans: plans.clone(),
            log: log.clone(),
            clock: clock.clone(),
        };
        let customer = CustomerId::new(&*clock, &*entropy);
        let token = Secret::draw(TokenKind::Enrollment, &*entropy).hash();
        agents.allow(token, customer);
        Self {
            assistant: Assistant::new(ports, agents.clone()),
            trials: Trials::new(commands, agents.clone()),
            model,
            configuration,
            plans,
            budget,
            log,
            clock,
            agents,
            courier,
            ledger,
            token,
            customer,
            entropy,
        }
    }

    /// A machine of the customer's.
    pub(crate) async fn machine(&self, os: &str) -> AgentId {
        let mut candidate = candidate("web-1", None, &*self.clock, &*self.entropy);
        candidate.registration = Registration::try_from(RegistrationRequest {
            hostname: "web-1".to_owned(),
            os: Some(os.to_owned()),
            os_type: Some("linux".to_owned()),
            capabilities: vec!["shell:bash".to_owned(), "shell:sh".to_owned()],
            ..RegistrationRequest::default()
        })
        .unwrap();
        self.agents.enrol(self.token.into(), candidate).await.unwrap()
    }
}

/// What a model answers that proposes `command` and calls it safe.
pub(crate) fn proposing(shell: &str, command: &str) -> Value {
    json!({
        "command": command,
        "explanation": "It lists files.",
        "parameters": [],
        "safety_level": "safe",
        "safety_reasons": [],
        "estimated_execution_time": "1-3 seconds",
        "shell_type": shell,
    })
}
