//! Uploaded lists: parsed line by line as they arrive, faults named by line, nothing stored if there are any.

use calgrant_contract::{
    pb::{
        ledger::v1::{
            ListLine, StoreMailboxListRequest, ledger_service_client::LedgerServiceClient,
        },
        provisioning::v1::{UploadMailboxListRequest, UploadMailboxListResponse},
    },
    refusal,
};
use calgrant_domain::{Address, BadInput, TenantName};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

/// Most faults kept: an answer has room for fewer.
const FAULTS: usize = 100;

/// Passes a list on to status while it arrives.
///
/// # Errors
/// Faults by line; what status says; a broken stream.
pub async fn upload(
    mut ledger: LedgerServiceClient<Channel>,
    mut parts: Streaming<UploadMailboxListRequest>,
) -> Result<UploadMailboxListResponse, Status> {
    let (sender, receiver) = mpsc::channel(4);
    let read = async move {
        let mut parser = Parser::default();
        while let Some(part) = parts.message().await? {
            if let Some(part) = parser.part(part) {
                // A failure to send shows in status's own answer.
                let _gone = sender.send(part).await;
            }
        }
        parser.finish()
    };
    // Dropping the call, when the list has faults, makes status roll back what it received.
    let store = ledger.store_mailbox_list(ReceiverStream::new(receiver));
    tokio::pin!(read, store);
    let mut whole = false;
    loop {
        tokio::select! {
            read = &mut read, if !whole => { read?; whole = true; }
            stored = &mut store => {
                if !whole && stored.is_ok() {
                    read.as_mut().await?;
                }
                let stored = stored?.into_inner();
                return Ok(UploadMailboxListResponse { id: stored.id, names: stored.names, repeated_lines: stored.repeated_lines });
            }
        }
    }
}

#[derive(Default)]
struct Parser {
    tenant: Option<TenantName>,
    line: u32,
    names: u64,
    faults: Vec<BadInput>,
    more_faults: usize,
}

impl Parser {
    /// The part as status takes it; nothing once there is a fault.
    fn part(&mut self, part: UploadMailboxListRequest) -> Option<StoreMailboxListRequest> {
        if self.tenant.is_none() {
            match part.tenant.parse() {
                Ok(tenant) => self.tenant = Some(tenant),
                Err(bad) => self.fault(bad.within("tenant")),
            }
        }
        let mut lines = Vec::with_capacity(part.lines.len());
        for raw in part.lines {
            self.line = self.line.saturating_add(1);
            let text = raw.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match text.parse::<Address>() {
                Ok(address) => lines.push(ListLine {
                    line: self.line,
                    address: address.to_string(),
                }),
                Err(bad) => self.fault(bad.within(&format!("lines[{}]", self.line))),
            }
        }
        self.names += lines.len() as u64;
        let tenant = self.tenant.as_ref()?.to_string();
        self.faults
            .is_empty()
            .then_some(StoreMailboxListRequest { tenant, lines })
    }

    fn fault(&mut self, bad: BadInput) {
        if self.faults.len() < FAULTS {
            self.faults.push(bad);
        } else {
            self.more_faults += 1;
        }
    }

    fn finish(mut self) -> Result<(), Status> {
        if self.faults.is_empty() && self.names == 0 {
            self.faults.push(BadInput::missing(
                "lines",
                "the list names no mailbox; send one address a line",
            ));
        }
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(refusal::bad_input_and_more(&self.faults, self.more_faults))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(tenant: &str, lines: &[&str]) -> UploadMailboxListRequest {
        UploadMailboxListRequest {
            tenant: tenant.into(),
            lines: lines.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn faults_are_named_by_line_through_all_parts() {
        let mut parser = Parser::default();
        assert!(
            parser
                .part(part("uni", &["ada@uni.example", "# staff", ""]))
                .is_some()
        );
        assert!(
            parser
                .part(part(
                    "",
                    &["nonsense", "bob@uni.example", "x y@uni.example"]
                ))
                .is_none()
        );
        let fields: Vec<_> = parser.faults.iter().map(|bad| bad.field.clone()).collect();
        assert_eq!(fields, ["lines[4]", "lines[6]"]);
        assert_eq!(
            parser.finish().unwrap_err().code(),
            tonic::Code::InvalidArgument
        );
    }

    #[test]
    fn an_empty_list_and_a_missing_tenant_are_refused() {
        let mut parser = Parser::default();
        assert!(parser.part(part("", &["ada@uni.example"])).is_none());
        assert!(parser.finish().is_err());
        assert!(Parser::default().finish().is_err());
    }
}
