//! Clients: they submit, repeat and cancel, and try again when a server is away, as any client should.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use calgrant_contract::pb::{
    fleet::v1::{
        AccountState, ExplainPaceRequest, ListAccountsRequest, ResumeAccountRequest,
        fleet_service_client::FleetServiceClient,
    },
    provisioning::v1::{
        CancelOperationRequest, Counts, DelegationSpec, GetOperationRequest, Lane, Operation,
        RunDelegationRequest, Selector, SiteKind, Trustee,
        provisioning_service_client::ProvisioningServiceClient, run_delegation_request::What,
        selector::By,
    },
    status::v1::{
        ListOperationMailboxesRequest, OperationMailbox, status_service_client::StatusServiceClient,
    },
};
use calgrant_testkit::pass;
use tonic::{Code, Request, Status, transport::Channel};

use crate::{plan::Work, school::TENANTS};

/// How long a client waits for an answer.
const ANSWER: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(300);

/// A run as it was asked for, and what became of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    pub(crate) tenant: usize,
    pub(crate) group: &'static str,
    pub(crate) trustee: &'static str,
    pub(crate) role: &'static str,
    pub(crate) validate_only: bool,
    pub(crate) interactive: bool,
    /// Ids that were answered: all the same, or a promise is broken.
    pub(crate) ids: Vec<String>,
    /// Somebody asked to cancel it.
    pub(crate) cancelled: bool,
}

/// All clients.
pub(crate) struct Desk {
    channels: Vec<Channel>,
    turn: AtomicUsize,
    seed: u64,
    runs: Mutex<BTreeMap<usize, Run>>,
    /// Answers that no client should get.
    refused: Mutex<Vec<String>>,
}

impl Desk {
    /// Clients of these apis.
    pub(crate) fn new(channels: Vec<Channel>, seed: u64) -> Self {
        Self {
            channels,
            turn: AtomicUsize::new(0),
            seed,
            runs: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// Does one thing, however long it takes. `number` is that of the run.
    pub(crate) async fn work(&self, number: usize, work: Work) {
        match work {
            Work::Run {
                tenant,
                trustee,
                role,
                group,
                interactive,
                validate_only,
            } => {
                let tenant = tenant % TENANTS.len();
                let of = &TENANTS[tenant];
                let run = Run {
                    tenant,
                    group: of.groups[group % of.groups.len()],
                    trustee: of.trustees[trustee % of.trustees.len()],
                    role: of.roles[role % of.roles.len()],
                    validate_only,
                    interactive,
                    ..Run::default()
                };
                self.runs().insert(number, run.clone());
                self.submit(number, &run).await;
            }
            Work::Repeat { of } => {
                let run = self.known(of).await;
                self.submit(of, &run).await;
            }
            Work::Cancel { of } => {
                let id = loop {
                    match self.known(of).await.ids.first() {
                        Some(id) => break id.clone(),
                        None => pass(AGAIN).await,
                    }
                };
                if let Some(run) = self.runs().get_mut(&of) {
                    run.cancelled = true;
                }
                let request = CancelOperationRequest { id };
                self.insist(async |channel| {
                    ProvisioningServiceClient::new(channel)
                        .cancel_operation(timely(request.clone()))
                        .await
                })
                .await;
            }
        }
    }

    /// The run of this number, once it is asked for.
    async fn known(&self, number: usize) -> Run {
        loop {
            let known = self.runs().get(&number).cloned();
            match known {
                Some(run) => return run,
                None => pass(AGAIN).await,
            }
        }
    }

    async fn submit(&self, number: usize, run: &Run) {
        let request = RunDelegationRequest {
            what: Some(What::Spec(DelegationSpec {
                tenant: TENANTS[run.tenant].name.to_owned(),
                selector: Some(Selector {
                    by: Some(By::Group(run.group.to_owned())),
                }),
                trustees: vec![Trustee {
                    site: SiteKind::Online.into(),
                    address: run.trustee.to_owned(),
                }],
                role: run.role.to_owned(),
                lower_higher: TENANTS[run.tenant].lower,
                ..DelegationSpec::default()
            })),
            request_id: format!("chaos-{}-{number}", self.seed),
            lane: if run.interactive {
                Lane::Interactive.into()
            } else {
                Lane::Bulk.into()
            },
            validate_only: run.validate_only,
            ..RunDelegationRequest::default()
        };
        let accepted = self
            .insist(async |channel| {
                ProvisioningServiceClient::new(channel)
                    .run_delegation(timely(request.clone()))
                    .await
            })
            .await;
        if let (Some(accepted), Some(run)) = (accepted, self.runs().get_mut(&number)) {
            run.ids.push(accepted.into_inner().id);
        }
    }

    /// The operation, as it stands. None if there is none.
    pub(crate) async fn operation(&self, id: &str) -> Option<Operation> {
        let request = GetOperationRequest { id: id.to_owned() };
        let answer = self.insist(async |channel| {
            let answer = ProvisioningServiceClient::new(channel)
                .get_operation(timely(request.clone()))
                .await;
            match answer {
                Err(status) if status.code() == Code::NotFound => Ok(None),
                answer => answer.map(|answer| Some(answer.into_inner())),
            }
        });
        answer.await.flatten()
    }

    /// Every mailbox of an operation.
    pub(crate) async fn mailboxes(&self, id: &str) -> Vec<OperationMailbox> {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListOperationMailboxesRequest {
                operation_id: id.to_owned(),
                page_size: 1000,
                page_token: page_token.clone(),
                ..ListOperationMailboxesRequest::default()
            };
            let page = self.insist(async |channel| {
                StatusServiceClient::new(channel)
                    .list_operation_mailboxes(timely(request.clone()))
                    .await
            });
            let Some(page) = page.await.map(tonic::Response::into_inner) else {
                return all;
            };
            all.extend(page.mailboxes);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return all;
            }
        }
    }

