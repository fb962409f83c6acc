//! What the settings say about accounts.

use std::sync::Arc;

use muster_identity::{AccountPolicy, Requirement};
use muster_settings::{Key, Settings};

/// The settings, as identity asks for them.
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
