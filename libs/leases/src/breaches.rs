//! How often exactness was at risk, as a metric.

use calgrant_runtime::metrics::{self, Sample};

use crate::Budgets;

/// Shows how often exactness was at risk in this process.
pub(crate) fn count(budgets: &Budgets) {
    let budgets = budgets.clone();
    metrics::counter(
        "calgrant.lease.breaches",
        "{breach}",
        "How often this process went out of the bounds on which budgets are exact: calls that left late (stall), clocks that differ (clock).",
        move || {
            let breaches = budgets.breaches();
            let of = |value, kind: &str| Sample {
                value,
                labels: vec![("kind", kind.to_owned())],
            };
            vec![of(breaches.stalls, "stall"), of(breaches.clock, "clock")]
        },
    );
}