    /// What an operator does about accounts that a server refused: resumes them. Answers how many.
    pub(crate) async fn resume_paused(&self) -> Result<u64, Status> {
        let mut resumed = 0;
        let mut fleet = FleetServiceClient::new(self.channel());
        let listed = fleet
            .list_accounts(timely(ListAccountsRequest::default()))
            .await?;
        for account in listed.into_inner().accounts {
            if account.state() == AccountState::Refused {
                let spec = account.spec.clone().unwrap_or_default();
                let request = ResumeAccountRequest {
                    tenant: account.tenant.clone(),
                    site: account.site,
                    account: spec.name,
                };
                fleet.resume_account(timely(request)).await?;
                resumed += 1;
            }
        }
        Ok(resumed)
    }

    /// Says what an operator would look at when things are slow.
    pub(crate) async fn tell_pace(&self) {
        let mut fleet = FleetServiceClient::new(self.channel());
        let pace = fleet
            .explain_pace(timely(ExplainPaceRequest::default()))
            .await;
        for site in pace.map(|pace| pace.into_inner().sites).unwrap_or_default() {
            eprintln!("chaos: {} is {}: {}", site.tenant, site.why, site.text);
        }
        let listed = fleet
            .list_accounts(timely(ListAccountsRequest::default()))
            .await;
        for account in listed
            .map(|listed| listed.into_inner().accounts)
            .unwrap_or_default()
        {
            let name = account.spec.clone().unwrap_or_default().name;
            eprintln!("chaos: {}/{name}: {:?}", account.tenant, account.keys);
        }
    }

    /// Runs by number.
    pub(crate) fn runs(&self) -> MutexGuard<'_, BTreeMap<usize, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers that no client should get.
    pub(crate) fn refused(&self) -> Vec<String> {
        let refused = self.refused.lock();
        refused.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn channel(&self) -> Channel {
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
                    let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                    refused.push(format!("{:?}: {}", status.code(), status.message()));
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

fn timely<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER);
    request
}

/// Whether a snapshot's counts are one sum.
pub(crate) fn adds_up(counts: &Counts) -> bool {
    let outcomes: u64 = counts.outcomes.iter().map(|count| count.count).sum();
    counts.accepted == counts.outstanding + outcomes
}
