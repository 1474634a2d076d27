//! A listing under way: which searches are left, and the connection that the server's place in them belongs to.

use std::collections::{HashSet, VecDeque};

use calgrant_domain::{DisabledAccounts, Listed, MailboxId, Reason};
use calgrant_exchange::{CallError, Meaning};
use ldap3::Scope;
use uuid::Uuid;

use crate::{
    dn::Dn,
    entry::Entry,
    filter, range,
    recipient::ATTRIBUTES,
    session::{Search, Session, Trouble},
    walk::Walk,
};

/// Members read at a time while walking; a server may give fewer.
const MEMBERS: u32 = 500;
/// Members looked up in one search.
const TOGETHER: usize = 100;
/// Groups whose primary members are looked for in one search.
pub(crate) const GROUPS: usize = 200;

/// What every page is made with.
pub(crate) struct Frame {
    /// The part of the directory that is searched.
    pub(crate) base: String,
    pub(crate) disabled: DisabledAccounts,
}

/// A listing under way.
pub(crate) struct Listing {
    pub(crate) session: Session,
    course: Course,
    /// The group that the server walks for us, if it does.
    pub(crate) in_chain: Option<Uuid>,
    /// The first page hasn't been read yet.
    pub(crate) is_new: bool,
}

enum Course {
    /// One search after the other, the first from `cookie` on.
    Searches {
        left: VecDeque<Search>,
        cookie: Vec<u8>,
    },
    /// Group after group.
    Walk { walk: Walk, at: Option<At> },
}

/// Where in a group a walk is.
enum At {
    /// Its members, from this one on.
    Members { group: Uuid, from: u32 },
    /// Those whose primary group it is.
    Primary { rid: u32, cookie: Vec<u8> },
}

/// A page, and whether more follow.
pub(crate) struct Step {
    pub(crate) listed: Vec<Listed>,
    pub(crate) more: bool,
}

impl Listing {
    /// A listing by one search.
    pub(crate) fn search(session: Session, search: Search) -> Self {
        Self::over(session, VecDeque::from([search]), None)
    }

    /// A listing of a group whose nesting the server follows. `rids` are those of the group and all groups in it: whose
    /// primary group one of them is, is a member of it too, which links between objects don't show.
    pub(crate) fn in_chain(session: Session, group: Uuid, dn: &str, rids: &[u32]) -> Self {
        let base = session.base.clone();
        let search = |filter| Search {
            base: base.clone(),
            scope: Scope::Subtree,
            filter,
        };
        let primary = rids
            .chunks(GROUPS)
            .map(|rids| filter::primary_members(rids, Some(dn)));
        let all = std::iter::once(filter::members(dn)).chain(primary);
        let searches = all.map(search).collect();
        Self::over(session, searches, Some(group))
    }

    /// A listing of a group by walking through it.
    pub(crate) fn walk(session: Session, group: Uuid) -> Self {
        Self {
            session,
            course: Course::Walk {
                walk: Walk::from(group),
                at: None,
            },
            in_chain: None,
            is_new: true,
        }
    }

    fn over(session: Session, left: VecDeque<Search>, in_chain: Option<Uuid>) -> Self {
        Self {
            session,
            course: Course::Searches {
                left,
                cookie: Vec::new(),
            },
            in_chain,
            is_new: true,
        }
    }

    /// Reads on. After a refusal the same page can be read again: nothing of it is counted as read.
    pub(crate) async fn step(&mut self, frame: &Frame) -> Result<Step, Trouble> {
        let step = match &mut self.course {
            Course::Searches { left, cookie } => {
                searched(&mut self.session, left, cookie, frame).await
            }
            Course::Walk { walk, at } => walked(&mut self.session, walk, at, frame).await,
        }?;
        self.is_new = false;
        Ok(step)
    }
}

async fn searched(
    session: &mut Session,
    left: &mut VecDeque<Search>,
    cookie: &mut Vec<u8>,
    frame: &Frame,
) -> Result<Step, Trouble> {
    let Some(search) = left.front() else {
        return Ok(Step {
            listed: Vec::new(),
            more: false,
        });
    };
    let found = session.search(search, ATTRIBUTES, cookie).await?;
    *cookie = found.cookie;
    if cookie.is_empty() {
        left.pop_front();
    }
    let listed = found
        .entries
        .iter()
        .map(|entry| entry.listed(&frame.base, frame.disabled));
    Ok(Step {
        listed: listed.collect(),
        more: !left.is_empty(),
    })
}

