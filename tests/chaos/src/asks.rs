//! Who asks for something: submits it, repeats it, cancels it, and waits where it isn't possible yet.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use calgrant_contract::pb::provisioning::v1::{
    CancelOperationRequest, CreateDelegationRequest, DelegationSpec, Lane, Policy,
    RevokeDelegationRequest, RevokeTrusteeRequest, RunDelegationRequest, Selector, SiteKind,
    Trustee, UndoOperationRequest, provisioning_service_client::ProvisioningServiceClient,
    run_delegation_request, selector::By,
};
use calgrant_testkit::pass;
use tonic::{Code, Status, transport::Channel};

use crate::{
    desk::{AGAIN, Desk, timely},
    lock::lock,
    school::{TENANTS, Tenant, Wish},
    work::What,
};

/// Between two tries of what isn't possible yet.
const NOT_YET: Duration = Duration::from_secs(1);

/// Mailboxes of a tenant that may be outstanding when another run is asked for.
const MOST_OUTSTANDING: u64 = 80;

/// A request as it goes out, again and again the same.
#[derive(Debug, Clone)]
enum Message {
    Run(Box<RunDelegationRequest>),
    Undo(UndoOperationRequest),
    Revoke(RevokeDelegationRequest),
    RevokeTrustee(RevokeTrusteeRequest),
}

/// What was asked for, and what became of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    message: Option<Message>,
    /// Ids that were answered: all the same, or a promise is broken.
    pub(crate) ids: Vec<String>,
    /// Somebody asked to cancel it.
    pub(crate) cancelled: bool,
    /// So many people were named.
    pub(crate) named: usize,
    /// It never became possible, and wasn't waited for any longer.
    given_up: bool,
}

/// All who ask.
pub(crate) struct Asks {
    pub(crate) desk: Arc<Desk>,
    seed: u64,
    /// Ids of the delegations that stand from the beginning, by tenant and wish.
    wishes: Vec<Vec<String>>,
    asked: Mutex<BTreeMap<usize, Asked>>,
}

impl Asks {
    /// Stores the delegations that stand from the beginning.
    ///
    /// # Errors
    /// One is refused.
    pub(crate) async fn new(desk: Arc<Desk>, seed: u64) -> anyhow::Result<Self> {
        let mut wishes = Vec::new();
        for tenant in &TENANTS {
            let mut of_tenant = Vec::new();
            for wish in tenant.wishes {
                let request = CreateDelegationRequest {
                    spec: Some(spec(tenant, wish)),
                };
                let stored = desk.insist(async |channel| {
                    ProvisioningServiceClient::new(channel)
                        .create_delegation(timely(request.clone()))
                        .await
                });
                let stored = stored
                    .await
                    .ok_or_else(|| anyhow::anyhow!("{:?}", desk.refused()))?;
                of_tenant.push(stored.into_inner().id);
            }
            wishes.push(of_tenant);
        }
        Ok(Self {
            desk,
            seed,
            wishes,
            asked: Mutex::default(),
        })
    }

    /// The delegations of a tenant that events are for.
    pub(crate) fn kept(&self, tenant: usize) -> Vec<String> {
        let wishes = TENANTS[tenant].wishes.iter().zip(&self.wishes[tenant]);
        let kept = wishes.filter(|(wish, _)| wish.keep);
        kept.map(|(_, id)| id.clone()).collect()
    }

