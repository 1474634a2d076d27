//! The accounts of a site, looked at one by one.

use std::sync::Arc;

use calgrant_domain::{
    AccountSpec, Address, Finding, MailboxType, Organisation, Purpose, SiteKind, SiteSpec,
    TenantName,
    assumed::{assumed, compared},
    expiry,
    preflight::{app_roles, set_up},
};
use calgrant_exchange::{
    AdministrationError, Answer, AppRoles, Ask, Calendars, Directory, Selection, secret,
};
use calgrant_exchange_ad::connect as active_directory;
use calgrant_exchange_online::connect as online;
use calgrant_exchange_onprem::connect as onprem;
use calgrant_leases::{Account, Budgets, keys};
use calgrant_runtime::clock;

use super::asking::{
    ask, call_of, not_done, not_permitted, of_listing, permitted, refused, tried, unlisted,
    unreadable,
};

/// Nobody's address, by which it is tried whether entries may be changed: there is no entry of it to change.
const NOBODY: &str = "calgrant-preflight-nobody";

/// A site that is checked.
pub(super) struct Check<'a> {
    pub(super) tenant: &'a TenantName,
    pub(super) site: &'a SiteSpec,
    pub(super) budgets: &'a Budgets,
    pub(super) trustees: Vec<Address>,
    /// A mailbox there, once one is known.
    pub(super) mailbox: Option<Address>,
}

