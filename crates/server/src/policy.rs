//! What the settings say about accounts, and about what is kept.

use std::sync::Arc;

use chrono::TimeDelta;
use muster_agents::metrics::{Keeping, KeepingPolicy};
use muster_identity::{AccountPolicy, Requirement};
use muster_settings::{Key, Settings};

/// The settings, as identity and metrics ask for them.
#[derive(Debug)]
pub(crate) struct SettingsPolicy(Arc<Settings>);

impl SettingsPolicy {
    pub(crate) const fn new(settings: Arc<Settings>) -> Self {
        Self(settings)
    }
}

impl AccountPolicy for SettingsPolicy {
    fn registration_is_open(&self) -> bool {
        self.0.is_on(Key::RegistrationOpen)
    }

    fn second_factor(&self) -> Requirement {
        // A value that nobody knows asks for too much rather than for too little.
        let text = self.0.text(Key::SecondFactorRequired);
        Requirement::parse(&text).unwrap_or(Requirement::Everybody)
    }

    fn provider_registers(&self) -> bool {
        self.0.is_on(Key::OidcRegistersUsers)
    }
}

impl KeepingPolicy for SettingsPolicy {
    fn keeping(&self) -> Keeping {
        let number = |key| i64::try_from(self.0.number(key)).unwrap_or(i64::from(u16::MAX));
        Keeping {
            samples: TimeDelta::hours(number(Key::MetricsSampleHours)),
            five_minutes: TimeDelta::days(number(Key::MetricsFiveMinuteDays)),
            hours: TimeDelta::days(number(Key::MetricsHourDays)),
        }
    }
}
