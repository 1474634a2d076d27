//! The broker: its queues, and messages into and out of them. It knows bytes, not meanings.
//!
//! * [`topology`]: every queue there is, in one table.
//! * [`Bus`]: two connections, one to publish and one to consume, made again whenever they break.
//! * [`Publisher`]: counts a message as stored only when the broker said so.
//! * [`Consumer`] and [`Delivery`]: at least once; an outage ends neither.
//! * [`DeadLetter`]: a message that was put aside, and the way back.
//!
//! AMQP's exchanges are called *routes* here: Exchange is always Microsoft's.

mod bus;
mod consumer;
mod dead_letter;
mod error;
mod link;
mod publisher;
mod route;
pub mod topology;

pub use bus::Bus;
pub use consumer::{Consumer, Delivery};
pub use dead_letter::{DeadLetter, Whole};
pub use error::BusError;
pub use publisher::{Message, Publisher};
pub use route::Announcement;
pub use topology::Queue;
