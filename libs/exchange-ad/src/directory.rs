//! The directory's port over LDAP.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use calgrant_domain::{Address, DisabledAccounts, Listed, MailboxId, OperationFailure, Reason};
use calgrant_exchange::{
    CallError, Depth, Directory, ListingError, LookedUp, Meaning, Page, Resolved, Selection,
    TrusteeFound,
};
use ldap3::Scope;
use uuid::Uuid;

use crate::{
    Nesting, Now, Settings, SettingsError,
    classify::{INVALID_DN, NO_SUCH_OBJECT, Verdict},
    dn::Dn,
    entry::Entry,
    filter,
    kept::Kept,
    listing::{Frame, GROUPS, Listing},
    recipient::ATTRIBUTES,
    session::{Search, Session, Trouble},
    settings::Checked,
    sign_in::SignInFailure,
    trustee::{judge, looked_up},
};

/// Names looked up in one search.
const NAMES: usize = 50;
/// How far up a name is followed to find what exists of it.
const UPWARDS: usize = 12;

/// A group, as it was found.
struct Group {
    guid: Uuid,
    dn: String,
    /// The last part of its SID.
    rid: Option<u32>,
}

impl Group {
    /// The last parts of the SIDs of the group and of all groups in it.
    async fn rids(&self, session: &mut Session) -> Result<Vec<u32>, Trouble> {
        let nested = whole(session, filter::nested_groups(&self.dn));
        let nested = session.search_all(&nested, &["objectSid"]).await?;
        let nested = nested.iter().filter_map(Entry::rid);
        Ok(self.rid.into_iter().chain(nested).collect())
    }

    /// Those of these mailboxes that are in the group, at whatever depth; one may be found more than once.
    async fn members_with_id(
        &self,
        session: &mut Session,
        mailboxes: &[MailboxId],
    ) -> Result<Vec<Entry>, Trouble> {
        let rids = self.rids(session).await?;
        let mut pieces = rids.chunks(GROUPS);
        // Once also where there is none of them.
        let first = pieces.next().unwrap_or_default();
        let mut found = Vec::new();
        for rids in std::iter::once(first).chain(pieces) {
            for together in mailboxes.chunks(NAMES) {
                let guids: Vec<_> = together
                    .iter()
                    .map(|mailbox| mailbox.as_uuid().to_bytes_le())
                    .collect();
                let filter = filter::members_with_id(&guids, &self.dn, rids);
                let search = whole(session, filter);
                found.extend(session.search_all(&search, ATTRIBUTES).await?);
            }
        }
        Ok(found)
    }
}

/// A reader account at a domain controller.
pub struct ActiveDirectory {
    settings: Checked,
    now: Now,
    kept: Mutex<Kept>,
    /// One sign-in at a time, so that a wrong password is tried once and not by everybody who waits.
    door: tokio::sync::Mutex<()>,
}