async fn walked(
    session: &mut Session,
    walk: &mut Walk,
    at: &mut Option<At>,
    frame: &Frame,
) -> Result<Step, Trouble> {
    if at.is_none() {
        *at = walk
            .next_group()
            .map(|group| At::Members { group, from: 0 });
    }
    let (entries, missing, next) = match &*at {
        None => {
            return Ok(Step {
                listed: Vec::new(),
                more: false,
            });
        }
        Some(At::Members { group, from }) => members(session, *group, *from, frame).await?,
        Some(At::Primary { rid, cookie }) => {
            let search = within(frame, filter::primary_members(&[*rid], None));
            let found = session.search(&search, ATTRIBUTES, cookie).await?;
            let next = (!found.cookie.is_empty()).then_some(At::Primary {
                rid: *rid,
                cookie: found.cookie,
            });
            (found.entries, Vec::new(), next)
        }
    };
    // From here on nothing can fail: what is counted as met is handed out.
    *at = next;
    let mut listed = Vec::new();
    for entry in &entries {
        let Some(guid) = entry.object_guid() else {
            continue;
        };
        if entry.is_group() {
            walk.met_group(guid);
        } else if walk.met(guid) {
            listed.push(entry.listed(&frame.base, frame.disabled));
        }
    }
    for dn in missing {
        let id = MailboxId::of_unknown(&frame.base, &dn);
        if walk.met(id.as_uuid()) {
            listed.push(Listed {
                id,
                name: dn,
                what: Err(Reason::NotFound),
                lines: Vec::new(),
            });
        }
    }
    Ok(Step { listed, more: true })
}

/// Members of a group from a place on: those that are found, the names of those that aren't (other domains keep them),
/// and where to go on.
async fn members(
    session: &mut Session,
    group: Uuid,
    from: u32,
    frame: &Frame,
) -> Result<(Vec<Entry>, Vec<String>, Option<At>), Trouble> {
    let itself = Search {
        base: format!("<GUID={group}>"),
        scope: Scope::Base,
        filter: "(objectClass=*)".to_owned(),
    };
    let asked = range::ask("member", from, MEMBERS);
    let found = match session
        .search(&itself, &[asked.as_str(), "objectSid"], &[])
        .await
    {
        Ok(found) => found,
        // It was there a moment ago: its members are no more members through it.
        Err(Trouble::Refused(verdict)) if verdict.code == crate::classify::NO_SUCH_OBJECT => {
            return Ok((Vec::new(), Vec::new(), None));
        }
        Err(trouble) => return Err(trouble),
    };
    let Some(entry) = found.entries.first() else {
        return Ok((Vec::new(), Vec::new(), None));
    };
    let (values, next) = entry.slice("member", from).map_err(|cause| {
        Trouble::Broken(CallError::new(
            Meaning::Retry,
            "unexpected_answer",
            cause.to_string(),
        ))
    })?;
    let dns: Vec<&str> = values
        .iter()
        .filter_map(|value| std::str::from_utf8(value).ok())
        .collect();
    let mut entries = Vec::with_capacity(dns.len());
    for together in dns.chunks(TOGETHER) {
        let search = within(frame, filter::with_dn(together.iter().copied()));
        entries.extend(session.search_all(&search, ATTRIBUTES).await?);
    }
    // The same name may be written in two ways, so they are compared as names.
    let there: HashSet<Dn> = entries
        .iter()
        .filter_map(|entry| Dn::parse(&entry.dn))
        .collect();
    let is_missing = |dn: &&str| !Dn::parse(dn).is_some_and(|dn| there.contains(&dn));
    let missing = dns
        .into_iter()
        .filter(is_missing)
        .map(str::to_owned)
        .collect();
    let next = match (next, entry.rid()) {
        (Some(from), _) => Some(At::Members { group, from }),
        (None, Some(rid)) => Some(At::Primary {
            rid,
            cookie: Vec::new(),
        }),
        (None, None) => None,
    };
    Ok((entries, missing, next))
}

fn within(frame: &Frame, filter: String) -> Search {
    Search {
        base: frame.base.clone(),
        scope: Scope::Subtree,
        filter,
    }
}
