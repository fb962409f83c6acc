//! Events within one process.

use std::sync::Arc;

use muster_kernel::events::{Channel, Event, EventBus, From, Listener, Log, Logs};

/// Events within one process.
#[derive(Debug)]
pub struct LocalEvents {
    /// Tells the events of this process from those of others, before and after it.
    epoch: Arc<str>,
    logs: Logs,
}

impl LocalEvents {
    /// With nothing told; `epoch` is another one in each process.
    pub fn new(epoch: impl Into<Arc<str>>) -> Self {
        Self { epoch: epoch.into(), logs: Logs::default() }
    }

    fn log(&self, channel: Channel) -> Arc<Log> {
        self.logs.of(channel, || Log::new(Arc::clone(&self.epoch)))
    }
}

impl EventBus for LocalEvents {
    fn tell(&self, channel: Channel, event: Event) {
        self.log(channel).tell(event);
    }

    fn close(&self, channel: Channel) {
        self.log(channel).close();
    }

    fn listen(&self, channel: Channel, from: From<'_>) -> Box<dyn Listener> {
        Box::new(self.log(channel).listen(from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_kernel::RunId;
    use muster_kernel::events::Topic;
    use muster_kernel::events::{Heard, KEPT_BYTES, Told};
    use uuid::Uuid;

    const RUN: Channel = Channel::Run(RunId::from_uuid(Uuid::nil()));

    fn event(data: &str) -> Event {
        Event { topic: Topic::Runs, name: "command", customer_id: None, data: data.into() }
    }

    async fn heard(listener: &mut Box<dyn Listener>) -> Arc<Told> {
        match listener.next().await {
            Heard::Event(told) => told,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_listener_hears_everything_in_order_and_then_that_it_is_over() {
        let bus = LocalEvents::new("e");
        bus.tell(RUN, event("0"));
        let mut all = bus.listen(RUN, From::Beginning);
        let mut late = bus.listen(RUN, From::Now);
        bus.tell(RUN, event("1"));
        bus.tell(Channel::Everything, event("elsewhere"));
        bus.close(RUN);
        assert_eq!(&*heard(&mut all).await.event.data, "0");
        assert_eq!(&*heard(&mut all).await.event.data, "1");
        assert!(matches!(all.next().await, Heard::Over));
        assert_eq!(&*heard(&mut late).await.event.data, "1");
    }

    #[tokio::test]
    async fn whoever_comes_back_goes_on_where_they_were() {
        let bus = LocalEvents::new("e");
        for data in ["0", "1", "2"] {
            bus.tell(RUN, event(data));
        }
        let first = heard(&mut bus.listen(RUN, From::Beginning)).await;
        let mut again = bus.listen(RUN, From::After(&first.id));
        assert_eq!(&*heard(&mut again).await.event.data, "1");
    }

    #[tokio::test]
    async fn whoever_comes_back_too_late_or_from_elsewhere_is_told_to_look_anew() {
        let bus = LocalEvents::new("e");
        bus.tell(RUN, event("0"));
        for id in ["other-0", "e-7", "e", "", "e-x", "e-18446744073709551615"] {
            let mut again = bus.listen(RUN, From::After(id));
            assert!(matches!(again.next().await, Heard::Reset), "{id}");
            bus.tell(RUN, event("new"));
            assert_eq!(&*heard(&mut again).await.event.data, "new");
        }
    }

    #[tokio::test]
    async fn a_listener_that_is_too_slow_is_let_go_and_costs_nothing() {
        let bus = LocalEvents::new("e");
        let mut slow = bus.listen(RUN, From::Now);
        let large = "x".repeat(KEPT_BYTES / 4);
        for _ in 0..8 {
            bus.tell(RUN, event(&large));
        }
        assert!(matches!(slow.next().await, Heard::TooSlow));
        assert!(matches!(bus.listen(RUN, From::Beginning).next().await, Heard::Reset));
    }
}
