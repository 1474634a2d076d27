//! Exchange organisations of a site, to and from the domain.

use calgrant_domain::{
    BadInput, BudgetKey, Interface, MailboxAccess, OnlineSite, OnpremSite, OnpremWritePath,
    Organisation, SignInKind, SiteKind, TokenIssuer, WritePath,
};

use crate::{pb::fleet::v1 as pb, words};

/// Reads what a site's organisation is, and how it is reached. `None` if there is a fault; what is wrong is added to the others.
pub(crate) fn read(
    kind: Option<SiteKind>,
    wire: &pb::SiteSpec,
    faults: &mut Vec<BadInput>,
) -> Option<Organisation> {
    // Without a kind, by what is there: then its faults are named too.
    let kind = kind.unwrap_or(match wire.onprem {
        Some(_) => SiteKind::Onprem,
        None => SiteKind::Online,
    });
    match kind {
        SiteKind::Online => online(wire, faults).map(Organisation::Online),
        SiteKind::Onprem => onprem(wire, faults).map(Organisation::Onprem),
    }
}

fn online(wire: &pb::SiteSpec, faults: &mut Vec<BadInput>) -> Option<OnlineSite> {
    let before = faults.len();
    if wire.onprem.is_some() {
        faults.push(BadInput::new(
            "onprem",
            "",
            "it goes with kind onprem: Exchange Online is reached by directory_id",
        ));
    }
    let write_path = match wire.write_path {
        0 => Some(WritePath::Auto),
        raw => keep(faults, words::write_path("write_path", raw)),
    };
    if uuid::Uuid::try_parse(&wire.directory_id).is_err() {
        faults.push(BadInput::new(
            "directory_id",
            &wire.directory_id,
            "the directory's GUID is needed, such as 11111111-2222-3333-4444-555555555555",
        ));
    }
    let mut url = |field: &str, raw: &str, default: &str| {
        let url = if raw.is_empty() {
            default.to_owned()
        } else {
            raw.trim_end_matches('/').to_owned()
        };
        if !url.starts_with("https://") && !private_http(&url) {
            faults.push(BadInput::new(
                field,
                &url,
                "a https URL is needed, because tokens are sent there (http only to loopback or a single-label host of a private network)",
            ));
        }
        url
    };
    let login_url = url(
        "login_url",
        &wire.login_url,
        "https://login.microsoftonline.com",
    );
    let graph_url = url("graph_url", &wire.graph_url, "https://graph.microsoft.com");
    let admin_url = url(
        "admin_url",
        &wire.admin_url,
        "https://outlook.office365.com",
    );
    write_path
        .filter(|_| faults.len() == before)
        .map(|write_path| OnlineSite {
            directory_id: wire.directory_id.clone(),
            login_url,
            graph_url,
            admin_url,
            write_path,
        })
}

/// Whether a URL goes by http to this machine, or to a host without a domain, as on a container network.
fn private_http(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    !host.is_empty() && (host == "127.0.0.1" || rest.starts_with("[::1]") || !host.contains('.'))
}

fn keep<T>(faults: &mut Vec<BadInput>, read: Result<T, BadInput>) -> Option<T> {
    read.map_err(|bad| faults.push(bad)).ok()
}

fn onprem(site: &pb::SiteSpec, faults: &mut Vec<BadInput>) -> Option<OnpremSite> {
    let before = faults.len();
    for (field, raw) in [
        ("directory_id", &site.directory_id),
        ("login_url", &site.login_url),
        ("graph_url", &site.graph_url),
        ("admin_url", &site.admin_url),
    ] {
        if !raw.is_empty() {
            let why = "it goes with kind online: take it away here, and say under onprem how the servers are reached";
            faults.push(BadInput::new(field, raw, why));
        }
    }
    let write_path = keep(
        faults,
        words::onprem_write_path("write_path", site.write_path),
    );
    let Some(wire) = &site.onprem else {
        faults.push(BadInput::missing(
            "onprem",
            "say how the servers are reached: ews_url or powershell_url, and ldap_url",
        ));
        return None;
    };
    let mut within = Vec::new();
    let read = reached(write_path, wire, &mut within);
    faults.extend(within.into_iter().map(|bad| bad.within("onprem")));
    read.filter(|_| faults.len() == before)
}

