//! Exchange organisations of a tenant: where they are, and how they are reached.

use std::time::Duration;

use crate::{AccountSpec, Purpose, SetupSpec, SharedLimits, outcome::words};

words!(
    /// Which Exchange organisation of a tenant.
    SiteKind {
        /// Exchange Online.
        Online = "online",
        /// Exchange Server.
        Onprem = "onprem",
    }
);

words!(
    /// Which of Exchange Online's interfaces changes permissions.
    WritePath {
        /// The Admin API where the organisation has it, else InvokeCommand.
        Auto = "auto",
        /// Admin API v2.0.
        AdminApi = "admin_api",
        /// InvokeCommand, several mailboxes in one round trip.
        InvokeCommand = "invoke_command",
    }
);

words!(
    /// Which interface of servers on premises changes permissions.
    OnpremWritePath {
        /// Remote PowerShell: one entry is changed, and the others aren't touched.
        Powershell = "powershell",
        /// EWS: the whole list is read, and written back with one entry changed.
        Ews = "ews",
    }
);

words!(
    /// How accounts sign in to an interface on premises.
    SignInKind {
        /// Name and password, with each request over TLS.
        Basic = "basic",
        /// NTLM, bound to its TLS connection.
        Ntlm = "ntlm",
        /// Kerberos, for each connection. Remote PowerShell may be reached by it without TLS: everything is sealed then.
        Kerberos = "kerberos",
        /// A token that an authority issues to the account's client id.
        Bearer = "bearer",
    }
);

words!(
    /// How accounts reach others' calendars over EWS.
    MailboxAccess {
        /// They act as the mailbox's owner: the role `ApplicationImpersonation`.
        Impersonation = "impersonation",
        /// They have full access to the mailboxes.
        FullAccess = "full_access",
    }
);

words!(
    /// Whose server time the calls over EWS are charged to.
    BudgetKey {
        /// The account's that calls.
        Caller = "caller",
        /// The mailbox's that is worked in: each has a budget of its own, which one delegation doesn't use up.
        Target = "target",
        /// Nobody's: the account's throttling policy has no such limit.
        Nobody = "nobody",
    }
);

words!(
    /// What becomes of people's mailboxes whose account in Active Directory is disabled. Accounts of shared mailboxes, rooms and
    /// equipment are disabled by design, and suit either way.
    DisabledAccounts {
        /// They don't suit.
        Refuse = "refuse",
        /// They suit like any other.
        Include = "include",
    }
);

/// Exchange Online, as a tenant has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlineSite {
    /// The directory's (Entra tenant's) GUID.
    pub directory_id: String,
    /// Base URL of the token endpoint, `https://login.microsoftonline.com` by default.
    pub login_url: String,
    /// Base URL of Microsoft Graph, `https://graph.microsoft.com` by default.
    pub graph_url: String,
    /// Base URL of the administrative interfaces, `https://outlook.office365.com` by default.
    pub admin_url: String,
    /// Which interface changes permissions.
    pub write_path: WritePath,
}

/// An interface of a server on premises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its URL: https, or http on this machine, or http where everything is sealed.
    pub url: String,
    /// How accounts sign in there.
    pub sign_in: SignInKind,
}

/// Who issues tokens that servers on premises take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIssuer {
    /// Where they are asked for.
    pub url: String,
    /// What they are for, such as `https://mail.uni.example/.default`.
    pub scope: String,
}

/// Exchange Server, with its Active Directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnpremSite {
    /// Which interface changes permissions. It is there.
    pub write_path: OnpremWritePath,
    /// EWS, if it is used.
    pub ews: Option<Interface>,
    /// Remote PowerShell, if it is used: beside EWS, for the lists that can't be written back whole.
    pub powershell: Option<Interface>,
    /// How accounts reach calendars over EWS.
    pub access: MailboxAccess,
    /// Whose server time that is charged to.
    pub budget_key: BudgetKey,
    /// Who issues tokens, where an account signs in with one.
    pub token: Option<TokenIssuer>,
    /// The domain controller: `ldaps://dc1.uni.example`, or `ldap://dc1.uni.example`, which begins with `StartTLS`.
    pub ldap_url: String,
    /// The part of the directory that is looked at; `None`: the controller's own domain.
    pub ldap_base: Option<String>,
    /// What becomes of disabled accounts.
    pub disabled_accounts: DisabledAccounts,
    /// Path of a file with certificates (PEM) of authorities that are trusted, on the machine of the process that connects.
    pub ca_file: Option<String>,
}

