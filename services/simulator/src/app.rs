//! One app registration: what it signs in with, and what it may do.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use crate::application::Assignment;
use crate::identity::Registered;
use crate::limiter::Limiter;
use crate::limits::Limits;
use crate::management_role::Roles;
use crate::parameters::Parameters;
use crate::reply::CmdletError;
use crate::scenario::AppSpec;

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) client_id: String,
    /// Its place among the tenant's apps.
    pub(crate) number: usize,
    /// People may sign in to it on other devices.
    pub(crate) public: bool,
    registration: RwLock<Registration>,
    pub(crate) exchange: Arc<Limiter>,
    pub(crate) graph: Arc<Limiter>,
}

/// What can change about an app while the simulator runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registration {
    pub(crate) secret: Option<String>,
    pub(crate) secret_expired: bool,
    pub(crate) certificate: Option<Registered>,
    pub(crate) roles: HashSet<String>,
    /// In lower case.
    pub(crate) cmdlets: HashSet<String>,
    pub(crate) management: Roles,
    /// What it has in Exchange as an application.
    pub(crate) assignments: Vec<Assignment>,
}

impl Registration {
    /// Gives these cmdlets, and those of these management roles, and takes all others away.
    pub(crate) fn allow(&mut self, cmdlets: &[String], roles: &[String]) {
        self.management = Roles::named(roles);
        let named = cmdlets.iter().map(|name| name.to_lowercase());
        self.cmdlets = named.chain(self.management.cmdlets()).collect();
    }
}

impl App {
    /// An app that has nothing in Exchange as an application yet.
    pub(crate) fn build(spec: AppSpec, number: usize) -> Self {
        let mut registration = Registration {
            secret: spec.secret,
            secret_expired: spec.secret_expired,
            certificate: spec.certificate.as_deref().and_then(Registered::from_pem),
            roles: spec.roles.into_iter().collect(),
            ..Registration::default()
        };
        registration.allow(&spec.cmdlets, &spec.management_roles);
        Self {
            client_id: spec.client_id.to_string(),
            number,
            public: spec.public_client,
            registration: RwLock::new(registration),
            exchange: Arc::new(Limiter::new("app", spec.limits)),
            graph: Arc::new(Limiter::new("app, Graph", spec.graph_limits)),
        }
    }

    /// What an account on premises is to cmdlets and to the judge.
    pub(crate) fn of_account(
        name: String,
        number: usize,
        cmdlets: &[String],
        roles: &[String],
    ) -> Self {
        let mut registration = Registration::default();
        registration.allow(cmdlets, roles);
        Self {
            client_id: name,
            number,
            public: false,
            registration: RwLock::new(registration),
            exchange: Arc::new(Limiter::new("account", Limits::default())),
            graph: Arc::new(Limiter::new("account", Limits::default())),
        }
    }

    pub(crate) fn registration(&self) -> Registration {
        let registration = self.registration.read();
        registration.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn register(&self, registration: Registration) {
        let mut held = self
            .registration
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *held = registration;
    }

    pub(crate) fn has_role(&self, role: &str) -> bool {
        let registration = self
            .registration
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        registration.roles.contains(role)
    }

    /// Whether its role groups hold this cmdlet.
    pub(crate) fn may_run(&self, cmdlet: &str) -> bool {
        let registration = self
            .registration
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        registration.cmdlets.contains(&cmdlet.to_lowercase())
    }

    /// Refuses parameters that its roles don't hold.
    pub(crate) fn check(
        &self,
        cmdlet: &str,
        parameters: &Parameters<'_>,
    ) -> Result<(), CmdletError> {
        let registration = self
            .registration
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        registration.management.check(cmdlet, parameters)
    }

    /// Every cmdlet its role groups hold, in lower case and order.
    pub(crate) fn cmdlets(&self) -> Vec<String> {
        let mut cmdlets: Vec<_> = self.registration().cmdlets.into_iter().collect();
        cmdlets.sort();
        cmdlets
    }
}