fn reached(
    write_path: Option<OnpremWritePath>,
    wire: &pb::OnpremSite,
    faults: &mut Vec<BadInput>,
) -> Option<OnpremSite> {
    let or = |raw: i32, default: i32| if raw == 0 { default } else { raw };
    let ews_sign_in = or(wire.ews_sign_in, pb::SignIn::Ntlm as i32);
    let ews = interface("ews", &wire.ews_url, ews_sign_in, faults);
    let powershell_sign_in = or(wire.powershell_sign_in, pb::SignIn::Basic as i32);
    let powershell = interface(
        "powershell",
        &wire.powershell_url,
        powershell_sign_in,
        faults,
    );
    let needed = match write_path {
        Some(OnpremWritePath::Powershell) => Some(("powershell_url", &wire.powershell_url)),
        Some(OnpremWritePath::Ews) => Some(("ews_url", &wire.ews_url)),
        None => None,
    };
    if let Some((field, "")) = needed.map(|(field, raw)| (field, raw.as_str())) {
        faults.push(BadInput::missing(
            field,
            "the write path needs it; it looks like https://mail.uni.example/EWS/Exchange.asmx or https://mail.uni.example/PowerShell/",
        ));
    }
    let access = or(wire.access, pb::MailboxAccess::Impersonation as i32);
    let access = keep(faults, words::mailbox_access("access", access));
    let budget_key = or(wire.budget_key, pb::BudgetKey::Caller as i32);
    let budget_key = keep(faults, words::budget_key("budget_key", budget_key));
    if budget_key == Some(BudgetKey::Target) && access == Some(MailboxAccess::FullAccess) {
        faults.push(BadInput::new(
            "budget_key",
            BudgetKey::Target,
            "only an account that acts for a mailbox's owner has its calls charged to the mailbox: use caller",
        ));
    }
    let disabled = or(wire.disabled_accounts, pb::DisabledAccounts::Refuse as i32);
    let disabled_accounts = keep(
        faults,
        words::disabled_accounts("disabled_accounts", disabled),
    );
    let by_token = [&ews, &powershell]
        .into_iter()
        .flatten()
        .any(|interface| interface.sign_in == SignInKind::Bearer);
    let token = token(wire, by_token, faults);
    controller(wire, faults);
    let some = |raw: &str| Some(raw.trim().to_owned()).filter(|text| !text.is_empty());
    Some(OnpremSite {
        write_path: write_path?,
        ews,
        powershell,
        access: access?,
        budget_key: budget_key?,
        token,
        ldap_url: wire.ldap_url.trim().to_owned(),
        ldap_base: some(&wire.ldap_base),
        disabled_accounts: disabled_accounts?,
        ca_file: some(&wire.ca_file),
    })
}

fn interface(name: &str, url: &str, sign_in: i32, faults: &mut Vec<BadInput>) -> Option<Interface> {
    let sign_in: Option<SignInKind> =
        keep(faults, words::sign_in(&format!("{name}_sign_in"), sign_in));
    let url = url.trim();
    if url.is_empty() {
        return None;
    }
    if !safe(url) {
        faults.push(BadInput::new(
            format!("{name}_url"),
            url,
            "a https URL is needed, because passwords are sent there, such as https://mail.uni.example/EWS/Exchange.asmx (http only to this machine)",
        ));
    }
    Some(Interface {
        url: url.to_owned(),
        sign_in: sign_in?,
    })
}

/// Whether a password may go to a URL: over TLS, or without leaving this machine.
fn safe(url: &str) -> bool {
    let host = |rest: &str| {
        let host = rest.split('/').next().unwrap_or_default().to_owned();
        (!host.is_empty() && !host.contains(['@', ' '])).then_some(host)
    };
    if let Some(rest) = url.strip_prefix("https://") {
        return host(rest).is_some();
    }
    let Some(host) = url.strip_prefix("http://").and_then(host) else {
        return false;
    };
    let port = |rest: &str| rest.is_empty() || rest.starts_with(':');
    ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|here| host.strip_prefix(here).is_some_and(port))
}

fn token(wire: &pb::OnpremSite, used: bool, faults: &mut Vec<BadInput>) -> Option<TokenIssuer> {
    let (url, scope) = (wire.token_url.trim(), wire.token_scope.trim());
    if !used && url.is_empty() && scope.is_empty() {
        return None;
    }
    if !safe(url) {
        faults.push(BadInput::new(
            "token_url",
            url,
            "where tokens are issued, as a https URL, such as https://adfs.uni.example/adfs/oauth2/token",
        ));
    }
    if scope.is_empty() {
        faults.push(BadInput::missing(
            "token_scope",
            "what the tokens are for, such as https://mail.uni.example/.default",
        ));
    }
    Some(TokenIssuer {
        url: url.to_owned(),
        scope: scope.to_owned(),
    })
}

fn controller(wire: &pb::OnpremSite, faults: &mut Vec<BadInput>) {
    let url = wire.ldap_url.trim();
    let rest = url
        .strip_prefix("ldaps://")
        .or_else(|| url.strip_prefix("ldap://"));
    let host = rest.map(|rest| rest.trim_end_matches('/'));
    if host.is_none_or(|host| host.is_empty() || host.contains(['/', '@', ' ', '?'])) {
        faults.push(BadInput::new(
            "ldap_url",
            url,
            "the domain controller that mailboxes are listed at, such as ldaps://dc1.uni.example; ldap:// begins with StartTLS",
        ));
    }
    if !wire.ldap_base.trim().is_empty() && !wire.ldap_base.contains('=') {
        faults.push(BadInput::new(
            "ldap_base",
            &wire.ldap_base,
            "a distinguished name is needed, such as DC=uni,DC=example; left out, it is the controller's own domain",
        ));
    }
}

