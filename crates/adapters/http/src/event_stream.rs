//! Event streams: what happens, to whoever may see it, for as long as they may.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use actix_web::http::header::{CONTENT_ENCODING, ContentEncoding};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use metrics::{Counter, Histogram, counter, histogram};
use muster_kernel::events::{From as Since, Heard, Listener, Told, Topic};
use muster_kernel::{CustomerId, Permit, RunId, TenantScope, act};

use crate::extract::May;
use crate::{AppState, Problem};

/// How often it is looked whether the listener still may listen.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// A comment is sent after so many looks without news, so that proxies keep the stream open.
const QUIET_LOOKS: u32 = 15;

/// A run has ended, and nothing came for so many looks: whoever was to tell so is gone.
const LOOKS_AFTER_THE_END: u32 = 2;

/// What a listener is sent, and for how long.
#[derive(Debug)]
pub(crate) struct Outbox {
    ready: VecDeque<Bytes>,
    /// When it was last looked whether the listener still may listen.
    checked_at: Instant,
    /// How many looks ago something was sent.
    quiet: u32,
    over: bool,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { ready: VecDeque::new(), checked_at: Instant::now(), quiet: 0, over: false }
    }

    pub(crate) fn push(&mut self, event: impl Into<Bytes>) {
        self.ready.push_back(event.into());
        self.quiet = 0;
    }

    /// Nothing more is sent than what is ready.
    pub(crate) const fn end(&mut self) {
        self.over = true;
    }

    /// Whether it is time to look whether the listener still may listen.
    pub(crate) fn is_check_due(&mut self) -> bool {
        let due = self.checked_at.elapsed() >= CHECK_EVERY;
        if due {
            self.checked_at = Instant::now();
        }
        due
    }

    /// Ends with a listener who may not any more; says whether it goes on.
    pub(crate) fn go_by(&mut self, checked: Result<(), Problem>) -> bool {
        // Whether it still may can't be known while the storage fails: it is asked again soon.
        self.over |= checked.is_err_and(|problem| !problem.is_passing());
        !self.over
    }

    /// Waits for news; `None` when there were none for a while, or the server is shutting down.
    pub(crate) async fn hear<T>(
        &mut self,
        state: &AppState,
        news: impl Future<Output = T>,
    ) -> Option<T> {
        let heard = tokio::select! {
            // The client comes back with the id of its last event, to the next process.
            () = state.closing.cancelled() => {
                self.over = true;
                return None;
            }
            heard = tokio::time::timeout(CHECK_EVERY, news) => heard.ok(),
        };
        if heard.is_none() {
            self.quiet += 1;
            if self.quiet >= QUIET_LOOKS {
                self.push(Bytes::from_static(b": still here\n\n"));
            }
        }
        heard
    }
}

/// Somebody who follows something.
pub(crate) trait Follower: Sized + 'static {
    fn outbox(&mut self) -> &mut Outbox;

    /// Waits for what comes next, and puts what it means into the outbox.
    async fn advance(&mut self) -> Result<(), Problem>;

    /// Sends what there is for as long as it goes on.
    fn respond(self) -> HttpResponse {
        let events = stream::try_unfold(self, |mut follower| async move {
            loop {
                if let Some(event) = follower.outbox().ready.pop_front() {
                    return Ok::<_, Problem>(Some((event, follower)));
                }
                if follower.outbox().over {
                    return Ok(None);
                }
                follower.advance().await?;
            }
        });
        HttpResponse::Ok()
            .content_type("text/event-stream")
            // Compression would hold events back until its buffer is full.
            .insert_header((CONTENT_ENCODING, ContentEncoding::Identity))
            .streaming(events)
    }
}

/// From where on a listener wants to hear: after `Last-Event-ID`, else from the beginning.
pub(crate) fn since(request: &HttpRequest) -> Since<'_> {
    match request.headers().get("last-event-id") {
        // An id that is none of ours is one that is not to be had any more.
        Some(id) => Since::After(id.to_str().unwrap_or_default()),
        None => Since::Beginning,
    }
}

/// What a listener follows.
#[derive(Debug)]
enum About {
    Run(RunId),
    Everything(BTreeSet<Topic>),
}

/// Somebody who listens.
pub(crate) struct EventStream {
    state: web::Data<AppState>,
    may: May<act::ReadCommands>,
    permit: Permit<act::ReadCommands>,
    listener: Box<dyn Listener>,
    about: About,
    outbox: Outbox,
    /// Whether the run's last event was sent.
    finished: bool,
    /// How many looks in a row found that the run has ended, without any news in between.
    looks_after_end: u32,
    figures: Figures,
}

