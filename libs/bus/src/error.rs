/// Why the broker did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BusError {
    /// There is no connection, and none came back in time.
    #[error("no connection to the broker")]
    Away,
    /// The broker did not answer in time; it may or may not have done it.
    #[error("the broker did not answer in {0} s")]
    Late(u64),
    /// The queue refused the message: it is full, or its leader is away.
    #[error("the broker refused to store the message")]
    Refused,
    /// There is no such queue, even after declaring it.
    #[error("the message reached no queue: {0} is gone")]
    Unroutable(String),
    /// The address. It isn't shown, for it holds a password.
    #[error(
        "not an address of a broker: write amqp://user:password@host:5672/vhost, with %2f for the vhost /"
    )]
    Url,
    /// A name or an id is longer than AMQP carries.
    #[error("{0} is longer than the 255 bytes that AMQP carries")]
    TooLong(&'static str),
    /// This bus was closed.
    #[error("the bus is closed")]
    Closed,
    /// What the broker or the connection said.
    #[error("{0}")]
    Broker(#[from] lapin::Error),
}