/// Writes how an organisation is reached into a site.
pub(crate) fn write(organisation: &Organisation, into: &mut pb::SiteSpec) {
    match organisation {
        Organisation::Online(site) => {
            into.directory_id = site.directory_id.clone();
            into.login_url = site.login_url.clone();
            into.graph_url = site.graph_url.clone();
            into.admin_url = site.admin_url.clone();
            into.write_path = words::write_path_to_wire(site.write_path);
        }
        Organisation::Onprem(site) => {
            into.write_path = words::onprem_write_path_to_wire(site.write_path);
            into.onprem = Some(onprem_to_wire(site));
        }
    }
}

fn onprem_to_wire(site: &OnpremSite) -> pb::OnpremSite {
    let parts = |interface: Option<&Interface>| {
        interface.map_or((String::new(), 0), |interface| {
            let sign_in = words::sign_in_to_wire(interface.sign_in);
            (interface.url.clone(), sign_in)
        })
    };
    let (ews_url, ews_sign_in) = parts(site.ews.as_ref());
    let (powershell_url, powershell_sign_in) = parts(site.powershell.as_ref());
    let (token_url, token_scope) = site
        .token
        .as_ref()
        .map(|issuer| (issuer.url.clone(), issuer.scope.clone()))
        .unwrap_or_default();
    pb::OnpremSite {
        ews_url,
        ews_sign_in,
        powershell_url,
        powershell_sign_in,
        access: words::mailbox_access_to_wire(site.access),
        budget_key: words::budget_key_to_wire(site.budget_key),
        token_url,
        token_scope,
        ldap_url: site.ldap_url.clone(),
        ldap_base: site.ldap_base.clone().unwrap_or_default(),
        disabled_accounts: words::disabled_accounts_to_wire(site.disabled_accounts),
        ca_file: site.ca_file.clone().unwrap_or_default(),
    }
}

/// What accounts of a site must say of themselves, and what holds for them unless they say otherwise.
pub(crate) struct AccountRules {
    /// How grantors sign in on premises, by the interfaces that they use; `None` online.
    onprem: Option<Vec<SignInKind>>,
    /// Calls over EWS change permissions, and are charged so.
    pub(crate) ews: Option<BudgetKey>,
}

impl AccountRules {
    /// Those of an organisation. Before it could be read, of its kind alone.
    pub(crate) fn of(kind: Option<SiteKind>, organisation: Option<&Organisation>) -> Self {
        match organisation {
            Some(Organisation::Onprem(site)) => Self {
                onprem: Some(site.interfaces().map(|at| at.sign_in).collect()),
                ews: (site.write_path == OnpremWritePath::Ews).then_some(site.budget_key),
            },
            None if kind == Some(SiteKind::Onprem) => Self {
                onprem: Some(Vec::new()),
                ews: None,
            },
            _ => Self {
                onprem: None,
                ews: None,
            },
        }
    }

    /// Whether it is on premises.
    pub(crate) fn is_onprem(&self) -> bool {
        self.onprem.is_some()
    }

    /// Faults of how an account names itself.
    pub(crate) fn names(&self, account: &pb::AccountSpec, faults: &mut Vec<BadInput>) {
        let (client_id, user) = (account.client_id.trim(), account.user.trim());
        let Some(sign_ins) = &self.onprem else {
            if client_id.is_empty() {
                faults.push(BadInput::missing(
                    "client_id",
                    "the client id of its app registration is needed",
                ));
            }
            if !user.is_empty() {
                faults.push(BadInput::new(
                    "user",
                    user,
                    "accounts of Exchange Online sign in by client_id: take it away",
                ));
            }
            return;
        };
        // Those of them that sign in at Exchange.
        let at_exchange =
            |known: pb::Purpose| matches!(known, pb::Purpose::Grantor | pb::Purpose::Setup);
        let grantor = account.purposes().any(at_exchange);
        let others = account.purposes().any(|known| !at_exchange(known));
        let by_token = |kind: &SignInKind| *kind == SignInKind::Bearer;
        let needs_id = grantor && sign_ins.iter().any(by_token);
        let needs_name =
            others || !grantor || sign_ins.is_empty() || !sign_ins.iter().all(by_token);
        if needs_id && client_id.is_empty() {
            faults.push(BadInput::missing(
                "client_id",
                "the client id that tokens are issued to is needed, because the site's sign-in is bearer",
            ));
        }
        if !needs_id && !client_id.is_empty() {
            faults.push(BadInput::new(
                "client_id",
                client_id,
                "it goes with the sign-in bearer; with basic or ntlm, give user alone",
            ));
        }
        let fits = |user: &str| user.chars().count() <= 256 && !user.contains(char::is_control);
        if needs_name && (user.is_empty() || !fits(user)) {
            faults.push(BadInput::new(
                "user",
                user,
                "the name it signs in with is needed, such as UNI\\sa-1 or sa-1@uni.example",
            ));
        }
    }
}

#[cfg(test)]
#[path = "organisation_tests.rs"]
mod tests;
