//! Event streams: what happens, to whoever may see it, for as long as they may.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use actix_web::http::header::{CONTENT_ENCODING, ContentEncoding};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::{Stream, stream};
use muster_kernel::events::{From as Since, Heard, Listener, Told, Topic};
use muster_kernel::{CustomerId, Permit, RunId, TenantScope, act};

use crate::extract::May;
use crate::{AppState, Problem};

/// How often it is looked whether the listener still may listen.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// A comment is sent after so many looks without news, so that proxies keep the stream open.
const QUIET_LOOKS: u32 = 15;

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
    ready: VecDeque<Bytes>,
    checked_at: Instant,
    quiet: u32,
    /// Whether the run's last event was sent.
    finished: bool,
    over: bool,
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
        Self {
            state,
            may,
            permit,
            listener,
            about,
            // At once, so that the client knows that it listens.
            ready: VecDeque::from([Bytes::from_static(b": listening\n\n")]),
            checked_at: Instant::now(),
            quiet: 0,
            finished: false,
            over: false,
        }
    }

    pub(crate) fn respond(self) -> HttpResponse {
        HttpResponse::Ok()
            .content_type("text/event-stream")
            // Compression would hold events back until its buffer is full.
            .insert_header((CONTENT_ENCODING, ContentEncoding::Identity))
            .streaming(self.events())
    }

    fn events(self) -> impl Stream<Item = Result<Bytes, Problem>> {
        stream::try_unfold(self, |mut listening| async move {
            loop {
                if let Some(event) = listening.ready.pop_front() {
                    return Ok(Some((event, listening)));
                }
                if listening.over {
                    return Ok(None);
                }
                listening.wait().await?;
            }
        })
    }

    async fn wait(&mut self) -> Result<(), Problem> {
        if self.checked_at.elapsed() >= CHECK_EVERY {
            self.checked_at = Instant::now();
            match self.check().await {
                // Whether it still may can't be known at the moment: it is asked again soon.
                Err(problem) if problem.is_passing() => {}
                Err(_) => {
                    self.over = true;
                    return Ok(());
                }
                Ok(()) => {}
            }
        }
        let heard = tokio::select! {
            // The client comes back with the id of its last event, to the next process.
            () = self.state.closing.cancelled() => {
                self.over = true;
                return Ok(());
            }
            heard = tokio::time::timeout(CHECK_EVERY, self.listener.next()) => heard,
        };
        match heard {
            Err(_) => {
                self.quiet += 1;
                if self.quiet >= QUIET_LOOKS {
                    self.quiet = 0;
                    self.ready.push_back(Bytes::from_static(b": still here\n\n"));
                }
            }
            Ok(Heard::Event(told)) => self.pass_on(&told),
            Ok(Heard::Reset) => {
                self.ready.push_back(Bytes::from_static(b"event: reset\ndata: {}\n\n"));
                self.tell_run().await?;
            }
            Ok(Heard::TooSlow) => self.over = true,
            Ok(Heard::Over) => {
                self.over = true;
                if !self.finished {
                    self.tell_run().await?;
                }
            }
        }
        Ok(())
    }

    /// That the listener still may listen, and goes by what is allowed now.
    async fn check(&mut self) -> Result<(), Problem> {
        self.permit = self.may.still(&self.state).await?;
        if let About::Run(id) = self.about {
            self.state.runs.get(&self.permit, id).await?;
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
            self.ready.push_back(text.into());
            self.quiet = 0;
        }
    }

    /// How far the run is, for a listener who can't know.
    async fn tell_run(&mut self) -> Result<(), Problem> {
        let About::Run(id) = self.about else { return Ok(()) };
        let run = self.state.runs.get(&self.permit, id).await?;
        let name = if run.status.is_end() { "finished" } else { "progress" };
        self.finished |= run.status.is_end();
        self.ready.push_back(format!("event: {name}\ndata: {}\n\n", run.progress()).into());
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
