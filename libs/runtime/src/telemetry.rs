//! The log, always on standard error; traces, logs and metrics over OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set.

use std::{
    collections::HashMap,
    io::{IsTerminal, stderr},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Context;
use opentelemetry::{global, propagation::TextMapPropagator, trace::TracerProvider};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{
    LogExporter, MetricExporter, RetryPolicy, SpanExporter, WithExportConfig, WithTonicConfig,
};
use opentelemetry_sdk::{
    Resource, logs::SdkLoggerProvider, metrics::SdkMeterProvider,
    propagation::TraceContextPropagator, trace::SdkTracerProvider,
};
use tracing::{Span, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    EnvFilter, Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt,
};

/// How long one export may take.
const EXPORT: Duration = Duration::from_secs(2);

/// The target under which lapin logs messages that came back, whole. They name mailboxes, which no log of ours may.
const PERSONAL: &str = "lapin::returned_messages";

/// Set by the first [`init`]; a process has one log.
static STARTED: AtomicBool = AtomicBool::new(false);

/// What must be flushed before the process ends.
#[derive(Debug)]
pub struct Telemetry {
    export: Option<Export>,
}

#[derive(Debug)]
struct Export {
    traces: SdkTracerProvider,
    logs: SdkLoggerProvider,
    metrics: SdkMeterProvider,
}

/// Starts the log. What it shows is set by `CALGRANT_LOG` (`info`, or `info,calgrant_worker=debug`), its form by
/// `CALGRANT_LOG_FORMAT` (`json`, else text). Call it inside the runtime. A second call changes nothing.
///
/// # Errors
///
/// When `CALGRANT_LOG` can't be read, or the OTLP exporters can't be made.
pub fn init(service: &str) -> anyhow::Result<Telemetry> {
    let filter = match std::env::var("CALGRANT_LOG") {
        Ok(wanted) if !wanted.is_empty() => {
            EnvFilter::try_new(&wanted).with_context(|| format!("CALGRANT_LOG = {wanted:?}"))?
        }
        _ => EnvFilter::new("info"),
    };
    let filter = filter.add_directive(format!("{PERSONAL}=off").parse()?);
    if STARTED.swap(true, Ordering::SeqCst) {
        return Ok(Telemetry { export: None });
    }
    let export = if std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT")
        .is_ok_and(|endpoint| !endpoint.is_empty())
    {
        Some(
            Export::start(service)
                .context("OTEL_EXPORTER_OTLP_ENDPOINT is set, but the exporters can't be made")?,
        )
    } else {
        None
    };
    let json = std::env::var("CALGRANT_LOG_FORMAT").is_ok_and(|format| format == "json");
    let log = tracing_subscriber::fmt::layer().with_writer(stderr);
    let log = if json {
        log.json().boxed()
    } else {
        log.with_ansi(stderr().is_terminal()).boxed()
    };
    let spans = export.as_ref().map(|export| {
        tracing_opentelemetry::layer()
            .with_tracer(export.traces.tracer("calgrant"))
            .with_filter(not_itself())
    });
    let bridge = export
        .as_ref()
        .map(|export| OpenTelemetryTracingBridge::new(&export.logs).with_filter(not_itself()));
    // Someone else's subscriber (a test's) may be there already; then that one stays.
    let _ = tracing_subscriber::registry()
        .with(log.with_filter(filter))
        .with(spans)
        .with(bridge)
        .try_init();
    Ok(Telemetry { export })
}

/// Everything but the layers an exporter itself works with: it would report on itself.
fn not_itself() -> Targets {
    let mut targets = Targets::new().with_default(LevelFilter::INFO);
    for own in [
        "h2",
        "hyper",
        "hyper_util",
        "tonic",
        "tower",
        "opentelemetry",
        PERSONAL,
    ] {
        targets = targets.with_target(own, LevelFilter::OFF);
    }
    targets
}

impl Export {
    fn start(service: &str) -> anyhow::Result<Self> {
        let resource = Resource::builder()
            .with_service_name(service.to_owned())
            .build();
        // No retries: with the collector away they would only delay stopping.
        let spans = SpanExporter::builder()
            .with_tonic()
            .with_timeout(EXPORT)
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let logs = LogExporter::builder()
            .with_tonic()
            .with_timeout(EXPORT)
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let metrics = MetricExporter::builder()
            .with_tonic()
            .with_timeout(EXPORT)
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let export = Self {
            traces: SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_batch_exporter(spans)
                .build(),
            logs: SdkLoggerProvider::builder()
                .with_resource(resource.clone())
                .with_batch_exporter(logs)
                .build(),
            metrics: SdkMeterProvider::builder()
                .with_resource(resource)
                .with_periodic_exporter(metrics)
                .build(),
        };
        global::set_text_map_propagator(TraceContextPropagator::new());
        global::set_tracer_provider(export.traces.clone());
        global::set_meter_provider(export.metrics.clone());
        Ok(export)
    }
}

impl Telemetry {
    /// Sends what is still held, and ends the exporters.
    pub async fn flush(self) {
        let Some(Export {
            traces,
            logs,
            metrics,
        }) = self.export
        else {
            return;
        };
        // Each blocks its thread until its exporter, which needs the runtime, is done.
        let done = tokio::task::spawn_blocking(move || {
            for ended in [traces.shutdown(), logs.shutdown(), metrics.shutdown()] {
                if let Err(cause) = ended {
                    tracing::warn!(%cause, "telemetry lost at the end");
                }
            }
        });
        if let Err(cause) = done.await {
            tracing::warn!(%cause, "telemetry not flushed");
        }
    }
}

/// The current span as a W3C `traceparent`, to hand on; none without OTLP.
#[must_use]
pub fn traceparent() -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove("traceparent")
}

/// Makes the span a child of the one that was handed on. Call it before the span is entered.
pub fn follow(span: &Span, traceparent: &str) {
    if traceparent.is_empty() {
        return;
    }
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    // It fails where nothing traces: without OTLP, or with the span filtered out.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_on_where_it_was_handed_over() {
        let provider = SdkTracerProvider::builder().build();
        let subscriber = tracing_subscriber::registry()
            .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("later");
            follow(
                &span,
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            );
            let handed = span.in_scope(traceparent).unwrap();
            assert!(
                handed.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
                "{handed}"
            );
            assert!(!handed.contains("00f067aa0ba902b7"), "{handed}");
        });
    }

    #[test]
    fn returned_messages_reach_no_collector() {
        let exported = not_itself();
        assert!(!exported.would_enable(PERSONAL, &tracing::Level::WARN));
        assert!(exported.would_enable("calgrant_bus", &tracing::Level::WARN));
    }

    #[tokio::test]
    async fn a_second_start_is_harmless() {
        let first = init("test").unwrap();
        let second = init("test").unwrap();
        follow(&tracing::info_span!("untraced"), "nonsense");
        assert_eq!(traceparent(), None);
        second.flush().await;
        first.flush().await;
    }
}
