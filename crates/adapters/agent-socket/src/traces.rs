//! Commands as traces show them: on their way to the agent, and what the agent made of them.
//!
//! Where a command stands in a trace is known to this process alone, and only for so many. What is
//! heard of any other command begins a trace of its own; `muster.command_id` leads from one to the
//! other.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::SystemTime;

use muster_commands::{Command, End, Outcome};
use muster_kernel::{CommandId, TRACES, Timestamp};
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{Span as _, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use parking_lot::Mutex;
use tracing::{Span, trace_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// How many commands are followed at a time; of more, those that were given first are let go.
const MAX_FOLLOWED: usize = 4096;

/// How far a command is.
#[derive(Debug)]
enum Step {
    /// The courier has it.
    Leaving(Span),
    /// It was sent to the agent.
    Sent {
        context: SpanContext,
        /// When the agent took it.
        accepted_at: Option<Timestamp>,
    },
}

impl Step {
    /// What comes next belongs to this.
    fn context(&self) -> SpanContext {
        match self {
            Self::Leaving(span) => context(span),
            Self::Sent { context, .. } => context.clone(),
        }
    }
}

/// A command that is being sent, for as long as that takes.
#[derive(Debug)]
pub(crate) struct Delivery {
    context: SpanContext,
    /// Ends when this is dropped.
    _span: Span,
}

impl Delivery {
    /// What the agent is told of the trace, if the command is part of one that is kept.
    pub(crate) fn traceparent(&self) -> Option<String> {
        let Self { context, .. } = self;
        let kept = context.is_valid() && context.is_sampled();
        kept.then(|| format!("00-{}-{}-01", context.trace_id(), context.span_id()))
    }
}

/// Follows commands, each from the courier to its end.
#[derive(Debug)]
pub struct Traces {
    tracer: BoxedTracer,
    /// By id, so by when they were given.
    followed: Mutex<BTreeMap<CommandId, Step>>,
}

impl Traces {
    /// Whose spans `tracer` makes, or `tracing` under [`TRACES`].
    pub fn new(tracer: BoxedTracer) -> Self {
        Self { tracer, followed: Mutex::default() }
    }

    /// The courier has the command: its way begins, within what is being done.
    pub(crate) fn leaves(&self, command: &Command) {
        let mut followed = self.followed.lock();
        // A session that found it in the archive was quicker than the courier.
        if let Entry::Vacant(place) = followed.entry(command.id) {
            place.insert(Step::Leaving(delivery(command)));
        }
        while followed.len() > MAX_FOLLOWED {
            followed.pop_first();
        }
    }

    /// The command is sent, perhaps once more.
    pub(crate) fn sends(&self, command: &Command) -> Delivery {
        let earlier = self.followed.lock().remove(&command.id);
        let span = match earlier {
            Some(Step::Leaving(span)) => span,
            Some(Step::Sent { context, .. }) => {
                let span = delivery(command);
                // It fails for spans that nobody collects.
                let _ = span.set_parent(Context::new().with_remote_span_context(context));
                span
            }
            None => delivery(command),
        };
        let context = context(&span);
        let sent = Step::Sent { context: context.clone(), accepted_at: None };
        let mut followed = self.followed.lock();
        followed.insert(command.id, sent);
        while followed.len() > MAX_FOLLOWED {
            followed.pop_first();
        }
        Delivery { context, _span: span }
    }

    /// The agent has the command.
    pub(crate) fn accepts(&self, id: CommandId, at: Timestamp) {
        if let Some(Step::Sent { accepted_at, .. }) = self.followed.lock().get_mut(&id) {
            accepted_at.get_or_insert(at);
        }
    }

    /// Shows what the agent did from the start of the command to its end, if that has come.
    pub(crate) fn ends(&self, command: &Command) {
        let Some(end) = command.end() else { return };
        let step = self.followed.lock().remove(&command.id);
        let parent = step.as_ref().map_or_else(Context::new, |step| {
            Context::new().with_remote_span_context(step.context())
        });
        let (began_at, ended_at) = times(command, end);
        let builder = self.tracer.span_builder("command.run").with_kind(SpanKind::Consumer);
        let builder = builder.with_start_time(began_at).with_attributes(attributes(command, end));
        let mut span = self.tracer.build_with_context(builder, &parent);
        if let Some(Step::Sent { accepted_at: Some(at), .. }) = step {
            span.add_event_with_timestamp("accepted", at.into(), Vec::new());
        }
        if let Outcome::Failed(failure) = &end.outcome {
            span.set_status(Status::error(failure.code.clone()));
        }
        span.end_with_timestamp(ended_at);
    }
}

fn delivery(command: &Command) -> Span {
    trace_span!(
        target: TRACES, "command.deliver", otel.kind = "producer",
        muster.command_id = %command.id, muster.agent_id = %command.agent_id,
        muster.run_id = command.run_id.map(tracing::field::display),
    )
}

fn context(span: &Span) -> SpanContext {
    span.context().span().span_context().clone()
}

/// When it began and ended. An agent says when it started the process and how long that took; of
/// what never began only the end is known.
fn times(command: &Command, end: &End) -> (SystemTime, SystemTime) {
    let learnt = SystemTime::from(end.at);
    let Some(began) = command.started_at().map(SystemTime::from) else { return (learnt, learnt) };
    let took = end.execution_time.and_then(|took| began.checked_add(took));
    (began, took.unwrap_or(learnt))
}

/// Nothing of what runs, and nothing of what it writes.
fn attributes(command: &Command, end: &End) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("muster.command_id", command.id.to_string()),
        KeyValue::new("muster.agent_id", command.agent_id.to_string()),
        KeyValue::new("muster.outcome", command.status().as_str()),
    ];
    let run = command.run_id.map(|id| KeyValue::new("muster.run_id", id.to_string()));
    let code = end.exit_code.map(|code| KeyValue::new("process.exit.code", i64::from(code)));
    attributes.extend(run.into_iter().chain(code));
    attributes
}
