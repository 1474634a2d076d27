//! A bus on a vhost of its own.

use std::ops::Deref;

use calgrant_bus::Bus;

/// A vhost with a bus on it. Gone when dropped.
pub(crate) struct Vhost {
    vhost: calgrant_testkit::Vhost,
    bus: Bus,
}

impl Deref for Vhost {
    type Target = Bus;

    fn deref(&self) -> &Bus {
        &self.bus
    }
}

impl Vhost {
    pub(crate) async fn new() -> Self {
        let vhost = calgrant_testkit::Vhost::new();
        let bus = Bus::connect(vhost.url(), "test").await.expect("a bus");
        Self { vhost, bus }
    }

    pub(crate) fn url(&self) -> &str {
        self.vhost.url()
    }

    /// Another bus on the same vhost.
    pub(crate) async fn another(&self) -> Bus {
        Bus::connect(self.url(), "test").await.expect("a bus")
    }

    /// Ends the connections of the bus.
    pub(crate) async fn cut(&self) -> usize {
        self.vhost.cut(2).await
    }
}
