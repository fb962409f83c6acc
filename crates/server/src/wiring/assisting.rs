//! The assistant, and the language model that the settings name at the moment.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use muster_assistant::{
    Access, Assistant, BudgetInMemory, Configuration, ConsultationPorts, Payer, Plans, Provider,
    Trials,
};
use muster_customers::CustomerRepository;
use muster_http::Assistance;
use muster_kernel::{Plan, StorageError, TenantScope};
use muster_openai::{OpenAi, Patience};
use muster_settings::{Key, Settings};

use super::Base;
use super::work::Work;

pub(super) fn assistance(
    base: &Base,
    work: &Work,
    settings: &Arc<Settings>,
) -> anyhow::Result<Assistance> {
    let model = OpenAi::new(Patience::default()).context("the HTTP client of the assistant")?;
    let plans = KnownPlans { customers: work.customers.clone(), settings: settings.clone() };
    let ports = ConsultationPorts {
        model: Arc::new(model),
        configuration: Arc::new(SettingsModel(settings.clone())),
        budget: Arc::new(BudgetInMemory::default()),
        plans: Arc::new(plans),
        clock: base.clock.clone(),
    };
    let agents = work.agents.clone();
    Ok(Assistance {
        assistant: Assistant::new(ports, agents.clone()),
        trials: Trials::new(work.commands.clone(), agents),
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
