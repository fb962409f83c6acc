//! The settings there are.

use muster_kernel::{Audited, Place, Plan};
use serde_json::{Value, json};
use uuid::Uuid;

/// What a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text of at most this many characters.
    Text(usize),
    /// The address of a service of at most this many characters, or nothing: `https://…`, or
    /// `http://` on this machine.
    Address(usize),
    /// A whole number from the first to the second.
    Number(u64, u64),
    /// `true` or `false`.
    Boolean,
    /// One of these.
    Choice(&'static [&'static str]),
    /// A secret of at most this many characters, never shown again.
    Secret(usize),
}

/// What stands for a secret that is set, and written back leaves it as it is.
pub const MASK: &str = "********";

/// A value that a setting does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {rule}")]
pub struct InvalidSetting {
    /// The setting.
    pub key: String,
    /// What is expected.
    pub rule: String,
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $text:literal, $kind:expr, $default:expr;)+) => {
        /// A setting.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Key { $($(#[doc = $doc])+ $name),+ }

        impl Key {
            /// Every setting.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name in the API and the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// What it takes.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => $kind),+ }
            }

            /// What it is until somebody sets it, as it would be kept.
            pub const fn default_text(self) -> &'static str {
                match self { $(Self::$name => $default),+ }
            }

            /// What it is for.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii()),+ }
            }

            const fn number(self) -> u128 {
                match self { $(Self::$name => $number),+ }
            }
        }
    };
}

const PLANS: &[&str] =
    &[Plan::Free.as_str(), Plan::Pro.as_str(), Plan::Team.as_str(), Plan::Enterprise.as_str()];

// A setting, its number (never used again for another), its name, what it takes, and what it is
// until somebody sets it.
settings! {
    /// Whether people may register by themselves, to be approved by an admin.
    RegistrationOpen = 1, "registration_open", Kind::Boolean, "true";
    /// Who has to have a second factor.
    SecondFactorRequired = 2, "second_factor_required",
        Kind::Choice(&["nobody", "admins", "everybody"]), "nobody";
    /// The plan of people, and of customers that name none.
    DefaultPlan = 3, "default_plan", Kind::Choice(PLANS), "enterprise";
    /// Whether requests are limited by plan.
    RateLimits = 4, "rate_limits", Kind::Boolean, "true";
    /// For how many days audit entries are kept; 0 for ever.
    AuditRetentionDays = 5, "audit_retention_days", Kind::Number(0, 36_500), "0";
    /// Single sign-on: the provider's issuer, to the letter as its discovery document has it, with
    /// the slash at its end if there is one.
    OidcIssuer = 6, "oidc_issuer", Kind::Address(500), "";
    /// Single sign-on: the client id that the provider gave Muster.
    OidcClientId = 7, "oidc_client_id", Kind::Text(500), "";
    /// Single sign-on: the client secret that the provider gave Muster.
    OidcClientSecret = 8, "oidc_client_secret", Kind::Secret(500), "";
    /// Single sign-on: whether somebody whom the provider vouches for and nobody knows yet is
    /// registered, to be approved by an admin.
    OidcRegistersUsers = 9, "oidc_registers_users", Kind::Boolean, "true";
    /// For how many days commands that have ended are kept, with their output; 0 for ever.
    CommandRetentionDays = 10, "command_retention_days", Kind::Number(0, 36_500), "0";
    /// After how many days the output of commands is kept compressed, which nobody who reads it
    /// notices; 0 for never.
    CommandsCompressAfterDays = 11, "commands_compress_after_days", Kind::Number(0, 36_500), "7";
    /// For how many hours every heartbeat of a machine is kept.
    MetricsSampleHours = 37, "metrics_sample_hours", Kind::Number(6, 168), "24";
    /// For how many days it is kept what five minutes of heartbeats came to.
    MetricsFiveMinuteDays = 38, "metrics_five_minute_days", Kind::Number(2, 366), "30";
    /// For how many days it is kept what an hour of heartbeats came to.
    MetricsHourDays = 39, "metrics_hour_days", Kind::Number(2, 3660), "365";
    /// Whether alerts may be sent to this machine and to private networks, and without TLS there.
    AlertsPrivateAddresses = 42, "alerts_private_addresses", Kind::Boolean, "false";
    /// For how many days alerts are kept after they were resolved.
    AlertRetentionDays = 43, "alert_retention_days", Kind::Number(1, 36_500), "365";
    /// The assistant: whose language model is asked; of `custom`, `ai_base_url` says where it is.
    AiProvider = 50, "ai_provider", Kind::Choice(&["openai", "openrouter", "custom"]), "openai";
    /// The assistant: where the provider's API is, if not where it usually is. Whatever
    /// has an API like that of `openai` will do: Azure, Bedrock, Ollama, vLLM.
    AiBaseUrl = 51, "ai_base_url", Kind::Address(500), "";
    /// The assistant: which model is asked; the provider's usual one when empty.
    AiModel = 52, "ai_model", Kind::Text(200), "";
    /// The assistant: the key that the provider gave.
    AiApiKey = 53, "ai_api_key", Kind::Secret(512), "";
    /// The assistant: how long an answer may be, in tokens.
    AiMaxTokens = 54, "ai_max_tokens", Kind::Number(16, 32_768), "1000";
    /// The assistant: how freely the model chooses its words, in hundredths of what providers call
    /// temperature.
    AiTemperaturePercent = 55, "ai_temperature_percent", Kind::Number(0, 200), "10";
}