/// What is told of listeners to whoever watches the server.
struct Figures {
    /// How many events were behind the one that a listener took.
    lag: Histogram,
    /// Listeners that were too slow.
    too_slow: Counter,
}

impl Figures {
    fn new() -> Self {
        Self {
            lag: histogram!("muster_event_listener_lag_events"),
            too_slow: counter!("muster_event_listeners_too_slow_total"),
        }
    }
}

impl EventStream {
    pub(crate) fn of_run(
        state: web::Data<AppState>,
        may: May<act::ReadCommands>,
        listener: Box<dyn Listener>,
        run: RunId,
    ) -> Self {
        Self::new(state, may, listener, About::Run(run))
    }

    pub(crate) fn of_everything(
        state: web::Data<AppState>,
        may: May<act::ReadCommands>,
        listener: Box<dyn Listener>,
        topics: BTreeSet<Topic>,
    ) -> Self {
        Self::new(state, may, listener, About::Everything(topics))
    }

    fn new(
        state: web::Data<AppState>,
        may: May<act::ReadCommands>,
        listener: Box<dyn Listener>,
        about: About,
    ) -> Self {
        let permit = (*may).clone();
        let mut outbox = Outbox::new();
        // At once, so that the client knows that it listens.
        outbox.push(Bytes::from_static(b": listening\n\n"));
        let figures = Figures::new();
        Self {
            state,
            may,
            permit,
            listener,
            about,
            outbox,
            finished: false,
            looks_after_end: 0,
            figures,
        }
    }

    /// That the listener still may listen, and goes by what is allowed now.
    async fn check(&mut self) -> Result<(), Problem> {
        self.permit = self.may.still(&self.state).await?;
        if let About::Run(id) = self.about {
            let run = self.state.runs.get(&self.permit, id).await?;
            self.looks_after_end = if run.status.is_end() { self.looks_after_end + 1 } else { 0 };
        }
        Ok(())
    }

    fn pass_on(&mut self, told: &Told) {
        let passes = match &self.about {
            About::Run(_) => true,
            About::Everything(topics) => {
                topics.contains(&told.event.topic)
                    && is_within(self.permit.scope(), told.event.customer_id)
            }
        };
        if passes {
            let event = &told.event;
            self.finished |= event.name == "finished";
            let text = format!("id: {}\nevent: {}\ndata: {}\n\n", told.id, event.name, event.data);
            self.outbox.push(text);
        }
    }

    /// Nothing more is told; how the run ended is, unless it was.
    async fn end(&mut self) -> Result<(), Problem> {
        self.outbox.end();
        if self.finished { Ok(()) } else { self.tell_run().await }
    }

    /// How far the run is, for a listener who can't know.
    async fn tell_run(&mut self) -> Result<(), Problem> {
        let About::Run(id) = self.about else { return Ok(()) };
        let run = self.state.runs.get(&self.permit, id).await?;
        let name = if run.status.is_end() { "finished" } else { "progress" };
        self.finished |= run.status.is_end();
        self.outbox.push(format!("event: {name}\ndata: {}\n\n", run.progress()));
        Ok(())
    }
}

impl Follower for EventStream {
    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    async fn advance(&mut self) -> Result<(), Problem> {
        if self.outbox.is_check_due() {
            let checked = self.check().await;
            if !self.outbox.go_by(checked) {
                return Ok(());
            }
            if self.looks_after_end > LOOKS_AFTER_THE_END {
                return self.end().await;
            }
        }
        let Some(heard) = self.outbox.hear(&self.state, self.listener.next()).await else {
            return Ok(());
        };
        match heard {
            Heard::Event(told) => {
                self.looks_after_end = 0;
                let behind = u32::try_from(self.listener.behind()).unwrap_or(u32::MAX);
                self.figures.lag.record(behind);
                self.pass_on(&told);
            }
            Heard::Reset => {
                self.outbox.push(Bytes::from_static(b"event: reset\ndata: {}\n\n"));
                self.tell_run().await?;
            }
            Heard::TooSlow => {
                self.figures.too_slow.increment(1);
                self.outbox.end();
            }
            Heard::Over => self.end().await?,
        }
        Ok(())
    }
}

/// Whether something of this customer, or of several, lies within `scope`.
fn is_within(scope: &TenantScope, customer: Option<CustomerId>) -> bool {
    match customer {
        Some(customer) => scope.contains(customer),
        None => *scope == TenantScope::All,
    }
}
