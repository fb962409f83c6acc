//! Which rows of an older product keep Muster's rules, and which rule the others break.

use muster_agents::{Field, Registration, RegistrationRequest, dialect_name};
use muster_identity::{Email, Username};
use muster_kernel::Dialect;
use muster_sea_orm::{DexAgent, DexUser};
use serde_json::Value;

/// What a sign-in may cost, as bcrypt counts it. More than that takes longer than anybody waits.
const COSTS: std::ops::RangeInclusive<u32> = 4..=16;

/// An agent that may be written.
#[derive(Debug)]
pub(super) struct NewAgent {
    /// What it calls itself when it connects.
    pub(super) id: String,
    pub(super) registration: Registration,
    /// When it was last seen, in the older product's words.
    pub(super) last_seen: Option<String>,
}

/// A user who may be written.
#[derive(Debug)]
pub(super) struct NewUser {
    pub(super) username: Username,
    pub(super) email: Option<Email>,
    pub(super) password_hash: String,
}

/// The agent in this row, or why there is none.
pub(super) fn agent(row: DexAgent) -> Result<NewAgent, String> {
    let id = row.id.trim().to_owned();
    if id.is_empty() {
        return Err("id: it is empty".to_owned());
    }
    let request = RegistrationRequest {
        hostname: row.hostname,
        ip_address: row.ip,
        os: row.os,
        version: row.version,
        tags: tags(row.tags.as_deref())?,
        machine_id: Some(dialect_name(Dialect::DexAgents, &id)),
        dialect: Some(Dialect::DexAgents),
        ..RegistrationRequest::default()
    };
    let registration = Registration::try_from(request).map_err(|error| match error.field {
        Field::MachineId => "id: at most 190 printable characters".to_owned(),
        _ => error.to_string(),
    })?;
    Ok(NewAgent { id, registration, last_seen: row.last_seen })
}

/// The tags in a list of JSON; none where there is nothing.
fn tags(text: Option<&str>) -> Result<Vec<String>, String> {
    let text = text.map(str::trim).unwrap_or_default();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let list = serde_json::from_str(text).ok().and_then(|value| match value {
        Value::Null => Some(Vec::new()),
        // A text that was written as JSON twice.
        Value::String(inner) => serde_json::from_str(&inner).ok(),
        value => serde_json::from_value(value).ok(),
    });
    list.ok_or_else(|| "tags: a list of texts is expected, as JSON".to_owned())
}

/// The user in this row, or why there is none.
pub(super) fn user(row: DexUser) -> Result<NewUser, String> {
    if !row.is_active {
        return Err("is_active: they were switched off".to_owned());
    }
    let username = Username::parse(&row.username).map_err(|error| error.to_string())?;
    let email = row.email.as_deref().map(str::trim).filter(|email| !email.is_empty());
    let email = email.map(Email::parse).transpose().map_err(|error| error.to_string())?;
    let password_hash = row.password_hash.unwrap_or_default().trim().to_owned();
    if !is_bcrypt(&password_hash) {
        return Err("password_hash: a hash by bcrypt is expected".to_owned());
    }
    Ok(NewUser { username, email, password_hash })
}

/// Whether it is a hash that a password can be held against.
fn is_bcrypt(hash: &str) -> bool {
    let parts: Vec<_> = hash.split('$').collect();
    let ["", "2a" | "2b" | "2y", cost, rest] = parts[..] else { return false };
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    cost.len() == 2
        && cost.parse().is_ok_and(|cost: u32| COSTS.contains(&cost))
        && rest.len() == 53
        && rest.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2b$12$Zk3uRw9pQ1xT7vLm0sYbHurfaoDdcUgBMIyKq5Lqg5N5majDLOxVW";

    fn ann() -> DexUser {
        let (email, password_hash) = (Some("Ann@Example.org".into()), Some(HASH.into()));
        DexUser { username: "Ann".into(), email, password_hash, is_active: true }
    }

    fn machine() -> DexAgent {
        let (id, hostname) = ("agent-1".into(), "DESKTOP-1".into());
        DexAgent { id, hostname, os: Some("Windows 11".into()), ..DexAgent::default() }
    }

    #[test]
    fn an_agent_keeps_its_id_and_its_tags() {
        let tags = Some(r#"["test", "development"]"#.to_owned());
        let found = agent(DexAgent { tags, ..machine() }).unwrap();
        assert_eq!((&*found.id, &*found.registration.hostname), ("agent-1", "DESKTOP-1"));
        assert_eq!(found.registration.machine_id.as_deref(), Some("dexagents:agent-1"));
        assert!(found.registration.tags.iter().eq(["development", "test"]));
        assert_eq!(found.registration.os_type, muster_agents::OsType::Windows);
    }

    #[test]
    fn tags_are_a_list_however_often_they_were_written_as_json() {
        let cases: [(&str, &[&str]); 5] =
            [("", &[]), ("null", &[]), ("[]", &[]), (r#"["a"]"#, &["a"]), (r#""[\"a\"]""#, &["a"])];
        for (text, expected) in cases {
            assert_eq!(tags(Some(text)).unwrap(), expected, "{text}");
        }
        for text in ["a, b", "{\"a\": 1}", "[1]", "7", "\"a\""] {
            assert!(tags(Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn what_breaks_a_rule_is_named_by_its_column() {
        let refusal = |row: DexAgent| agent(row).unwrap_err();
        assert!(refusal(DexAgent { id: " ".into(), ..machine() }).starts_with("id:"));
        assert!(refusal(DexAgent { id: "x".repeat(200), ..machine() }).starts_with("id:"));
        assert!(
            refusal(DexAgent { hostname: String::new(), ..machine() }).starts_with("hostname:")
        );
        assert!(refusal(DexAgent { tags: Some("x".into()), ..machine() }).starts_with("tags:"));
        let refusal = |row: DexUser| user(row).unwrap_err();
        assert!(refusal(DexUser { username: "a b".into(), ..ann() }).starts_with("username:"));
        assert!(refusal(DexUser { email: Some("ann".into()), ..ann() }).starts_with("email:"));
        assert!(refusal(DexUser { is_active: false, ..ann() }).starts_with("is_active:"));
        assert!(refusal(DexUser { password_hash: None, ..ann() }).starts_with("password_hash:"));
    }

    #[test]
    fn only_a_hash_by_bcrypt_is_taken_and_none_that_takes_for_ever() {
        assert_eq!(user(ann()).unwrap().password_hash, HASH);
        let slow = HASH.replace("$12$", "$31$");
        let cut = HASH.trim_end_matches('W');
        let wrong = ["", "secret", "$1$salt$hash", "$2b$12$", &*slow, cut];
        for hash in wrong {
            assert!(!is_bcrypt(hash), "{hash}");
        }
    }
}