impl ActiveDirectory {
    /// An account that hasn't signed in yet.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn new(settings: Settings, now: Now) -> Result<Self, SettingsError> {
        Ok(Self {
            settings: settings.checked()?,
            now,
            kept: Mutex::default(),
            door: tokio::sync::Mutex::default(),
        })
    }

    /// A mailbox, or any other object, by its GUID: that of the mailbox, or that of the object.
    ///
    /// # Errors
    /// The call failed.
    pub async fn by_id(&self, id: MailboxId) -> Result<Listed, ListingError> {
        let mut session = self.session().await?;
        let filter = filter::with_id(&id.as_uuid().to_bytes_le());
        let found = session
            .search_all(&whole(&session, filter), ATTRIBUTES)
            .await;
        let base = session.base.clone();
        let found = self.after(session, found)?;
        Ok(match found.as_slice() {
            [one] => one.listed(&base, self.settings.disabled),
            none_or_many => Listed {
                id,
                name: id.as_uuid().to_string(),
                what: Err(if none_or_many.is_empty() {
                    Reason::NotFound
                } else {
                    Reason::Ambiguous
                }),
                lines: Vec::new(),
            },
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection, signed in: an idle one, or a new one.
    async fn session(&self) -> Result<Session, CallError> {
        if let Some(session) = self.kept().session((self.now)()) {
            return Ok(session);
        }
        let _one_at_a_time = self.door.lock().await;
        if let Some(session) = self.kept().session((self.now)()) {
            return Ok(session);
        }
        // A refusal that stands isn't asked for again: that is how accounts get locked.
        if let Some(refusal) = self.kept().refusal((self.now)()) {
            return Err(refusal);
        }
        match Session::open(&self.settings).await {
            Ok(session) => Ok(session),
            Err(error) => {
                if let Some(why) = SignInFailure::of(&error) {
                    self.kept().refuse(error.clone(), (self.now)() + why.hold());
                }
                Err(error)
            }
        }
    }

    /// Keeps the connection of a call that ended, unless it broke.
    fn after<T>(&self, session: Session, outcome: Result<T, Trouble>) -> Result<T, CallError> {
        let signed_out = |trouble: &Trouble| match trouble {
            Trouble::Refused(verdict) => verdict.error().meaning == Meaning::SignInAgain,
            Trouble::Broken(_) => true,
        };
        if !outcome.as_ref().is_err_and(signed_out) {
            self.kept().keep(session, (self.now)());
        }
        Ok(outcome?)
    }

    /// Everything that any of the names may mean, and the base it was looked for in.
    async fn named(&self, names: &[Address]) -> Result<(Vec<Entry>, String), CallError> {
        let mut session = self.session().await?;
        let search = whole(&session, filter::named(names));
        let found = session.search_all(&search, ATTRIBUTES).await;
        let base = session.base.clone();
        Ok((self.after(session, found)?, base))
    }

    /// A listing that hasn't read a page yet.
    async fn begin(&self, selection: &Selection) -> Result<Listing, ListingError> {
        match selection {
            Selection::Group(address) => self.begin_group(address).await,
            Selection::OrganizationalUnit { dn, depth } => {
                let unit = Dn::parse(dn).ok_or_else(|| {
                    no_unit(
                        dn,
                        "it is not a distinguished name; write it as OU=Students,DC=uni,DC=example",
                    )
                })?;
                let session = self.session().await?;
                if let Some(base) = Dn::parse(&session.base)
                    && unit != base
                    && !unit.is_below(&base)
                {
                    let why = format!(
                        "it lies outside of {}, which is what this account reads",
                        session.base
                    );
                    self.kept().keep(session, (self.now)());
                    return Err(no_unit(dn, &why));
                }
                let scope = match depth {
                    Depth::Subtree => Scope::Subtree,
                    Depth::OneLevel => Scope::OneLevel,
                };
                let search = Search {
                    base: dn.trim().to_owned(),
                    scope,
                    filter: filter::recipients(),
                };
                Ok(Listing::search(session, search))
            }
            Selection::AdministrativeUnit(name) => Err(ListingError::Refused {
                failure: OperationFailure::AdministrativeUnitNotFound,
                why: format!(
                    "there is no administrative unit {name:?} here: Exchange Online alone has them; select a group or an organisational unit"
                ),
            }),
            Selection::All { types } => {
                let session = self.session().await?;
                let with_disabled = self.settings.disabled == DisabledAccounts::Include;
                let search = whole(&session, filter::mailboxes(types, with_disabled));
                Ok(Listing::search(session, search))
            }
        }
    }

    async fn begin_group(&self, address: &Address) -> Result<Listing, ListingError> {
        let (mut session, group) = self.group_of(address).await?;
        if self.walks(group.guid) {
            return Ok(Listing::walk(session, group.guid));
        }
        match group.rids(&mut session).await {
            Ok(rids) => Ok(Listing::in_chain(session, group.guid, &group.dn, &rids)),
            Err(trouble) => match self.walk_instead(group.guid, trouble) {
                None => Ok(Listing::walk(session, group.guid)),
                Some(trouble) => Ok(self.after(session, Err(trouble))?),
            },
        }
    }

    /// The one group of this address, and the connection it was found by.
    async fn group_of(&self, address: &Address) -> Result<(Session, Group), ListingError> {
        let mut session = self.session().await?;
        let domain = Dn::parse(&session.base).map_or_else(String::new, |base| base.domain());
        let search = whole(&session, filter::group(address, &domain));
        let found = match session.search_all(&search, ATTRIBUTES).await {
            Ok(found) => found,
            Err(trouble) => return Ok(self.after(session, Err(trouble))?),
        };
        let group = match found.as_slice() {
            [group] => group.object_guid().map(|guid| Group {
                guid,
                dn: group.dn.clone(),
                rid: group.rid(),
            }),
            _ => None,
        };
        match group {
            Some(group) => Ok((session, group)),
            None => {
                self.kept().keep(session, (self.now)());
                let several = if found.len() > 1 { &found[..] } else { &[] };
                Err(no_group(address, several))
            }
        }
    }

    /// Whether this group is walked through by us.
    fn walks(&self, group: Uuid) -> bool {
        self.settings.nesting == Nesting::Walk || self.kept().walks(group)
    }

    /// Whether the rule that follows links is too much for the server here, so that from now on we walk ourselves. Gives
    /// back what must be said nevertheless.
    fn walk_instead(&self, group: Uuid, trouble: Trouble) -> Option<Trouble> {
        match trouble {
            Trouble::Refused(verdict) if verdict.is_too_much() => {
                tracing::info!(
                    code = verdict.code,
                    "the group is too much for the domain controller to search through: reading group after group"
                );
                self.kept().walk(group);
                None
            }
            Trouble::Broken(error) => {
                if error.detail.server_code == "no_answer" {
                    self.kept().walk(group);
                }
                Some(Trouble::Broken(error))
            }
            other => Some(other),
        }
    }

    /// Reads a page of a listing, and keeps the listing for the next.
    async fn read(
        &self,
        selection: &Selection,
        mut listing: Listing,
        place: Option<&str>,
    ) -> Result<Page, ListingError> {
        let frame = Frame {
            base: listing.session.base.clone(),
            disabled: self.settings.disabled,
        };
        let trouble = match listing.step(&frame).await {
            Ok(step) => {
                let now = (self.now)();
                let next = step.more.then(|| next_place(place));
                match &next {
                    Some(next) => self.kept().keep_listing(next.clone(), listing, now),
                    None => self.kept().keep(listing.session, now),
                }
                return Ok(Page {
                    listed: step.listed,
                    next,
                });
            }
            Err(trouble) => trouble,
        };
        if let Some(group) = listing.in_chain {
            match self.walk_instead(group, trouble) {
                None if listing.is_new => {
                    // Nothing was handed out yet: the same page, by walking.
                    let walk = Listing::walk(listing.session, group);
                    return Box::pin(self.read(selection, walk, place)).await;
                }
                // What was handed out is listed again, which does no harm.
                None => return Err(ListingError::Expired),
                Some(trouble) => return Err(self.failed(selection, listing, place, trouble).await),
            }
        }
        Err(self.failed(selection, listing, place, trouble).await)
    }

    async fn failed(
        &self,
        selection: &Selection,
        mut listing: Listing,
        place: Option<&str>,
        trouble: Trouble,
    ) -> ListingError {
        let verdict = match trouble {
            Trouble::Broken(error) => return error.into(),
            Trouble::Refused(verdict) => verdict,
        };
        if let Selection::OrganizationalUnit { dn, .. } = selection
            && matches!(verdict.code, NO_SUCH_OBJECT | INVALID_DN)
        {
            let why = missing_part(&mut listing.session, dn, &verdict).await;
            self.kept().keep(listing.session, (self.now)());
            return no_unit(dn, &why);
        }
        if verdict.is_expired_page() && !listing.is_new {
            return ListingError::Expired;
        }
        let error = verdict.error();
        // Where waiting helps, the listing goes on from here.
        if let Some(place) = place
            && matches!(error.meaning, Meaning::Retry | Meaning::WaitUntil { .. })
        {
            self.kept()
                .keep_listing(place.to_owned(), listing, (self.now)());
        }
        error.into()
    }
}

#[async_trait]
impl Directory for ActiveDirectory {
    async fn sign_in(&self) -> Result<(), CallError> {
        if self.kept().is_signed_in((self.now)()) {
            return Ok(());
        }
        let session = self.session().await?;
        self.kept().keep(session, (self.now)());
        Ok(())
    }

    /// While nested groups are walked through, a page takes up to six searches, else one; a group's first page two more.
    async fn page(&self, selection: &Selection, from: Option<&str>) -> Result<Page, ListingError> {
        if matches!(selection, Selection::All { types } if types.is_empty()) {
            return Ok(Page {
                listed: Vec::new(),
                next: None,
            });
        }
        let listing = match from {
            Some(place) => {
                let listing = self.kept().listing(place, (self.now)());
                listing.ok_or(ListingError::Expired)?
            }
            None => self.begin(selection).await?,
        };
        self.read(selection, listing, from).await
    }

    async fn look_up(&self, names: &[Address]) -> Result<LookedUp, ListingError> {
        // More than was promised: the rest is asked for again.
        let part = &names[..names.len().min(NAMES)];
        if part.is_empty() {
            return Ok(LookedUp {
                resolved: Vec::new(),
                rest: None,
            });
        }
        let (found, base) = self.named(part).await?;
        let resolved = part.iter().map(|name| Resolved {
            asked: name.clone(),
            listed: looked_up(name, &found, &base, self.settings.disabled),
        });
        Ok(LookedUp {
            resolved: resolved.collect(),
            rest: None,
        })
    }

    fn lookup_size(&self) -> usize {
        NAMES
    }

    /// Three searches, where the server walks through nested groups, and one more for each 200 of these; else it can't be asked.
    async fn members_among(
        &self,
        group: &Address,
        mailboxes: &[MailboxId],
    ) -> Result<Option<HashSet<MailboxId>>, ListingError> {
        let (mut session, group) = self.group_of(group).await?;
        let found = if self.walks(group.guid) {
            Ok(None)
        } else {
            match group.members_with_id(&mut session, mailboxes).await {
                Ok(found) => Ok(Some(found)),
                Err(trouble) => self.walk_instead(group.guid, trouble).map_or(Ok(None), Err),
            }
        };
        let base = session.base.clone();
        let found = self.after(session, found)?;
        let id = |entry: &Entry| entry.listed(&base, self.settings.disabled).id;
        Ok(found.map(|found| found.iter().map(id).collect()))
    }

    async fn trustee(&self, address: &Address) -> Result<TrusteeFound, ListingError> {
        let (found, base) = self.named(std::slice::from_ref(address)).await?;
        judge(address, &found, &base)
    }
}

fn whole(session: &Session, filter: String) -> Search {
    Search {
        base: session.base.clone(),
        scope: Scope::Subtree,
        filter,
    }
}

/// The place of the page after `place`: the listing's own id, and a number.
fn next_place(place: Option<&str>) -> String {
    match place.and_then(|place| place.split_once('.')) {
        Some((listing, page)) => format!("{listing}.{}", page.parse().unwrap_or(0_u64) + 1),
        None => format!("{}.1", Uuid::new_v4().simple()),
    }
}

fn no_unit(dn: &str, why: &str) -> ListingError {
    ListingError::Refused {
        failure: OperationFailure::OuNotFound,
        why: format!("there is no organisational unit {dn}: {why}"),
    }
}

fn no_group(address: &Address, several: &[Entry]) -> ListingError {
    let names: Vec<&str> = several.iter().map(|group| group.dn.as_str()).collect();
    let why = if names.is_empty() {
        format!("the directory knows no group with the address {address}: check its spelling")
    } else {
        format!(
            "several groups have the address {address}: take it away from all but one of {}",
            names.join("; ")
        )
    };
    ListingError::Refused {
        failure: OperationFailure::GroupNotFound,
        why,
    }
}

/// What exists of a unit's name, by the server's word or by looking: the mistake is in what follows it.
async fn missing_part(session: &mut Session, dn: &str, verdict: &Verdict) -> String {
    let exists =
        |matched: &str| format!("what exists of it is {matched}; check the part before that");
    if !verdict.matched.is_empty() {
        return exists(&verdict.matched);
    }
    let mut above = Dn::parse(dn).and_then(|dn| dn.parent());
    for _ in 0..UPWARDS {
        let Some(parent) = above else { break };
        let itself = Search {
            base: parent.as_str().to_owned(),
            scope: Scope::Base,
            filter: "(objectClass=*)".to_owned(),
        };
        match session.search(&itself, &["1.1"], &[]).await {
            Ok(_) => return exists(parent.as_str()),
            Err(Trouble::Refused(verdict)) if verdict.code == NO_SUCH_OBJECT => {
                above = parent.parent()
            }
            Err(_) => break,
        }
    }
    "check its spelling".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_numbered_and_never_repeat() {
        let first = next_place(None);
        let second = next_place(Some(&first));
        let third = next_place(Some(&second));
        let listing = first.strip_suffix(".1").unwrap();
        assert_eq!(second, format!("{listing}.2"));
        assert_eq!(third, format!("{listing}.3"));
        assert_ne!(next_place(None), first);
    }
}
