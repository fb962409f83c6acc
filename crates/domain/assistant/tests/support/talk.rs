//! Conversations with everything that they need, in memory.

use std::sync::Arc;

use muster_agents::testing::FakeAgents;
use muster_assistant::chats::{Chats, ChatsPorts};
use muster_assistant::proposals::Source;
use muster_assistant::proposals::{Proposal, Proposals, ProposalsPorts};
use muster_assistant::testing::{
    FakeBench, FakeChats, FakeConfiguration, FakeEntries, FakeFleet, FakeLog, FakeModel, FakePlans,
    FakeProposals,
};
use muster_assistant::tools::{Offer, Rights, ToolName, Toolbox};
use muster_assistant::workspace::{AssistantBody, ProjectBody, Workspace, WorkspacePorts};
use muster_assistant::{Assistant, BudgetInMemory, ConsultationPorts};
use muster_kernel::testing::{FakeClock, SeededEntropy, SilentBus, permit};
use muster_kernel::{AgentId, CustomerId};
use serde_json::{Value, json};

pub(crate) struct Hall {
    pub(crate) model: Arc<FakeModel>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) fleet: Arc<FakeFleet>,
    pub(crate) bench: Arc<FakeBench>,
    pub(crate) talks: Arc<FakeChats>,
    pub(crate) kept: Arc<FakeProposals>,
    pub(crate) assistants: Arc<FakeEntries<AssistantBody>>,
    pub(crate) projects: Arc<FakeEntries<ProjectBody>>,
    pub(crate) chats: Chats,
    pub(crate) proposals: Proposals,
    pub(crate) toolbox: Toolbox,
    pub(crate) customer: CustomerId,
    entropy: Arc<SeededEntropy>,
}

impl Hall {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(FakeClock::default());
        let entropy = Arc::new(SeededEntropy::new(5));
        let model = Arc::new(FakeModel::default());
        let assistant = Assistant::new(
            ConsultationPorts {
                model: model.clone(),
                configuration: Arc::new(FakeConfiguration::default()),
                budget: Arc::new(BudgetInMemory::default()),
                plans: Arc::new(FakePlans::default()),
                log: Arc::new(FakeLog::default()),
                clock: clock.clone(),
            },
            Arc::new(FakeAgents::default()),
        );
        let (fleet, bench): (Arc<FakeFleet>, Arc<FakeBench>) = Default::default();
        let (talks, kept): (Arc<FakeChats>, Arc<FakeProposals>) = Default::default();
        let assistants: Arc<FakeEntries<AssistantBody>> = Arc::default();
        let projects: Arc<FakeEntries<ProjectBody>> = Arc::default();
        let workspace = Workspace::new(WorkspacePorts {
            assistants: assistants.clone(),
            projects: projects.clone(),
            agents: Arc::new(FakeAgents::default()),
            clock: clock.clone(),
            entropy: entropy.clone(),
        });
        let proposals = Proposals::new(ProposalsPorts {
            repository: kept.clone(),
            bench: bench.clone(),
            bus: Arc::new(SilentBus),
            clock: clock.clone(),
            entropy: entropy.clone(),
        });
        let toolbox = Toolbox::new(fleet.clone(), proposals.clone());
        let ports = ChatsPorts {
            repository: talks.clone(),
            workspace,
            toolbox: toolbox.clone(),
            proposals: proposals.clone(),
            bus: Arc::new(SilentBus),
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let chats = Chats::new(ports, &assistant);
        let customer = CustomerId::new(&*clock, &*entropy);
        Self {
            model,
            clock,
            fleet,
            bench,
            talks,
            kept,
            assistants,
            projects,
            chats,
            proposals,
            toolbox,
            customer,
            entropy,
        }
    }

    /// A machine of the customer's that calls itself this.
    pub(crate) fn machine(&self, hostname: &str) -> AgentId {
        let id = AgentId::new(&*self.clock, &*self.entropy);
        self.bench.machines.lock().insert(id, self.customer);
        self.fleet.agents.lock().insert(id, json!({ "id": id, "hostname": hostname }));
        id
    }

    /// What a model writes that proposes this and calls it safe.
    pub(crate) fn command(agent: AgentId, command: &str) -> Value {
        json!({
            "agent_id": agent, "command": command, "shell_type": "bash",
            "explanation": "It does what it says.", "safety_level": "safe",
        })
    }

    /// A proposal on a new machine.
    pub(crate) async fn proposed(&self, command: &str) -> Proposal {
        let agent = self.machine("web-1");
        let rights = Rights::of(&permit(9));
        let tools = ToolName::ALL.iter().copied().collect();
        let source = Source { name: "Muster".to_owned(), ..Source::default() };
        let offer = Offer { rights: &rights, source: &source, chat: None, tools: &tools };
        let arguments = Self::command(agent, command);
        let given = self.toolbox.give(offer, "propose_command", &arguments).await.unwrap();
        given.proposal.unwrap()
    }
}
