//! The faults that any call can meet before anything happens.

use crate::reply::Reply;
use crate::world::World;

impl World {
    /// An outage, or a fault that keeps the call from being carried out.
    pub(crate) fn early_fault(&self) -> Option<Reply> {
        if self.outage() {
            return Some(Reply::unavailable());
        }
        if self.fault("throttle_429") {
            return Some(Reply::throttled(Some(1 + self.dice.below(3))));
        }
        if self.fault("throttle_no_retry_after") {
            return Some(Reply::throttled(None));
        }
        if self.fault("unavailable_503") {
            return Some(Reply::unavailable());
        }
        if self.fault("server_error_500") {
            return Some(Reply::error(
                500,
                "InternalServerError",
                "An internal server error occurred.",
            ));
        }
        None
    }
}
