//! The contracts: code generated from `proto/`, and every conversion between it and the domain.
//!
//! Generated types stop here and at each service's edge: decisions see domain values only. A missing or
//! unreadable field becomes a [`BadInput`](calgrant_domain::BadInput) that names it.

pub mod back;
pub mod bus;
pub mod cloud_event;
pub mod fleet;
pub mod listing;
pub mod onboarding;
mod organisation;
pub mod provisioning;
pub mod refusal;
pub mod setup;
pub mod watch;
pub mod words;

#[allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    clippy::restriction,
    clippy::doc_markdown,
    unreachable_pub,
    unused_qualifications,
    reason = "generated"
)]
pub mod pb {
    /// Everything that was compiled, for server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

    pub use prost_types::Timestamp;

    macro_rules! area {
        ($area:ident, $package:literal) => {
            pub mod $area {
                pub mod v1 {
                    tonic::include_proto!($package);
                }
            }
        };
    }
    area!(provisioning, "calgrant.provisioning.v1");
    area!(status, "calgrant.status.v1");
    area!(fleet, "calgrant.fleet.v1");
    area!(bus, "calgrant.bus.v1");
    area!(ledger, "calgrant.ledger.v1");
    area!(setup, "calgrant.setup.v1");
}
