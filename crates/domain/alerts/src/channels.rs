//! What people do with channels.

use std::fmt::Write;
use std::sync::Arc;

use muster_kernel::{
    AlertChannelId, Clock, CustomerId, DeliveryId, Entropy, Page, PageRequest, Permit, Sealed,
    Secret, TenantScope, Vault, act,
};

use crate::channel::channel_name;
use crate::rules::{done, owner};
use crate::{
    AlertsError, Channel, ChannelKind, ChannelRepository, ChannelWish, Delivery,
    DeliveryRepository, DeliveryState, InvalidAlert, Message, Severity,
};

/// A channel, and the secret that its messages are signed with where it was just made.
#[derive(Debug)]
pub struct OpenedChannel {
    /// The channel.
    pub channel: Channel,
    /// What webhooks are signed with, shown this once.
    pub signing_secret: Option<Secret>,
}

/// What people do with channels.
#[derive(Debug, Clone)]
pub struct Channels {
    repository: Arc<dyn ChannelRepository>,
    deliveries: Arc<dyn DeliveryRepository>,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Channels {
    /// Made of its ports.
    pub fn new(
        repository: Arc<dyn ChannelRepository>,
        deliveries: Arc<dyn DeliveryRepository>,
        vault: Arc<dyn Vault>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { repository, deliveries, vault, clock, entropy }
    }

    /// Makes a channel.
    ///
    /// # Errors
    /// [`AlertsError::Invalid`], [`AlertsError::NotFound`] without such a customer.
    pub async fn create(
        &self,
        permit: &Permit<act::ManageAlertChannels>,
        customer_id: Option<CustomerId>,
        name: &str,
        enabled: bool,
        wish: ChannelWish,
    ) -> Result<OpenedChannel, AlertsError> {
        let customer_id = owner(permit.scope(), customer_id)?;
        let id = AlertChannelId::new(&*self.clock, &*self.entropy);
        let (kind, given) = wish.check(None)?;
        let signing_secret =
            matches!(kind, ChannelKind::Webhook { .. }).then(|| self.signing_secret());
        let now = self.clock.now();
        let channel = Channel {
            id,
            customer_id,
            name: channel_name(name)?,
            kind,
            secret: self.seal(id, signing_secret.as_ref().or(given.as_ref())).await?,
            enabled,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        if !self.repository.create(channel.clone(), permit.author()).await? {
            return Err(AlertsError::NotFound("customer"));
        }
        Ok(OpenedChannel { channel, signing_secret })
    }

    fn signing_secret(&self) -> Secret {
        let mut bytes = [0_u8; 32];
        self.entropy.fill(&mut bytes);
        let mut text = String::from("whsec_");
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Secret::from_text(text)
    }

    async fn seal(
        &self,
        id: AlertChannelId,
        secret: Option<&Secret>,
    ) -> Result<Option<Sealed>, AlertsError> {
        let Some(secret) = secret else { return Ok(None) };
        Ok(Some(self.vault.seal(&Channel::secrets_place(id), secret).await?))
    }

    /// One channel.
    ///
    /// # Errors
    /// [`AlertsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadAlertChannels>,
        id: AlertChannelId,
    ) -> Result<Channel, AlertsError> {
        self.find(permit.scope(), id).await
    }

    async fn find(&self, scope: &TenantScope, id: AlertChannelId) -> Result<Channel, AlertsError> {
        self.repository.find(scope, id).await?.ok_or(AlertsError::NotFound("channel"))
    }

    /// The channels that the asker may see, in the order of their creation.
    pub async fn list(
        &self,
        permit: &Permit<act::ReadAlertChannels>,
        page: &PageRequest,
    ) -> Result<Page<Channel>, AlertsError> {
        Ok(self.repository.list(permit.scope(), page).await?)
    }

    /// Puts what is wished for in the place of a channel, if it is at the `expected` version. Whose
    /// and of which kind it is stays, and its secret where none is given.
    ///
    /// # Errors
    /// [`AlertsError::NotFound`], [`AlertsError::Invalid`], [`AlertsError::Stale`].
    pub async fn replace(
        &self,
        permit: &Permit<act::ManageAlertChannels>,
        id: AlertChannelId,
        expected: Option<u32>,
        name: &str,
        enabled: bool,
        wish: ChannelWish,
    ) -> Result<Channel, AlertsError> {
        let before = self.find(permit.scope(), id).await?;
        if expected.is_some_and(|expected| expected != before.version) {
            return Err(AlertsError::Stale);
        }
        let (kind, given) = wish.check(Some(&before.kind))?;
        check_change(&before, &kind, given.is_some())?;
        let secret = self.seal(id, given.as_ref()).await?.or(before.secret);
        let channel = Channel {
            name: channel_name(name)?,
            kind,
            secret,
            enabled,
            version: before.version.saturating_add(1),
            updated_at: self.clock.now(),
            ..before
        };
        done(self.repository.update(channel, permit.author()).await?, "channel")
    }

    /// Gives a webhook another secret to sign with. The old one is not used from then on.
    ///
    /// # Errors
    /// [`AlertsError::NotFound`]; [`AlertsError::Invalid`] when it is no webhook.
    pub async fn rotate(
        &self,
        permit: &Permit<act::ManageAlertChannels>,
        id: AlertChannelId,
    ) -> Result<OpenedChannel, AlertsError> {
        let before = self.find(permit.scope(), id).await?;
        if !matches!(before.kind, ChannelKind::Webhook { .. }) {
            return Err(InvalidAlert::new("kind", "only webhooks are signed").into());
        }
        let secret = self.signing_secret();
        let channel = Channel {
            secret: self.seal(id, Some(&secret)).await?,
            version: before.version.saturating_add(1),
            updated_at: self.clock.now(),
            ..before
        };
        let channel = done(self.repository.update(channel, permit.author()).await?, "channel")?;
        Ok(OpenedChannel { channel, signing_secret: Some(secret) })
    }

    /// Removes a channel. What has not arrived yet never will.
    ///
    /// # Errors
    /// [`AlertsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn delete(
        &self,
        permit: &Permit<act::ManageAlertChannels>,
        id: AlertChannelId,
    ) -> Result<(), AlertsError> {
        let now = self.clock.now();
        let gone = self.repository.delete(permit.scope(), id, permit.author(), now).await?;
        if gone { Ok(()) } else { Err(AlertsError::NotFound("channel")) }
    }

