//! What the simulator knows to be true, against what Calgrant says.

use serde_json::Value;

use crate::House;

impl House {
    /// Holds a finished run for `Author` against the simulator's own state, mailbox by mailbox: `selected` is a query
    /// such as `group=staff@uni.example`. Nothing of others may have changed, and no limit have been broken.
    ///
    /// # Panics
    /// Calgrant says or did something else than is true.
    pub async fn assert_true(&self, operation: &str, selected: &str) {
        let mailboxes = self.mailboxes(operation).await;
        self.school.assert_true(mailboxes, selected).await;
        self.school.assert_within_limits().await;
    }

    /// Nothing of others changed, and no limit was broken.
    ///
    /// # Panics
    /// Something did, or one was.
    pub async fn assert_harmless(&self) {
        self.school.assert_nothing_foreign().await;
        self.school.assert_within_limits().await;
    }

    /// What the simulator knows of every member of a selection.
    ///
    /// # Panics
    /// The query is refused.
    pub async fn members(&self, selected: &str) -> Vec<Value> {
        self.school.members(selected).await
    }
}
