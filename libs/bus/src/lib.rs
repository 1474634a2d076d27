//! RabbitMQ: the whole topology in one table, a publisher with confirms, consumers. Knows bytes, not meanings.

pub mod connection;
pub mod consumer;
pub mod publisher;
pub mod topology;

pub use connection::{Bus, BusError};
pub use consumer::{Consumer, Delivery};
pub use publisher::{Message, Publisher};
pub use topology::Queue;
