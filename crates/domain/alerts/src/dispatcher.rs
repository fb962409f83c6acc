//! Sends messages, again and again until they have arrived.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use muster_kernel::{AlertChannelId, Clock, Entropy, StorageError, TenantScope, Vault};
use parking_lot::Mutex;

use crate::{
    Attempt, Channel, ChannelRepository, Delivery, DeliveryRepository, DeliveryState, Messenger,
    NotSent,
};

/// Another process takes a delivery over that one has had for so long.
const TAKEN_FOR: Duration = Duration::from_mins(1);
/// How many channels are told at a time.
const AT_ONCE: usize = 32;

/// Sends messages. Each channel is told one message after the other, and waits for no other one.
#[derive(Debug)]
pub struct Dispatcher {
    deliveries: Arc<dyn DeliveryRepository>,
    channels: Arc<dyn ChannelRepository>,
    messenger: Arc<dyn Messenger>,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    busy: Mutex<BTreeSet<AlertChannelId>>,
}

impl Dispatcher {
    /// Made of its ports.
    pub fn new(
        deliveries: Arc<dyn DeliveryRepository>,
        channels: Arc<dyn ChannelRepository>,
        messenger: Arc<dyn Messenger>,
        vault: Arc<dyn Vault>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let busy = Mutex::default();
        Self { deliveries, channels, messenger, vault, clock, entropy, busy }
    }

    /// Takes what is to be sent now, one message a channel; each is for [`Dispatcher::send`].
    ///
    /// # Errors
    /// When the storage fails; what was taken comes again.
    pub async fn take(&self) -> Result<Vec<Delivery>, StorageError> {
        let busy = self.busy.lock().clone();
        let room = u64::try_from(AT_ONCE.saturating_sub(busy.len())).unwrap_or(0);
        if room == 0 {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let taken = self.deliveries.take(now, now + TAKEN_FOR, &busy, room).await?;
        self.busy.lock().extend(taken.iter().map(|delivery| delivery.channel_id));
        Ok(taken)
    }

    /// Tries to send a message and keeps what came of it.
    ///
    /// # Errors
    /// When the storage fails; the message then comes again.
    pub async fn send(&self, delivery: Delivery) -> Result<(), StorageError> {
        let channel_id = delivery.channel_id;
        let sent = self.attempt(delivery).await;
        self.busy.lock().remove(&channel_id);
        sent
    }

    async fn attempt(&self, delivery: Delivery) -> Result<(), StorageError> {
        let channel = self.channels.find(&TenantScope::All, delivery.channel_id).await?;
        let test = delivery.alert_id.is_none();
        let Some(channel) = channel.filter(|channel| channel.enabled || test) else {
            let error = Some("the channel is switched off".to_owned());
            let attempt = Attempt { at: self.clock.now(), status: None, error };
            let delivery = delivery.tried(attempt, &*self.entropy);
            let settled = Delivery { state: DeliveryState::Failed, ..delivery };
            return self.deliveries.settle(settled).await;
        };
        let result = self.tell(&channel, &delivery).await?;
        let at = self.clock.now();
        let attempt = match result {
            Ok(status) => Attempt { at, status, error: None },
            Err(NotSent { status, reason }) => Attempt { at, status, error: Some(reason) },
        };
        self.deliveries.settle(delivery.tried(attempt, &*self.entropy)).await
    }

    async fn tell(
        &self,
        channel: &Channel,
        delivery: &Delivery,
    ) -> Result<Result<Option<u16>, NotSent>, StorageError> {
        let place = Channel::secrets_place(channel.id);
        let secret = match &channel.secret {
            Some(sealed) => {
                let Some(secret) = self.vault.open(&place, sealed).await? else {
                    let reason = "its secret can't be opened: set it anew".to_owned();
                    return Ok(Err(NotSent { status: None, reason }));
                };
                Some(secret)
            }
            None => None,
        };
        let now = self.clock.now();
        Ok(self.messenger.send(channel, secret.as_ref(), delivery, now).await)
    }
}
