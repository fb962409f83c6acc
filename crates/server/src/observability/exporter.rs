//! Traces on their way to a collector.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData,
    SpanExporter,
};

use crate::config::Otlp;

/// What traces call this program.
pub(crate) const SERVICE: &str = "muster";

/// Spans that wait for the collector at most; more are dropped, and cost nobody anything.
const QUEUE: usize = 8192;
/// Spans of one request.
const BATCH: usize = 512;
/// How long spans wait for others that go with them.
const EVERY: Duration = Duration::from_secs(1);
/// How long the collector may take, also for what is left when the process ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends spans, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Exporter {
    provider: SdkTracerProvider,
}

impl Exporter {
    /// Begins to keep spans and to send them; nobody waits for the collector.
    pub(crate) fn start(otlp: &Otlp) -> anyhow::Result<Self> {
        let sending = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(&otlp.url)
            .with_headers(otlp.headers.clone())
            .with_timeout(PATIENCE)
            .build();
        let sending = sending.context("MUSTER_OTLP_ENDPOINT: setting up traces")?;
        let exporter = Told { sending, url: otlp.url.clone(), failing: AtomicBool::new(false) };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(EVERY)
            .build();
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name(SERVICE).with_attribute(version);
        let ratio = Sampler::TraceIdRatioBased(otlp.sample_ratio);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(
                BatchSpanProcessor::builder(exporter).with_batch_config(batches).build(),
            )
            .with_sampler(Sampler::ParentBased(Box::new(ratio)))
            .with_resource(resource.build())
            .build();
        global::set_tracer_provider(provider.clone());
        global::set_text_map_propagator(TraceContextPropagator::new());
        Ok(Self { provider })
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer(SERVICE)
    }

    /// Sends what is left; a collector that takes nothing is not waited for long.
    pub(crate) async fn end(self) {
        let ended =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(PATIENCE));
        // Whoever watches the log knows already that the collector is away.
        drop(ended.await);
    }
}

/// An exporter whose failures are told once, until it works again.
#[derive(Debug)]
struct Told<E> {
    sending: E,
    url: String,
    failing: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.sending.export(batch).await;
        let failing = self.failing.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !failing => tracing::warn!(
                collector = self.url, error.cause = %error,
                "the collector takes no traces; they are dropped until it does"
            ),
            Ok(()) if failing => {
                tracing::info!(collector = self.url, "the collector takes traces again");
            }
            Err(_) | Ok(()) => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.sending.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.sending.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.sending.set_resource(resource);
    }
}
