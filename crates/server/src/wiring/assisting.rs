//! The assistant, and the language model that the settings name at the moment.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use muster_assistant::chats::{Chats, ChatsPorts};
use muster_assistant::proposals::{Proposals, ProposalsPorts, RunsBench};
use muster_assistant::tools::{KnownFleet, KnownFleetPorts, Toolbox};
use muster_assistant::workspace::{Workspace, WorkspacePorts};
use muster_assistant::{
    Access, Assistant, Configuration, ConsultationPorts, Payer, Plans, Provider, Trials,
};
use muster_customers::CustomerRepository;
use muster_http::Assistance;
use muster_kernel::{Plan, StorageError, TenantScope};
use muster_openai::{OpenAi, Patience};
use muster_sea_orm::SeaAssistants;
use muster_settings::{Key, Settings};

use super::Base;
use super::measuring::Measuring;
use super::registry::Registry;
use super::work::Work;

pub(super) fn assistance(
    base: &Base,
    work: &Work,
    settings: &Arc<Settings>,
    reading: (&Registry, &Measuring),
) -> anyhow::Result<Assistance> {
    let model = OpenAi::new(Patience::default()).context("the HTTP client of the assistant")?;
    let plans = KnownPlans { customers: work.customers.clone(), settings: settings.clone() };
    let repository = Arc::new(SeaAssistants::new(base.database.clone()));
    let ports = ConsultationPorts {
        model: Arc::new(model),
        configuration: Arc::new(SettingsModel(settings.clone())),
        budget: repository.clone(),
        log: repository.clone(),
        plans: Arc::new(plans),
        clock: base.clock.clone(),
    };
    let assistant = Assistant::new(ports, work.agents.clone());
    let trials = Trials::new(work.commands.clone(), work.agents.clone());
    let workspace = Workspace::new(WorkspacePorts {
        assistants: repository.clone(),
        projects: repository.clone(),
        agents: work.agents.clone(),
        clock: base.clock.clone(),
        entropy: base.entropy.clone(),
    });
    let (runs, targets) = (work.runs.clone(), work.targets.clone());
    let kept = Proposals::new(ProposalsPorts {
        repository: repository.clone(),
        bench: Arc::new(RunsBench::new(runs, targets, work.workshop.clone())),
        bus: work.bus.clone(),
        clock: base.clock.clone(),
        entropy: base.entropy.clone(),
    });
    let toolbox = Toolbox::new(Arc::new(fleet(base, work, reading)), kept.clone());
    let ports = ChatsPorts {
        repository,
        workspace: workspace.clone(),
        toolbox: toolbox.clone(),
        proposals: kept.clone(),
        bus: work.bus.clone(),
        clock: base.clock.clone(),
        entropy: base.entropy.clone(),
    };
    let chats = Chats::new(ports, &assistant);
    Ok(Assistance { assistant, trials, workspace, chats, toolbox, kept })
}

/// What models may read: by the same use cases that people read with.
fn fleet(base: &Base, work: &Work, reading: (&Registry, &Measuring)) -> KnownFleet {
    KnownFleet::new(KnownFleetPorts {
        agents: reading.0.agents.clone(),
        metrics: reading.1.history.clone(),
        commands: work.commands.clone(),
        scripts: work.scripts.clone(),
        clock: base.clock.clone(),
    })
}

/// The model that the settings name.
#[derive(Debug)]
struct SettingsModel(Arc<Settings>);

#[async_trait]
impl Configuration for SettingsModel {
    async fn access(&self) -> Result<Option<Access>, StorageError> {
        let settings = &self.0;
        let provider = Provider::parse(&settings.text(Key::AiProvider)).unwrap_or(Provider::Custom);
        let set = |key| Some(settings.text(key)).filter(|text| !text.is_empty());
        let base_url = set(Key::AiBaseUrl).or(provider.base_url().map(ToOwned::to_owned));
        let key = settings.secret(Key::AiApiKey).await?.filter(|key| !key.expose().is_empty());
        // A model of one's own may need no key.
        let (Some(base_url), true) = (base_url, key.is_some() || provider == Provider::Custom)
        else {
            return Ok(None);
        };
        let percent = u16::try_from(settings.number(Key::AiTemperaturePercent)).unwrap_or_default();
        let max_tokens = u32::try_from(settings.number(Key::AiMaxTokens)).unwrap_or(u32::MAX);
        Ok(Some(Access {
            provider,
            base_url: base_url.trim_end_matches('/').to_owned(),
            model: set(Key::AiModel).unwrap_or_else(|| provider.usual_model().to_owned()),
            key,
            max_tokens,
            temperature: Some(f32::from(percent) / 100.0),
        }))
    }
}

/// The plans of customers; people have the one of the installation.
#[derive(Debug)]
struct KnownPlans {
    customers: Arc<dyn CustomerRepository>,
    settings: Arc<Settings>,
}

#[async_trait]
impl Plans for KnownPlans {
    async fn plan(&self, payer: Payer) -> Result<Plan, StorageError> {
        let usual = || Plan::parse(&self.settings.text(Key::DefaultPlan)).unwrap_or_default();
        match payer {
            Payer::Customer(id) => {
                let customer = self.customers.find(&TenantScope::All, id).await?;
                Ok(customer.map_or_else(usual, |customer| customer.plan))
            }
            Payer::Person(_) => Ok(usual()),
        }
    }
}
