//! What status tells in pages.

use calgrant_contract::pb::status::v1::{
    ListOperationMailboxesRequest, OperationMailbox, status_service_client::StatusServiceClient,
};
use tonic::{Status, transport::Channel};

/// Every mailbox of an operation.
///
/// # Errors
/// There is no such operation, or status is away.
pub async fn mailboxes(
    status: &StatusServiceClient<Channel>,
    operation: &str,
) -> Result<Vec<OperationMailbox>, Status> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListOperationMailboxesRequest {
            operation_id: operation.to_owned(),
            page_size: 1000,
            page_token,
            ..ListOperationMailboxesRequest::default()
        };
        let page = status.clone().list_operation_mailboxes(request).await?;
        let page = page.into_inner();
        all.extend(page.mailboxes);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}
