//! The front door, as any client uses it: one api after the other, and again when a server is away.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use calgrant_contract::pb::{
    provisioning::v1::{
        Counts, ListOperationsRequest, Operation,
        provisioning_service_client::ProvisioningServiceClient,
    },
    status::v1::{
        ListOperationMailboxesRequest, OperationMailbox, status_service_client::StatusServiceClient,
    },
};
use calgrant_testkit::pass;
use tonic::{Code, Request, Status, transport::Channel};

use crate::lock::lock;

/// How long a client waits for an answer.
const ANSWER: Duration = Duration::from_secs(10);
pub(crate) const AGAIN: Duration = Duration::from_millis(300);

/// All clients.
pub(crate) struct Desk {
    channels: Vec<Channel>,
    turn: AtomicUsize,
    closed: AtomicBool,
    /// Answers that no client should get.
    refused: Mutex<Vec<String>>,
}

impl Desk {
    /// Clients of these apis.
    pub(crate) fn new(channels: Vec<Channel>) -> Self {
        Self {
            channels,
            turn: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            refused: Mutex::default(),
        }
    }

    /// From now on nobody waits any more for something to become possible that isn't yet.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Every operation there is, as it stands, newest first.
    pub(crate) async fn operations(&self) -> Vec<Operation> {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let (operations, next) = self.page(1000, page_token).await;
            all.extend(operations);
            page_token = next;
            if page_token.is_empty() {
                return all;
            }
        }
    }

    /// The newest of them.
    pub(crate) async fn newest(&self) -> Vec<Operation> {
        self.page(200, String::new()).await.0
    }

    async fn page(&self, page_size: i32, page_token: String) -> (Vec<Operation>, String) {
        let request = ListOperationsRequest {
            page_size,
            page_token,
            ..ListOperationsRequest::default()
        };
        let page = self.insist(async |channel| {
            ProvisioningServiceClient::new(channel)
                .list_operations(timely(request.clone()))
                .await
        });
        let page = page.await.map(tonic::Response::into_inner);
        page.map(|page| (page.operations, page.next_page_token))
            .unwrap_or_default()
    }

    /// Every mailbox of an operation.
    pub(crate) async fn mailboxes(&self, id: &str) -> Vec<OperationMailbox> {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListOperationMailboxesRequest {
                operation_id: id.to_owned(),
                page_size: 1000,
                page_token,
                ..ListOperationMailboxesRequest::default()
            };
            let (mailboxes, next) = self.page_of_mailboxes(request).await;
            all.extend(mailboxes);
            page_token = next;
            if page_token.is_empty() {
                return all;
            }
        }
    }

    /// Up to so many mailboxes of an operation that have not ended.
    pub(crate) async fn outstanding(&self, id: &str, most: usize) -> Vec<OperationMailbox> {
        let request = ListOperationMailboxesRequest {
            operation_id: id.to_owned(),
            outstanding_only: true,
            page_size: i32::try_from(most).unwrap_or(i32::MAX),
            ..ListOperationMailboxesRequest::default()
        };
        self.page_of_mailboxes(request).await.0
    }

    async fn page_of_mailboxes(
        &self,
        request: ListOperationMailboxesRequest,
    ) -> (Vec<OperationMailbox>, String) {
        let page = self.insist(async |channel| {
            StatusServiceClient::new(channel)
                .list_operation_mailboxes(timely(request.clone()))
                .await
        });
        let page = page.await.map(tonic::Response::into_inner);
        page.map(|page| (page.mailboxes, page.next_page_token))
            .unwrap_or_default()
    }

    /// Answers that no client should get.
    pub(crate) fn refused(&self) -> Vec<String> {
        lock(&self.refused).clone()
    }

    pub(crate) fn channel(&self) -> Channel {
        let turn = self.turn.fetch_add(1, Relaxed);
        self.channels[turn % self.channels.len()].clone()
    }

    /// Asks until there is an answer, of one api after the other. None if the answer is a refusal, which is noted.
    pub(crate) async fn insist<T>(
        &self,
        mut ask: impl AsyncFnMut(Channel) -> Result<T, Status>,
    ) -> Option<T> {
        loop {
            match ask(self.channel()).await {
                Ok(answer) => return Some(answer),
                Err(status) if may_be_asked_again(&status) => pass(AGAIN).await,
                Err(status) => {
                    lock(&self.refused).push(format!("{:?}: {}", status.code(), status.message()));
                    return None;
                }
            }
        }
    }
}

/// A server that is away, or a connection that broke.
fn may_be_asked_again(status: &Status) -> bool {
    let broken = matches!(
        status.code(),
        Code::Unknown | Code::Internal | Code::Cancelled
    ) && std::error::Error::source(status).is_some();
    broken
        || matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled
        )
}

pub(crate) fn timely<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER);
    request
}

/// Whether a snapshot's counts are one sum.
pub(crate) fn adds_up(counts: &Counts) -> bool {
    let outcomes: u64 = counts.outcomes.iter().map(|count| count.count).sum();
    counts.accepted == counts.outstanding + outcomes
}
