//! Ways to tell people.

use muster_kernel::{AlertChannelId, Audited, CustomerId, Place, Sealed, Secret, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::InvalidAlert;
use crate::rule::name;

/// The longest address of any kind, in bytes.
const MAX_ADDRESS: usize = 2000;
/// How many people one channel writes to.
const MAX_RECIPIENTS: usize = 50;

/// Whose chat it is: each wants its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatFlavour {
    /// Slack.
    Slack,
    /// Mattermost.
    Mattermost,
    /// Microsoft Teams.
    Teams,
    /// Discord.
    Discord,
}

/// How the way to a mail server is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// From the first byte, as on port 465.
    Implicit,
    /// From the command `STARTTLS` on, as on port 587; without it nothing is sent.
    #[default]
    Starttls,
    /// Not at all; only to private addresses, where those are allowed.
    None,
}

/// What kind of a way, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChannelKind {
    /// An HTTP request with signed JSON.
    Webhook {
        /// Where to.
        url: String,
    },
    /// A message in a chat. Whoever knows its address may write there, so the address is a secret.
    Chat {
        /// Whose chat it is.
        flavour: ChatFlavour,
        /// The host in the address.
        host: String,
    },
    /// An e-mail.
    Email {
        /// The mail server.
        host: String,
        /// Its port.
        port: u16,
        /// How the way to it is protected.
        tls: SmtpTls,
        /// Who signs in there.
        username: Option<String>,
        /// Whom it is from.
        from: String,
        /// Whom it is for.
        to: Vec<String>,
    },
}

impl ChannelKind {
    /// The name in the API.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Chat { .. } => "chat",
            Self::Email { .. } => "email",
        }
    }
}

/// A way to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its id.
    pub id: AlertChannelId,
    /// Whose it is; with `None` it is for the rules of all customers.
    pub customer_id: Option<CustomerId>,
    /// What people call it.
    pub name: String,
    /// Where it leads.
    pub kind: ChannelKind,
    /// What a webhook is signed with, the address of a chat or the password at a mail server,
    /// sealed for [`Channel::secrets_place`].
    pub secret: Option<Sealed>,
    /// Whether anything is sent.
    pub enabled: bool,
    /// How often it was changed, and one.
    pub version: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Channel {
    /// What the secret of the channel `id` is sealed for.
    pub fn secrets_place(id: AlertChannelId) -> String {
        format!("alert_channels/{id}/secrets")
    }
}

impl Audited for Channel {
    fn place(&self) -> Place {
        Place { kind: "alert_channel", id: self.id.as_uuid(), customer_id: self.customer_id }
    }

    fn facts(&self) -> Value {
        // Tokens are often a part of an address.
        let kind = match &self.kind {
            ChannelKind::Webhook { url } => json!({ "kind": "webhook", "host": host(url) }),
            other => json!(other),
        };
        json!({ "name": self.name, "leads_to": kind, "enabled": self.enabled })
    }
}

/// A way in the words of whoever asks.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of ChannelKind")]
pub enum ChannelWish {
    Webhook {
        url: String,
    },
    Chat {
        flavour: ChatFlavour,
        url: Option<Secret>,
    },
    Email {
        host: String,
        port: u16,
        tls: SmtpTls,
        username: Option<String>,
        password: Option<Secret>,
        from: String,
        to: Vec<String>,
    },
}