impl Key {
    /// Reads what [`Key::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|key| key.as_str() == text)
    }

    /// Whether its value is never shown.
    pub const fn is_secret(self) -> bool {
        matches!(self.kind(), Kind::Secret(_))
    }

    /// What its value is sealed for.
    pub fn place(self) -> String {
        format!("settings/{}", self.as_str())
    }

    /// The text that is kept for a value from the API.
    ///
    /// # Errors
    /// [`InvalidSetting`] says what it takes instead.
    pub fn check(self, value: &Value) -> Result<String, InvalidSetting> {
        let refuse = |rule: String| InvalidSetting { key: self.as_str().to_owned(), rule };
        match (self.kind(), value) {
            (Kind::Boolean, Value::Bool(yes)) => Ok(yes.to_string()),
            (Kind::Boolean, _) => Err(refuse("true or false is expected".into())),
            (Kind::Number(least, most), value) => value
                .as_u64()
                .filter(|number| (least..=most).contains(number))
                .map(|number| number.to_string())
                .ok_or_else(|| {
                    refuse(format!("a whole number from {least} to {most} is expected"))
                }),
            (Kind::Choice(choices), value) => value
                .as_str()
                .filter(|text| choices.contains(text))
                .map(ToOwned::to_owned)
                .ok_or_else(|| refuse(format!("one of {} is expected", choices.join(", ")))),
            (Kind::Address(most), value) => value
                .as_str()
                .map(str::trim)
                .filter(|text| text.len() <= most && (text.is_empty() || is_address(text)))
                .map(ToOwned::to_owned)
                .ok_or_else(|| {
                    refuse("an address that begins with https:// is expected (http:// is for this machine's own)".into())
                }),
            (Kind::Text(most) | Kind::Secret(most), value) => value
                .as_str()
                .map(str::trim)
                .filter(|text| text.chars().count() <= most && !text.chars().any(char::is_control))
                .map(ToOwned::to_owned)
                .ok_or_else(|| refuse(format!("at most {most} printable characters are expected"))),
        }
    }

    /// The value that the API shows for a kept text; `None` for a secret.
    pub fn show(self, text: &str) -> Option<Value> {
        match self.kind() {
            Kind::Boolean => Some(json!(text == "true")),
            Kind::Number(..) => Some(json!(text.parse::<u64>().unwrap_or(0))),
            Kind::Choice(_) | Kind::Text(_) | Kind::Address(_) => Some(json!(text)),
            Kind::Secret(_) => None,
        }
    }
}

/// Whether nobody on the way to it can read or change what is said.
fn is_address(text: &str) -> bool {
    let clean = !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@');
    let host = |rest: &str| rest.split(['/', ':', '?', '#']).next().unwrap_or_default().to_owned();
    let here = |rest: &str| {
        ["127.0.0.1", "localhost"].contains(&host(rest).as_str()) || rest.starts_with("[::1]")
    };
    let far = text.strip_prefix("https://").is_some_and(|rest| !host(rest).is_empty());
    clean && (far || text.strip_prefix("http://").is_some_and(here))
}

/// A setting and what it is, for the audit log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<'a>(pub(crate) Key, pub(crate) Option<&'a str>);

impl Audited for Kept<'_> {
    fn place(&self) -> Place {
        Place { kind: "setting", id: Uuid::from_u128(self.0.number()), customer_id: None }
    }

    fn facts(&self) -> Value {
        let value = match (self.0.is_secret(), self.1) {
            (true, Some(_)) => Some(json!("(secret)")),
            (false, Some(text)) => self.0.show(text),
            (_, None) => None,
        };
        json!({ "key": self.0.as_str(), "value": value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_the_setting_takes() {
        for key in Key::ALL {
            let shown = key.show(key.default_text()).unwrap_or_else(|| json!(""));
            assert_eq!(key.check(&shown).as_deref(), Ok(key.default_text()), "{key:?}");
            assert_eq!(Key::parse(key.as_str()), Some(*key));
            assert!(key.description().len() > 10);
        }
    }

    #[test]
    fn what_a_setting_does_not_take_is_refused_by_name() {
        let cases = [
            (Key::RegistrationOpen, json!("yes")),
            (Key::SecondFactorRequired, json!("some")),
            (Key::AuditRetentionDays, json!(-1)),
            (Key::AuditRetentionDays, json!(1.5)),
            (Key::OidcIssuer, json!("a\nb")),
            (Key::OidcClientSecret, json!(7)),
        ];
        for (key, value) in cases {
            assert_eq!(key.check(&value).unwrap_err().key, key.as_str(), "{value}");
        }
    }

    #[test]
    fn no_two_settings_share_a_number() {
        let numbers: std::collections::BTreeSet<_> = Key::ALL.iter().map(|k| k.number()).collect();
        assert_eq!(numbers.len(), Key::ALL.len());
    }
}
