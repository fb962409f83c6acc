//! How messages go out.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::sync::Arc;

use chrono::TimeDelta;
use muster_alerts::testing::{
    FakeAlerts, FakeMessenger, alert_contract, channel, channel_contract, customer_id, delivery,
    delivery_contract, deviation_contract, rule_contract, window_contract,
};
use muster_alerts::{
    AlertsError, ChannelWish, Channels, Delivery, DeliveryState, Dispatcher, SmtpTls,
};
use muster_kernel::testing::{FakeClock, FakeVault, SeededEntropy, permit};
use muster_kernel::{PageRequest, Secret};

#[tokio::test]
async fn alerts_in_memory_keep_the_contracts() {
    let fake = FakeAlerts::default;
    rule_contract(&fake(), customer_id(5)).await;
    window_contract(&fake(), customer_id(5)).await;
    channel_contract(&fake(), customer_id(5)).await;
    alert_contract(&fake()).await.unwrap();
    delivery_contract(&fake()).await.unwrap();
    deviation_contract(&fake()).await.unwrap();
}

struct World {
    fake: Arc<FakeAlerts>,
    messenger: Arc<FakeMessenger>,
    clock: Arc<FakeClock>,
    dispatcher: Dispatcher,
    channels: Channels,
}

impl World {
    fn new() -> Self {
        let fake = Arc::new(FakeAlerts::default());
        let messenger = Arc::new(FakeMessenger::default());
        let (clock, entropy) = (Arc::new(FakeClock::default()), Arc::new(SeededEntropy::new(1)));
        let vault = Arc::new(FakeVault);
        let dispatcher = Dispatcher::new(
            fake.clone(),
            fake.clone(),
            messenger.clone(),
            vault.clone(),
            clock.clone(),
            entropy.clone(),
        );
        let channels = Channels::new(fake.clone(), fake.clone(), vault, clock.clone(), entropy);
        Self { fake, messenger, clock, dispatcher, channels }
    }

    async fn send_all(&self) -> usize {
        let taken = self.dispatcher.take().await.unwrap();
        let number = taken.len();
        for delivery in taken {
            self.dispatcher.send(delivery).await.unwrap();
        }
        number
    }
}

#[tokio::test]
async fn a_message_is_tried_again_until_it_arrives_with_the_same_id() {
    let world = World::new();
    let wish = ChannelWish::Webhook { url: "https://hooks.example.org/".into() };
    let made = world.channels.create(&permit(1), None, "ops", true, wish).await.unwrap();
    let secret = made.signing_secret.unwrap();
    let test = world.channels.test(&permit(1), made.channel.id).await.unwrap();
    *world.messenger.failures.lock() = 2;
    for _ in 0..3 {
        assert_eq!(world.send_all().await, 1);
        assert_eq!(world.send_all().await, 0, "it waits");
        world.clock.advance(TimeDelta::seconds(10));
    }
    let list =
        world.channels.deliveries(&permit(1), made.channel.id, &PageRequest::default()).await;
    let delivery = list.unwrap().items.remove(0);
    assert_eq!(delivery.state, DeliveryState::Delivered);
    let statuses: Vec<_> = delivery.attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(500), Some(500), Some(204)]);
    let sent = world.messenger.sent.lock();
    assert!(
        sent.iter().all(|(it, with)| it.id == test.id && with.as_deref() == Some(secret.expose()))
    );
}

#[tokio::test]
async fn a_channel_that_hangs_keeps_no_other_one_waiting() {
    let world = World::new();
    for seed in [1, 2] {
        world.fake.channels.lock().insert(channel(seed).id, channel(seed));
    }
    let second = Delivery { channel_id: channel(1).id, ..delivery(3) };
    world.fake.deliveries.lock().extend([delivery(1), second, delivery(2)]);
    let hanging = world.dispatcher.take().await.unwrap();
    assert_eq!(hanging.len(), 2, "one message of each");
    let (one, other): (Vec<_>, Vec<_>) =
        hanging.into_iter().partition(|it| it.channel_id == channel(1).id);
    world.dispatcher.send(other[0].clone()).await.unwrap();
    assert_eq!(world.dispatcher.take().await.unwrap(), [], "the first channel is still at it");
    world.dispatcher.send(one[0].clone()).await.unwrap();
    assert_eq!(world.dispatcher.take().await.unwrap().len(), 1);
}

#[tokio::test]
async fn through_a_channel_that_is_switched_off_nothing_is_sent() {
    let world = World::new();
    let mut off = channel(1);
    off.enabled = false;
    world.fake.channels.lock().insert(off.id, off);
    let alert_id = Some(muster_kernel::AlertId::from_uuid(delivery(9).id.as_uuid()));
    world.fake.deliveries.lock().push(Delivery { alert_id, ..delivery(1) });
    assert_eq!(world.send_all().await, 1);
    assert!(world.messenger.sent.lock().is_empty());
    assert_eq!(world.fake.deliveries.lock()[0].state, DeliveryState::Failed);
}

#[tokio::test]
async fn a_password_goes_to_no_other_server_than_it_was_given_for() {
    let world = World::new();
    let email = |host: &str, password: Option<&str>| ChannelWish::Email {
        host: host.into(),
        port: 587,
        tls: SmtpTls::Starttls,
        username: Some("muster".into()),
        password: password.map(Secret::from_text),
        from: "muster@example.org".into(),
        to: vec!["ann@example.org".into()],
    };
    let (managing, wish) = (permit(1), email("mx.example", Some("p")));
    let made = world.channels.create(&managing, None, "m", true, wish).await;
    let id = made.unwrap().channel.id;
    let replace = async |wish| world.channels.replace(&managing, id, None, "m", true, wish).await;
    assert!(replace(email("mx.example", None)).await.unwrap().secret.is_some(), "it is kept");
    let elsewhere = replace(email("evil.example", None)).await;
    assert!(matches!(elsewhere, Err(AlertsError::Invalid(error)) if error.field == "password"));
    replace(email("mail.example", Some("other"))).await.unwrap();
    let webhook = ChannelWish::Webhook { url: "https://x/".into() };
    assert!(
        matches!(replace(webhook).await, Err(AlertsError::Invalid(error)) if error.field == "kind")
    );
    let rotated = world.channels.rotate(&managing, id).await;
    assert!(rotated.is_err(), "nobody signs e-mails here");
}
