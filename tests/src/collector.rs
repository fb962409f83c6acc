//! A collector of traces on loopback that speaks OTLP over HTTP. Tests make it fail.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;

/// What the collector does with what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Mood {
    Takes,
    Fails,
    Hangs,
}

/// A span, as far as tests look at it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Such as `command.run`.
    pub name: String,
    /// Hexadecimal, as in `traceparent`.
    pub trace_id: String,
    /// Likewise.
    pub span_id: String,
    /// Likewise; empty where a trace begins.
    pub parent_id: String,
    /// Nanoseconds since 1970.
    pub times: (u64, u64),
    /// By name.
    pub attributes: BTreeMap<String, String>,
    /// The names of what happened meanwhile.
    pub events: Vec<String>,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    spans: Mutex<Vec<Seen>>,
    /// All bodies that came, as they are.
    bodies: Mutex<Vec<u8>>,
    /// What requests show in the header `x-collector-key`.
    keys: Mutex<Vec<String>>,
}

/// The collector.
#[derive(Debug)]
pub struct Collector {
    state: Arc<State>,
    address: String,
}

impl Collector {
    /// One that does this with what it is sent.
    ///
    /// # Panics
    /// When it can't listen.
    pub fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (spans, bodies, keys) = (Mutex::default(), Mutex::default(), Mutex::default());
        let state = Arc::new(State { mood, spans, bodies, keys });
        let shared = web::Data::from(Arc::clone(&state));
        std::thread::spawn(move || {
            let server = HttpServer::new(move || {
                App::new().app_data(shared.clone()).route("/v1/traces", web::post().to(take))
            });
            let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
            actix_web::rt::System::new().block_on(server).unwrap();
        });
        Self { state, address }
    }

    /// What `MUSTER_OTLP_ENDPOINT` is set to.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.state.keys.lock().len()
    }

    /// What the requests show in the header `x-collector-key`.
    pub fn keys(&self) -> Vec<String> {
        self.state.keys.lock().clone()
    }

    /// The spans that came.
    pub fn spans(&self) -> Vec<Seen> {
        self.state.spans.lock().clone()
    }

    /// Whether this text came, anywhere.
    pub fn heard_of(&self, text: &str) -> bool {
        self.state.bodies.lock().windows(text.len()).any(|bytes| bytes == text.as_bytes())
    }
}

async fn take(state: web::Data<State>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let key = request.headers().get("x-collector-key").and_then(|key| key.to_str().ok());
    state.keys.lock().push(key.unwrap_or_default().to_owned());
    match state.mood {
        Mood::Takes => {}
        Mood::Fails => return HttpResponse::InternalServerError().finish(),
        Mood::Hangs => {
            actix_web::rt::time::sleep(Duration::from_mins(10)).await;
            return HttpResponse::Ok().finish();
        }
    }
    let Ok(told) = ExportTraceServiceRequest::decode(&*body) else {
        return HttpResponse::BadRequest().finish();
    };
    state.bodies.lock().extend_from_slice(&body);
    let scopes = told.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    state.spans.lock().extend(scopes.flat_map(|scope| scope.spans).map(seen));
    HttpResponse::Ok().content_type("application/x-protobuf").finish()
}

fn seen(span: Span) -> Seen {
    Seen {
        name: span.name,
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: hex(&span.parent_span_id),
        times: (span.start_time_unix_nano, span.end_time_unix_nano),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        events: span.events.into_iter().map(|event| event.name).collect(),
    }
}

fn attribute(pair: KeyValue) -> (String, String) {
    let value = match pair.value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    (pair.key, value)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