impl Check<'_> {
    pub(super) async fn account(&mut self, account: &AccountSpec) -> Vec<Finding> {
        let mut findings = Vec::new();
        let (mut directory_roles, mut exchange_roles) = (None, None);
        if account.is(Purpose::Reader) {
            match self.directory(account) {
                Ok(directory) => {
                    let budget = self.budget(account, keys::directory(self.site.kind()));
                    findings.extend(self.reader(&*directory, &budget).await);
                    directory_roles = directory.app_roles().await.ok().flatten();
                }
                Err(why) => findings.push(unreadable("read the directory", &why)),
            }
        }
        if account.is(Purpose::Grantor) {
            match self.calendars(account) {
                Ok(calendars) => {
                    let budget = self.budget(account, keys::EXCHANGE);
                    findings.extend(self.grantor(&*calendars, &budget).await);
                    exchange_roles = calendars.app_roles().await.ok().flatten();
                    calendars.sign_out().await;
                }
                Err(why) => findings.push(unreadable("change permissions", &why)),
            }
        }
        if account.is(Purpose::Member) {
            findings.push(self.member(account).await);
        }
        if account.is(Purpose::Setup) {
            let (more, roles) = self.set_up(account).await;
            findings.extend(more);
            if let Some(roles) = roles {
                (directory_roles, exchange_roles) = (Some(roles.directory), Some(roles.exchange));
            }
        }
        // The directory on premises has no throttling policies: its readers are held to our own limits alone.
        let is_online = self.site.kind() == SiteKind::Online;
        if account.is(Purpose::Grantor) || (is_online && account.is(Purpose::Reader)) {
            findings.push(self.limits(account).await);
        }
        let certificate = secret::certificate_expires(account);
        let expires = expiry::expires_at(account.expires, certificate);
        findings.push(expiry::found(expires, clock::now()));
        findings.extend(app_roles(
            &account.purposes,
            directory_roles.as_deref(),
            exchange_roles.as_deref(),
        ));
        findings
    }

    /// What the account's calls are charged to.
    fn budget(&self, account: &AccountSpec, family: &str) -> Option<Account> {
        let keys = keys::of_account(self.tenant, self.site, account, family);
        self.budgets.account(&keys)
    }

    fn directory(&self, account: &AccountSpec) -> Result<Arc<dyn Directory>, String> {
        match &self.site.organisation {
            Organisation::Online(site) => online::directory(site, account, clock::now),
            Organisation::Onprem(site) => active_directory::directory(site, account, clock::now),
        }
    }

    fn calendars(&self, account: &AccountSpec) -> Result<Arc<dyn Calendars>, String> {
        match &self.site.organisation {
            Organisation::Online(site) => online::calendars(site, account, clock::now),
            Organisation::Onprem(site) => onprem::calendars(site, account, clock::now),
        }
    }

    async fn reader(
        &mut self,
        directory: &dyn Directory,
        budget: &Option<Account>,
    ) -> Vec<Finding> {
        if let Err(error) = directory.sign_in().await {
            return vec![refused("sign in", &error)];
        }
        let mut findings = vec![Finding::yes("sign in", "")];
        let everybody = Selection::All {
            types: vec![MailboxType::User],
        };
        let page = permitted(budget, directory.page(&everybody, None), of_listing).await;
        findings.push(match page.unwrap_or_else(|| Err(not_permitted().into())) {
            Ok(page) => {
                let mut there = page.listed.iter().filter_map(|one| one.what.as_ref().ok());
                let first = there.next().map(|mailbox| mailbox.address.clone());
                self.mailbox = self.mailbox.take().or(first);
                Finding::yes(
                    "list mailboxes",
                    format!("{} on the first page", page.listed.len()),
                )
            }
            Err(error) => unlisted("list mailboxes", &error),
        });
        for trustee in &self.trustees {
            let capability = format!("find {trustee}");
            let found = permitted(budget, directory.trustee(trustee), of_listing).await;
            findings.push(match found.unwrap_or_else(|| Err(not_permitted().into())) {
                Ok(found) => Finding::yes(capability, format!("{:?}", found.kind)),
                Err(error) => unlisted(&capability, &error),
            });
        }
        findings
    }

    async fn grantor(&self, calendars: &dyn Calendars, budget: &Option<Account>) -> Vec<Finding> {
        let ask = |mailbox, what| ask(calendars, budget, mailbox, what);
        if let Err(error) = calendars.sign_in().await {
            return vec![refused("sign in", &error)];
        }
        let mut findings = vec![Finding::yes("sign in", "")];
        let Some(mailbox) = &self.mailbox else {
            let why = "no mailbox is known to try it on: give one by --mailbox";
            findings.push(Finding::unknown("work in calendars", why));
            return findings;
        };
        let calendar = match ask(mailbox, Ask::FindCalendar).await {
            Ok(Answer::Calendar(calendar)) => {
                findings.push(Finding::yes("find calendars", mailbox.as_str()));
                calendar
            }
            Ok(_) => return findings,
            Err(error) => {
                findings.push(refused("find calendars", &error));
                return findings;
            }
        };
        let domain = mailbox.as_str().rsplit_once('@').map(|(_, domain)| domain);
        let Some(nobody) = domain.and_then(|domain| format!("{NOBODY}@{domain}").parse().ok())
        else {
            return findings;
        };
        let nobody: Address = nobody;
        let read = Ask::Read {
            calendar: calendar.clone(),
            trustee: self.trustees.first().unwrap_or(mailbox).clone(),
        };
        findings.push(tried("read permissions", ask(mailbox, read).await));
        let remove = Ask::Remove {
            calendar,
            trustee: nobody,
        };
        let removed = ask(mailbox, remove).await;
        findings.push(match removed {
            // Lists are written whole: where there is nothing to change, nothing was asked of the server.
            Err(error) if error.detail.server_code == "no_entry" => Finding::unknown(
                "change permissions",
                "lists are written whole here, so it shows with the first change",
            ),
            other => tried("change permissions", other),
        });
        findings
    }

    /// Looks what a set-up credential may do, by what there is for it: nothing is tried.
    async fn set_up(&self, account: &AccountSpec) -> (Vec<Finding>, Option<AppRoles>) {
        let hand = match &self.site.organisation {
            Organisation::Online(site) => online::administration(site, account, clock::now),
            Organisation::Onprem(site) => onprem::administration(site, account, clock::now),
        };
        let hand = match hand {
            Ok(hand) => hand,
            Err(why) => return (vec![unreadable("set the site up", &why)], None),
        };
        if let Err(error) = hand.sign_in().await {
            return (vec![refused("sign in", &error)], None);
        }
        let mut findings = vec![Finding::yes("sign in", "")];
        let budget = self.budget(account, keys::EXCHANGE);
        let asked = permitted(&budget, hand.cmdlets(), call_of);
        let managed = self.site.setup.as_ref().map(|setup| setup.managed);
        let kind = self.site.kind();
        match asked.await.unwrap_or_else(|| Err(not_permitted().into())) {
            Ok(cmdlets) => findings.extend(set_up(kind, &managed.unwrap_or_default(), &cmdlets)),
            Err(error) => findings.push(not_done("set the site up", error)),
        }
        let roles = hand.app_roles().await.ok().flatten();
        hand.sign_out().await;
        (findings, roles)
    }

    /// To which limits the account is held; on premises beside what the server's policy says, if the site's set-up account may read it.
    async fn limits(&self, account: &AccountSpec) -> Finding {
        let kind = self.site.kind();
        let by_default = || assumed(kind, account);
        let Organisation::Onprem(site) = &self.site.organisation else {
            return by_default();
        };
        let mut accounts = self.site.accounts.iter();
        let Some(reads) = accounts.find(|one| one.is(Purpose::Setup)) else {
            return by_default();
        };
        let Ok(hand) = onprem::administration(site, reads, clock::now) else {
            return by_default();
        };
        let budget = self.budget(reads, keys::EXCHANGE);
        let asked = permitted(&budget, hand.throttling_policy(&account.user), call_of);
        let read = asked.await;
        hand.sign_out().await;
        match read {
            Some(Ok(Some(policy))) => compared(site, account, &policy),
            Some(Err(AdministrationError::Forbidden { grant, .. })) => {
                let found = by_default();
                Finding {
                    todo: format!("{}; or {grant}: then it is compared here", found.todo),
                    ..found
                }
            }
            _ => by_default(),
        }
    }

    async fn member(&self, account: &AccountSpec) -> Finding {
        let Organisation::Onprem(site) = &self.site.organisation else {
            let why = "members sign in here as people do: try it with the calendar product itself";
            return Finding::unknown("work in calendars", why);
        };
        match onprem::member(site, account, clock::now) {
            Err(why) => unreadable("work in calendars", &why),
            Ok(member) => match member.sign_in().await {
                Ok(()) => Finding::unknown(
                    "work in calendars",
                    "`calgrant try` shows it, by an event that is made and deleted",
                ),
                Err(error) => refused("sign in", &error),
            },
        }
    }
}