impl ChannelWish {
    /// Where it is to lead, and the secret that was given with it. A chat whose address nobody gives
    /// keeps the one that it has.
    ///
    /// # Errors
    /// [`InvalidAlert`] names the field and what is expected there.
    pub fn check(
        self,
        before: Option<&ChannelKind>,
    ) -> Result<(ChannelKind, Option<Secret>), InvalidAlert> {
        match self {
            Self::Webhook { url } => {
                check_url(&url)?;
                Ok((ChannelKind::Webhook { url }, None))
            }
            Self::Chat { flavour, url: Some(url) } => {
                let host = check_url(url.expose())?;
                Ok((ChannelKind::Chat { flavour, host }, Some(url)))
            }
            Self::Chat { flavour, url: None } => match before {
                Some(ChannelKind::Chat { host, .. }) => {
                    Ok((ChannelKind::Chat { flavour, host: host.clone() }, None))
                }
                _ => Err(InvalidAlert::new("url", "the address of the chat's webhook is expected")),
            },
            Self::Email { host, port, tls, username, password, from, to } => {
                check_host(&host)?;
                check_mailbox("from", &from)?;
                if !(1..=MAX_RECIPIENTS).contains(&to.len()) {
                    return Err(InvalidAlert::new("to", "1 to 50 addresses are expected"));
                }
                to.iter().try_for_each(|to| check_mailbox("to", to))?;
                let clean =
                    |text: &String| text.len() <= 200 && !text.chars().any(char::is_control);
                if !username.as_ref().is_none_or(clean) {
                    let rule = "at most 200 printable characters are expected";
                    return Err(InvalidAlert::new("username", rule));
                }
                Ok((ChannelKind::Email { host, port, tls, username, from, to }, password))
            }
        }
    }
}

/// A name that keeps the rules.
pub(crate) fn channel_name(text: &str) -> Result<String, InvalidAlert> {
    name(text)
}

/// The host of an address that may be one of a webhook.
fn check_url(url: &str) -> Result<String, InvalidAlert> {
    let rule = "an address such as https://hooks.example.org/… is expected, without a user name";
    let clean = url.len() <= MAX_ADDRESS
        && url.is_ascii()
        && !url.chars().any(|c| c.is_whitespace() || c.is_control());
    host(url).filter(|_| clean).ok_or_else(|| InvalidAlert::new("url", rule))
}

/// The host, and the port if there is one, of `http://…` or `https://…`.
fn host(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    (!host.is_empty() && !host.contains('@')).then(|| host.to_owned())
}

fn check_host(host: &str) -> Result<(), InvalidAlert> {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
    if (1..=253).contains(&host.len()) && host.chars().all(letter) {
        return Ok(());
    }
    Err(InvalidAlert::new("host", "the name or address of a mail server is expected"))
}

fn check_mailbox(field: &'static str, text: &str) -> Result<(), InvalidAlert> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | ',' | ';' | '"' | '\\');
    let good = text.len() <= 254
        && text.chars().all(plain)
        && text.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && !host.is_empty() && !host.contains('@')
        });
    if good { Ok(()) } else { Err(InvalidAlert::new(field, "an e-mail address is expected")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_lead_nowhere_or_elsewhere_are_refused() {
        for url in ["", "ftp://x", "https://", "https://u:p@x/", "https://a b/", "https://x/\n"] {
            let wish = ChannelWish::Webhook { url: url.into() };
            assert_eq!(wish.check(None).unwrap_err().field, "url", "{url}");
        }
        for to in ["", "ann", "ann@", "a@b@c", "ann@x\r\nBcc: z@x", "<a@b>"] {
            assert!(check_mailbox("to", to).is_err(), "{to:?}");
        }
    }

    #[test]
    fn the_address_of_a_chat_is_kept_apart_as_a_secret() {
        let url = Secret::from_text("https://hooks.example.org/T0/secret");
        let wish = ChannelWish::Chat { flavour: ChatFlavour::Slack, url: Some(url.clone()) };
        let (kind, secret) = wish.check(None).unwrap();
        assert!(!format!("{kind:?}").contains("secret"));
        assert_eq!(secret.unwrap().expose(), url.expose());
        let same = ChannelWish::Chat { flavour: ChatFlavour::Discord, url: None };
        assert!(same.clone().check(None).is_err());
        let (kind, secret) = same.check(Some(&kind)).unwrap();
        assert!(secret.is_none());
        assert!(matches!(kind, ChannelKind::Chat { host, .. } if host == "hooks.example.org"));
    }
}