impl OnpremSite {
    /// The interfaces that grantors use, the one that changes permissions first.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        let (first, second) = match self.write_path {
            OnpremWritePath::Powershell => (&self.powershell, &None),
            OnpremWritePath::Ews => (&self.ews, &self.powershell),
        };
        [first, second].into_iter().flatten()
    }
}

/// An Exchange organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Organisation {
    /// In the cloud.
    Online(OnlineSite),
    /// On premises.
    Onprem(OnpremSite),
}

/// One Exchange organisation of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteSpec {
    /// What and where it is.
    pub organisation: Organisation,
    /// First wait for a mailbox that isn't ready; doubles up to an hour. 5 minutes by default.
    pub park_first: Duration,
    /// Longest wait for it, from acceptance. 24 hours by default.
    pub park_limit: Duration,
    /// What Exchange lets all its accounts do together.
    pub shared: SharedLimits,
    /// Service accounts of the site.
    pub accounts: Vec<AccountSpec>,
    /// The accounts and the group that set-up makes there; `None`: nothing is made.
    pub setup: Option<SetupSpec>,
}

impl SiteSpec {
    /// Which it is.
    pub fn kind(&self) -> SiteKind {
        match self.organisation {
            Organisation::Online(_) => SiteKind::Online,
            Organisation::Onprem(_) => SiteKind::Onprem,
        }
    }

    /// The service accounts that a right of `trustee` lets into a calendar of this site: those of the tenant's file that are members of
    /// the delegation group, by name, and those that set-up makes, by address. Where set-up makes the group, a right of any other
    /// trustee is nobody's but that one's own.
    pub fn accounts_of(&self, trustee: &str) -> Vec<String> {
        let members = self
            .accounts
            .iter()
            .filter(|account| account.is(Purpose::Member));
        let Some(setup) = &self.setup else {
            return members.map(|account| account.name.to_string()).collect();
        };
        let made = setup.numbers().map(|number| setup.name.of(number));
        if setup.group.as_str() != trustee {
            let itself = made.filter(|address| address.as_str() == trustee);
            return itself.map(|address| address.to_string()).collect();
        }
        let made: Vec<_> = made.map(|address| address.to_string()).collect();
        let others = members.filter(|account| !made.contains(&account.user.to_lowercase()));
        let mut all: Vec<_> = others.map(|account| account.name.to_string()).collect();
        all.extend(made);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{account::sample, setup::ManagedParts};

    fn account(name: &str, user: &str, purpose: Purpose) -> AccountSpec {
        AccountSpec {
            name: name.parse().unwrap(),
            purposes: vec![purpose],
            user: user.to_owned(),
            ..sample()
        }
    }

    #[test]
    fn whom_a_right_lets_in() {
        let plain = SiteSpec {
            organisation: Organisation::Online(OnlineSite {
                directory_id: String::new(),
                login_url: String::new(),
                graph_url: String::new(),
                admin_url: String::new(),
                write_path: WritePath::Auto,
            }),
            park_first: Duration::ZERO,
            park_limit: Duration::ZERO,
            shared: SharedLimits::default(),
            accounts: vec![
                account("writer", "", Purpose::Grantor),
                account("own", "own@uni.example", Purpose::Member),
                account("one", "SA-1@uni.example", Purpose::Member),
            ],
            setup: None,
        };
        let set_up = SiteSpec {
            setup: Some(SetupSpec {
                count: 3,
                without: vec![2],
                name: "sa-{n}@uni.example".parse().unwrap(),
                display_name: String::new(),
                usage_location: None,
                sku: None,
                organizational_unit: None,
                group: "delegates@uni.example".parse().unwrap(),
                group_name: String::new(),
                group_owners: Vec::new(),
                managed: ManagedParts::default(),
                hand_over: None,
                password_days: None,
            }),
            ..plain.clone()
        };
        for (site, trustee, wanted) in [
            (&plain, "delegates@uni.example", &["own", "one"] as &[&str]),
            (
                &set_up,
                "delegates@uni.example",
                &["own", "sa-1@uni.example", "sa-3@uni.example"],
            ),
            (&set_up, "sa-3@uni.example", &["sa-3@uni.example"]),
            (&set_up, "sa-2@uni.example", &[]),
            (&set_up, "others@uni.example", &[]),
        ] {
            assert_eq!(site.accounts_of(trustee), wanted, "{trustee}");
        }
    }
}