    /// What was asked for, by number.
    pub(crate) fn asked(&self) -> MutexGuard<'_, BTreeMap<usize, Asked>> {
        lock(&self.asked)
    }

    /// Asks for something, however long it takes.
    pub(crate) async fn ask(&self, number: usize, what: &What, validate_only: bool) {
        self.asked().insert(number, Asked::default());
        let message = if self.has_room(what).await {
            self.message(number, what, validate_only).await
        } else {
            None
        };
        if let Some(asked) = self.asked().get_mut(&number) {
            asked.named = message.as_ref().map_or(0, Message::named);
            asked.given_up = message.is_none();
            asked.message.clone_from(&message);
        }
        if let Some(message) = message {
            self.submit(number, &message).await;
        }
    }

    /// Waits while more of the tenant is outstanding than it could do in a minute after all those storms of refusals: what isn't over
    /// at the end shall be stuck, and not just many. False if that never came.
    async fn has_room(&self, what: &What) -> bool {
        let What::Run { tenant, .. } = what else {
            return true;
        };
        let name = TENANTS[*tenant].name;
        loop {
            let newest = self.desk.newest().await;
            let here = newest
                .iter()
                .filter(|operation| operation.tenant == name)
                .filter_map(|operation| operation.counts.as_ref());
            if here.map(|counts| counts.outstanding).sum::<u64>() <= MOST_OUTSTANDING {
                return true;
            }
            if self.desk.is_closed() {
                return false;
            }
            pass(NOT_YET).await;
        }
    }

    /// Asks for the same again.
    pub(crate) async fn repeat(&self, of: usize) {
        if let Some(message) = self.known(of, |asked| asked.message.clone()).await {
            self.submit(of, &message).await;
        }
    }

    /// Cancels what came of it.
    pub(crate) async fn cancel(&self, of: usize) {
        let Some(id) = self.known(of, |asked| asked.ids.first().cloned()).await else {
            return;
        };
        if let Some(asked) = self.asked().get_mut(&of) {
            asked.cancelled = true;
        }
        let request = CancelOperationRequest { id };
        self.desk
            .insist(async |channel| {
                ProvisioningServiceClient::new(channel)
                    .cancel_operation(timely(request.clone()))
                    .await
            })
            .await;
    }

    /// What is known of a request, once it is. None if it never will be.
    async fn known<T>(&self, number: usize, what: impl Fn(&Asked) -> Option<T>) -> Option<T> {
        loop {
            {
                let asked = self.asked();
                let of = asked.get(&number);
                if let Some(known) = of.and_then(&what) {
                    return Some(known);
                }
                if of.is_some_and(|asked| asked.given_up) {
                    return None;
                }
            }
            pass(AGAIN).await;
        }
    }

    async fn message(&self, number: usize, what: &What, validate_only: bool) -> Option<Message> {
        let request_id = format!("chaos-{}-{number}", self.seed);
        let named = |tenant: usize, persons: &[u32]| {
            let address = |person: &u32| TENANTS[tenant].person(*person);
            persons.iter().map(address).collect::<Vec<_>>()
        };
        Some(match what {
            What::Run {
                tenant,
                wish,
                anew,
                interactive,
            } => {
                let what = if *anew {
                    let of = &TENANTS[*tenant];
                    run_delegation_request::What::Spec(DelegationSpec {
                        policy: Policy::Once.into(),
                        ..spec(of, &of.wishes[*wish])
                    })
                } else {
                    let id = self.wishes[*tenant][*wish].clone();
                    run_delegation_request::What::DelegationId(id)
                };
                let lane = if *interactive {
                    Lane::Interactive
                } else {
                    Lane::Bulk
                };
                Message::Run(Box::new(RunDelegationRequest {
                    what: Some(what),
                    request_id,
                    lane: lane.into(),
                    validate_only,
                    ..RunDelegationRequest::default()
                }))
            }
            What::Undo { of } => Message::Undo(UndoOperationRequest {
                operation: self.known(*of, |asked| asked.ids.first().cloned()).await?,
                request_id,
                validate_only,
                ..UndoOperationRequest::default()
            }),
            What::Revoke {
                tenant,
                wish,
                persons,
            } => Message::Revoke(RevokeDelegationRequest {
                delegation: self.wishes[*tenant][*wish].clone(),
                mailboxes: named(*tenant, persons),
                request_id,
                validate_only,
                ..RevokeDelegationRequest::default()
            }),
            What::RevokeTrustee {
                tenant,
                trustee,
                persons,
            } => Message::RevokeTrustee(RevokeTrusteeRequest {
                tenant: TENANTS[*tenant].name.to_owned(),
                trustee: TENANTS[*tenant].trustees[*trustee].to_owned(),
                mailboxes: named(*tenant, persons),
                request_id,
                validate_only,
                ..RevokeTrusteeRequest::default()
            }),
        })
    }

    async fn submit(&self, number: usize, message: &Message) {
        loop {
            let answered = self.desk.insist(async |channel| {
                match message.send(channel).await {
                    // Something is still under way: that is for the client to wait for.
                    Err(status) if status.code() == Code::FailedPrecondition => Ok(None),
                    answer => answer.map(Some),
                }
            });
            match answered.await {
                Some(Some(id)) => {
                    if let Some(asked) = self.asked().get_mut(&number) {
                        asked.ids.push(id);
                    }
                    return;
                }
                Some(None) if !self.desk.is_closed() => pass(NOT_YET).await,
                _ => {
                    if let Some(asked) = self.asked().get_mut(&number) {
                        asked.given_up = true;
                    }
                    return;
                }
            }
        }
    }
}

impl Message {
    fn named(&self) -> usize {
        match self {
            Self::Run(_) | Self::Undo(_) => 0,
            Self::Revoke(request) => request.mailboxes.len(),
            Self::RevokeTrustee(request) => request.mailboxes.len(),
        }
    }

    /// Sends it. Answers with the id of the operation.
    async fn send(&self, channel: Channel) -> Result<String, Status> {
        let mut client = ProvisioningServiceClient::new(channel);
        let accepted = match self {
            Self::Run(request) => client.run_delegation(timely((**request).clone())).await,
            Self::Undo(request) => client.undo_operation(timely(request.clone())).await,
            Self::Revoke(request) => client.revoke_delegation(timely(request.clone())).await,
            Self::RevokeTrustee(request) => client.revoke_trustee(timely(request.clone())).await,
        };
        accepted.map(|operation| operation.into_inner().id)
    }
}

fn spec(tenant: &Tenant, wish: &Wish) -> DelegationSpec {
    let policy = if wish.keep {
        Policy::Keep
    } else {
        Policy::Once
    };
    DelegationSpec {
        tenant: tenant.name.to_owned(),
        selector: Some(Selector {
            by: Some(By::Group(wish.group.to_owned())),
        }),
        trustees: vec![Trustee {
            site: SiteKind::Online.into(),
            address: wish.trustee.to_owned(),
        }],
        role: wish.role.to_owned(),
        lower_higher: tenant.lower,
        policy: policy.into(),
        ..DelegationSpec::default()
    }
}
