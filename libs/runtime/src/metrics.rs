//! Metrics that are read when they are exported. Without OTLP nobody reads them, and they cost nothing.

use opentelemetry::{KeyValue, global};

/// A value, and what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The value.
    pub value: u64,
    /// What it is of: names and their values.
    pub labels: Vec<(&'static str, String)>,
}

impl Sample {
    fn attributes(&self) -> Vec<KeyValue> {
        let labels = self.labels.iter();
        labels
            .map(|(name, value)| KeyValue::new(*name, value.clone()))
            .collect()
    }
}

/// What goes up and down: `read` is asked at every export. Call it after telemetry has started.
pub fn gauge(
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
) {
    // It lives as long as the meter.
    let _registered = global::meter("calgrant")
        .u64_observable_gauge(name)
        .with_unit(unit)
        .with_description(description)
        .with_callback(move |seen| {
            for sample in read() {
                seen.observe(sample.value, &sample.attributes());
            }
        })
        .build();
}

/// What only grows while the process lives: `read` is asked at every export. Call it after telemetry has started.
pub fn counter(
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    read: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
) {
    let _registered = global::meter("calgrant")
        .u64_observable_counter(name)
        .with_unit(unit)
        .with_description(description)
        .with_callback(move |seen| {
            for sample in read() {
                seen.observe(sample.value, &sample.attributes());
            }
        })
        .build();
}
