//! Event streams: what happens, to whoever may see it, for as long as they may.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use actix_web::http::header::{CONTENT_ENCODING, ContentEncoding};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use metrics::{Counter, Histogram, counter, histogram};
use muster_kernel::events::{Event, From as Since, Heard, Listener, Told, Topic};
use muster_kernel::{Act, CustomerId, Permit, RolloutId, RunId, TenantScope, act};

use crate::extract::May;
use crate::{AppState, Problem};

/// How often it is looked whether the listener still may listen.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// A comment is sent after so many looks without news, so that proxies keep the stream open.
const QUIET_LOOKS: u32 = 15;
/// It has ended, and nothing came for so many looks: whoever was to tell so is gone.
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
pub(crate) trait Subject: 'static {
    /// What one has to be allowed to for it.
    type Act: Act;

    /// Whether the listener is told this.
    fn passes(&self, permit: &Permit<Self::Act>, event: &Event) -> bool;

    /// How far it is; `None` when it is nothing that ends.
    async fn progress(
        &self,
        state: &AppState,
        permit: &Permit<Self::Act>,
    ) -> Result<Option<Progress>, Problem>;
}

/// How far something is that ends.
#[derive(Debug)]
pub(crate) struct Progress {
    is_over: bool,
    /// What listeners are told of it: a JSON text.
    text: String,
}

impl Subject for RunId {
    type Act = act::ReadCommands;

    fn passes(&self, _: &Permit<act::ReadCommands>, _: &Event) -> bool {
        true
    }

    async fn progress(
        &self,
        state: &AppState,
        permit: &Permit<act::ReadCommands>,
    ) -> Result<Option<Progress>, Problem> {
        let run = state.runs.get(permit, *self).await?;
        Ok(Some(Progress { is_over: run.status.is_end(), text: run.progress() }))
    }
}

impl Subject for RolloutId {
    type Act = act::ReadRollouts;

    fn passes(&self, _: &Permit<act::ReadRollouts>, _: &Event) -> bool {
        true
    }

    async fn progress(
        &self,
        state: &AppState,
        permit: &Permit<act::ReadRollouts>,
    ) -> Result<Option<Progress>, Problem> {
        let rollout = state.deployment.rollouts.get(permit, *self).await?;
        let text = rollout.progress(&rollout.tally);
        Ok(Some(Progress { is_over: rollout.status.is_end(), text }))
    }
}

/// All that somebody may see, of these topics.
#[derive(Debug)]
pub(crate) struct Everything(pub(crate) BTreeSet<Topic>);

impl Subject for Everything {
    type Act = act::ReadCommands;

    fn passes(&self, permit: &Permit<act::ReadCommands>, event: &Event) -> bool {
        self.0.contains(&event.topic) && is_within(permit.scope(), event.customer_id)
    }

    async fn progress(
        &self,
        _: &AppState,
        _: &Permit<act::ReadCommands>,
    ) -> Result<Option<Progress>, Problem> {
        Ok(None)
    }
}

/// Somebody who listens.
pub(crate) struct EventStream<S: Subject> {
    state: web::Data<AppState>,
    may: May<S::Act>,
    permit: Permit<S::Act>,
    listener: Box<dyn Listener>,
    subject: S,
    outbox: Outbox,
    /// Whether the last event of what ends was sent.
    finished: bool,
    /// How many looks in a row found that it has ended, without any news in between.
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

impl<S: Subject> EventStream<S> {
    pub(crate) fn new(
        state: web::Data<AppState>,
        may: May<S::Act>,
        listener: Box<dyn Listener>,
        subject: S,
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
            subject,
            outbox,
            finished: false,
            looks_after_end: 0,
            figures,
        }
    }

    /// That the listener still may listen, and goes by what is allowed now.
    async fn check(&mut self) -> Result<(), Problem> {
        self.permit = self.may.still(&self.state).await?;
        if let Some(progress) = self.subject.progress(&self.state, &self.permit).await? {
            self.looks_after_end = if progress.is_over { self.looks_after_end + 1 } else { 0 };
        }
        Ok(())
    }

    fn pass_on(&mut self, told: &Told) {
        let event = &told.event;
        if self.subject.passes(&self.permit, event) {
            self.finished |= event.name == "finished";
            let text = format!("id: {}\nevent: {}\ndata: {}\n\n", told.id, event.name, event.data);
            self.outbox.push(text);
        }
    }

    /// Nothing more is told; how it ended is, unless it was.
    async fn end(&mut self) -> Result<(), Problem> {
        self.outbox.end();
        if self.finished { Ok(()) } else { self.tell_progress().await }
    }

    /// How far it is, for a listener who can't know.
    async fn tell_progress(&mut self) -> Result<(), Problem> {
        let progress = self.subject.progress(&self.state, &self.permit).await?;
        let Some(Progress { is_over, text }) = progress else { return Ok(()) };
        let name = if is_over { "finished" } else { "progress" };
        self.finished |= is_over;
        self.outbox.push(format!("event: {name}\ndata: {text}\n\n"));
        Ok(())
    }
}

impl<S: Subject> Follower for EventStream<S> {
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
                self.tell_progress().await?;
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