    /// Sends a message that says that it is a test; [`Channels::deliveries`] shows what came of it.
    ///
    /// # Errors
    /// [`AlertsError::NotFound`] when the channel does not lie in the asker's scope.
    pub async fn test(
        &self,
        permit: &Permit<act::ManageAlertChannels>,
        id: AlertChannelId,
    ) -> Result<Delivery, AlertsError> {
        let channel = self.find(permit.scope(), id).await?;
        let now = self.clock.now();
        let message = Message {
            event: "test".to_owned(),
            at: now,
            severity: Severity::Info,
            title: format!("A test of the channel {}: it works", channel.name),
            alert: None,
        };
        let delivery = Delivery {
            id: DeliveryId::new(&*self.clock, &*self.entropy),
            channel_id: id,
            alert_id: None,
            message,
            state: DeliveryState::Pending,
            due_at: now,
            created_at: now,
            attempts: Vec::new(),
        };
        self.deliveries.add(delivery.clone()).await?;
        Ok(delivery)
    }

    /// What was and is sent through a channel, the newest first.
    ///
    /// # Errors
    /// [`AlertsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn deliveries(
        &self,
        permit: &Permit<act::ReadAlertChannels>,
        id: AlertChannelId,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, AlertsError> {
        self.find(permit.scope(), id).await?;
        Ok(self.deliveries.list(id, page).await?)
    }
}

/// That a secret goes nowhere but where it was given for.
fn check_change(
    before: &Channel,
    after: &ChannelKind,
    secret_given: bool,
) -> Result<(), InvalidAlert> {
    if before.kind.as_str() != after.as_str() {
        return Err(InvalidAlert::new("kind", "it stays as it is: make another channel"));
    }
    let server = |kind: &ChannelKind| match kind {
        ChannelKind::Email { host, port, tls, .. } => Some((host.clone(), *port, *tls)),
        ChannelKind::Webhook { .. } | ChannelKind::Chat { .. } => None,
    };
    if before.secret.is_some() && !secret_given && server(&before.kind) != server(after) {
        let rule = "the mail server is another one: give its password";
        return Err(InvalidAlert::new("password", rule));
    }
    Ok(())
}
