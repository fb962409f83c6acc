//! Sends alerts: by webhooks, into chats, as e-mails.
//!
//! Whoever makes a channel chooses an address, so what leaves here goes to public addresses alone,
//! unless an admin allows those of this network. That is looked at where it counts: the addresses
//! that a name was resolved to are the ones that are connected to, no redirect is followed, and no
//! proxy stands in between. See [`Reach`].

mod body;
mod email;
mod http;
mod reach;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_alerts::{Channel, ChannelKind, Delivery, Messenger, NotSent};
use muster_kernel::{Secret, Timestamp};

pub use http::sign;
pub use reach::Reach;

use email::Mailer;
use http::Hooks;

/// How long sending a message may take, all of it.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Says whether private addresses may be reached, at the moment that it is asked.
pub type AllowPrivate = Arc<dyn Fn() -> bool + Send + Sync>;

/// Sends messages through channels of every kind.
#[derive(Debug)]
pub struct Notifier {
    hooks: Hooks,
    mailer: Mailer,
}

impl Notifier {
    /// `allow_private` says whether private addresses may be reached.
    ///
    /// # Errors
    /// When the HTTP client can't be made.
    pub fn new(allow_private: AllowPrivate) -> Result<Self, reqwest::Error> {
        let reach = Reach::new(allow_private);
        Ok(Self { hooks: Hooks::new(&reach)?, mailer: Mailer::new(reach) })
    }

    async fn send_through(
        &self,
        channel: &Channel,
        secret: Option<&Secret>,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Option<u16>, NotSent> {
        match &channel.kind {
            ChannelKind::Webhook { url } => self.hooks.webhook(url, secret, delivery, now).await,
            ChannelKind::Chat { flavour, .. } => {
                let url = secret.ok_or_else(|| not_sent("the address of the chat is missing"))?;
                self.hooks.chat(*flavour, url, delivery).await
            }
            ChannelKind::Email { .. } => self.mailer.send(&channel.kind, secret, delivery).await,
        }
    }
}

#[async_trait]
impl Messenger for Notifier {
    async fn send(
        &self,
        channel: &Channel,
        secret: Option<&Secret>,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Option<u16>, NotSent> {
        let sending = self.send_through(channel, secret, delivery, now);
        tokio::time::timeout(TIMEOUT, sending)
            .await
            .unwrap_or_else(|_| Err(not_sent("no answer within 15 seconds")))
    }
}

fn not_sent(reason: impl Into<String>) -> NotSent {
    NotSent { status: None, reason: reason.into() }
}
