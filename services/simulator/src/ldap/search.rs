//! Searches: where they begin, what they find, page by page, and what is shown of it.

use std::collections::VecDeque;

use crate::calendar::Principal;
use crate::dice::Dice;
use crate::ldap::entry::{Attributes, View};
use crate::ldap::matching::{Looked, narrowed};
use crate::ldap::message::{Paging, Scope, Search};
use crate::ldap::name::Name;
use crate::ldap::outcome::Outcome;
use crate::ldap::tree::Tree;
use crate::tenant::Object;

/// Active Directory's `MaxPageSize`: the most entries of one answer.
const MOST: usize = 1000;
/// Its `MaxValRange`: the most values of an attribute in one answer.
const VALUES: usize = 1500;
/// The most searches of a connection whose next page can be asked for, as its `MaxResultSetsPerConn`.
const KEPT: usize = 10;

/// Attributes as an answer describes them, each with its values.
pub(crate) type Shown = Vec<(String, Vec<Vec<u8>>)>;

/// An entry of an answer, with its name.
pub(crate) type Entry = (String, Shown);

/// What a search found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) entries: Vec<Entry>,
    /// Where other parts of the subtree are kept.
    pub(crate) references: Vec<String>,
    pub(crate) outcome: Outcome,
    /// Where to go on, empty on the last page; `None` where no page was asked for.
    pub(crate) cookie: Option<Vec<u8>>,
}

/// Searches of a connection whose next page can be asked for.
#[derive(Debug, Default)]
pub(crate) struct Cursors(VecDeque<Cursor>);

#[derive(Debug)]
struct Cursor {
    id: u64,
    /// What was asked: with something else, the cookie is worth nothing.
    asked: String,
    found: Vec<usize>,
}

/// How a search is to be answered.
pub(crate) struct Terms<'a> {
    pub(crate) paging: Option<Paging>,
    /// No other server is to be named.
    pub(crate) stays_here: bool,
    pub(crate) dice: &'a Dice,
}

/// Answers a search below a name that isn't empty.
pub(crate) fn search(
    view: &View<'_>,
    asked: &Search,
    terms: &Terms<'_>,
    cursors: &mut Cursors,
) -> Found {
    let failed = |outcome| Found {
        outcome,
        ..Found::default()
    };
    let base = match base(view, &asked.base) {
        Ok(base) => base,
        Err(outcome) => return failed(outcome),
    };
    let mut found = match &terms.paging {
        None => all(view, asked, base),
        Some(paging) => match page(view, asked, base, paging, terms.dice, cursors) {
            Ok(found) => found,
            Err(outcome) => return failed(outcome),
        },
    };
    let begins = terms
        .paging
        .as_ref()
        .is_none_or(|paging| paging.cookie.is_empty());
    let whole = asked.scope == Scope::Subtree && view.tree.items[base].name == view.tree.domain;
    if begins && whole && !terms.stays_here {
        found.references = references(view);
    }
    found
}

/// The naming contexts below the domain's.
fn references(view: &View<'_>) -> Vec<String> {
    let (of, domain) = (&view.tenant.domain, &view.tree.domain);
    let mut all: Vec<String> = ["ForestDnsZones", "DomainDnsZones"]
        .iter()
        .map(|part| format!("ldap://{part}.{of}/DC={part},{domain}"))
        .collect();
    all.push(format!("ldap://{of}/{}", view.tree.configuration));
    all
}

/// The object a search begins at, by its name or by its ids (MS-ADTS 3.1.1.3.1.2.4).
fn base(view: &View<'_>, raw: &str) -> Result<usize, Outcome> {
    let tree = view.tree;
    if let Some(id) = raw
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'))
    {
        let (kind, value) = id.split_once('=').unwrap_or_default();
        let found = match kind.to_ascii_uppercase().as_str() {
            "GUID" => guid(value)
                .and_then(|guid| tree.with_guid(guid))
                .filter(|at| Some(tree.items[*at].guid) == guid(value)),
            "SID" => view
                .tenant
                .by_sid(value)
                .and_then(|principal| match principal {
                    Principal::User(at) => tree.place(Object::User(at)),
                    Principal::Group(at) => tree.place(Object::Group(at)),
                    _ => None,
                }),
            _ => return Err(Outcome::no_name(raw)),
        };
        return found.ok_or_else(|| Outcome::no_object(""));
    }
    let name = Name::parse(raw).ok_or_else(|| Outcome::no_name(raw))?;
    if let Some(at) = tree.at(&name) {
        return Ok(at);
    }
    if name.domain() != view.tenant.domain && !name.domain().is_empty() {
        return Err(Outcome::elsewhere(&name.domain(), raw));
    }
    let mut above = std::iter::successors(name.parent(), Name::parent);
    let exists = above.find_map(|above| tree.at(&above));
    let matched = exists.map_or("", |at| &tree.items[at].name);
    Err(Outcome::no_object(matched))
}

/// A GUID with dashes, or as the bytes it is kept as.
fn guid(text: &str) -> Option<uuid::Uuid> {
    let guid = uuid::Uuid::try_parse(text).ok()?;
    Some(if text.contains('-') {
        guid
    } else {
        uuid::Uuid::from_bytes_le(guid.into_bytes())
    })
}

/// Everything that fits, in the directory's own order.
fn fitting(view: &View<'_>, asked: &Search, base: usize) -> Vec<usize> {
    let tree: &Tree = view.tree;
    let with_members = asked.filter.is_about("member");
    let looked_at = match narrowed(tree, &asked.filter) {
        Some(mut few) => {
            few.retain(|at| tree.is_in(*at, base, asked.scope));
            few
        }
        None => tree.all_in(base, asked.scope),
    };
    let fits = |at: &usize| {
        let attributes = &view.attributes(*at, with_members);
        let looked = Looked {
            tree,
            at: *at,
            attributes,
        };
        looked.fits(&asked.filter) == Some(true)
    };
    looked_at.into_iter().filter(fits).collect()
}

/// Without pages: no more than one answer holds.
fn all(view: &View<'_>, asked: &Search, base: usize) -> Found {
    let mut found = fitting(view, asked, base);
    let most = match asked.size_limit {
        0 => MOST,
        limit => limit.min(MOST),
    };
    let outcome = if found.len() > most {
        Outcome::too_many()
    } else {
        Outcome::success()
    };
    found.truncate(most);
    shown(view, asked, &found, outcome)
}

/// One page.
fn page(
    view: &View<'_>,
    asked: &Search,
    base: usize,
    paging: &Paging,
    dice: &Dice,
    cursors: &mut Cursors,
) -> Result<Found, Outcome> {
    let what = format!("{asked:?}");
    let (cursor, from) = if paging.cookie.is_empty() {
        let cursor = Cursor {
            id: dice.next(),
            asked: what,
            found: fitting(view, asked, base),
        };
        (cursor, 0)
    } else {
        cursors
            .take(&paging.cookie, &what)
            .ok_or_else(Outcome::bad_control)?
    };
    let left = cursor.found.get(from..).unwrap_or_default();
    // of all pages together, no more than the size limit
    let allowed = match asked.size_limit {
        0 => usize::MAX,
        limit => limit.saturating_sub(from),
    };
    let count = paging.size.min(MOST).min(allowed).min(left.len());
    let mut outcome = Outcome::success();
    if count == allowed && count < left.len() {
        outcome = Outcome::too_many();
    }
    let goes_on = outcome.is_success() && paging.size > 0 && count < left.len();
    let mut found = shown(view, asked, &left[..count], outcome);
    found.cookie = Some(if goes_on {
        cursors.keep(cursor, from + count)
    } else {
        Vec::new()
    });
    Ok(found)
}

impl Cursors {
    /// The search a cookie is of, and from where it goes on.
    fn take(&mut self, cookie: &[u8], asked: &str) -> Option<(Cursor, usize)> {
        let (id, from) = cookie.split_first_chunk::<8>()?;
        let id = u64::from_be_bytes(*id);
        let from = u64::from_be_bytes(from.try_into().ok()?);
        let known = self
            .0
            .iter()
            .position(|cursor| cursor.id == id && cursor.asked == asked)?;
        let cursor = self.0.remove(known)?;
        Some((cursor, usize::try_from(from).ok()?))
    }

    /// Keeps a search, and says by what it is found again. The oldest ones are forgotten.
    fn keep(&mut self, cursor: Cursor, from: usize) -> Vec<u8> {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        let from = u64::try_from(from).unwrap_or(u64::MAX);
        let cookie = [cursor.id.to_be_bytes(), from.to_be_bytes()].concat();
        self.0.push_back(cursor);
        cookie
    }
}

fn shown(view: &View<'_>, asked: &Search, found: &[usize], outcome: Outcome) -> Found {
    let wanted = Wanted::of(&asked.attributes);
    let mut entries = Vec::with_capacity(found.len());
    for at in found {
        let attributes = view.attributes(*at, wanted.holds("member"));
        match wanted.select(attributes, asked.types_only) {
            Ok(selected) => entries.push((view.tree.items[*at].name.clone(), selected)),
            Err(outcome) => {
                return Found {
                    entries,
                    outcome,
                    ..Found::default()
                };
            }
        }
    }
    Found {
        entries,
        outcome,
        ..Found::default()
    }
}

/// Which attributes are wanted, and which of their values.
pub(crate) struct Wanted {
    all: bool,
    /// In lower case.
    named: Vec<(String, Option<Range>)>,
}

/// Values from one to another, both included; without an end, as many as there are.
#[derive(Debug, Clone, Copy)]
struct Range {
    from: usize,
    to: Option<usize>,
}

impl Wanted {
    pub(crate) fn of(attributes: &[String]) -> Self {
        let mut wanted = Self {
            all: attributes.is_empty(),
            named: Vec::new(),
        };
        for attribute in attributes {
            let lower = attribute.to_lowercase();
            match lower.split_once(';') {
                _ if lower == "*" => wanted.all = true,
                None => wanted.named.push((lower, None)),
                // another option than a range makes it another attribute, which nothing has
                Some((name, option)) => {
                    let range = option.strip_prefix("range=").and_then(range);
                    let name = name.to_owned();
                    wanted.named.extend(range.map(|range| (name, Some(range))));
                }
            }
        }
        wanted
    }

    fn holds(&self, name: &str) -> bool {
        self.all || self.named.iter().any(|(named, _)| named == name)
    }

    /// The attributes as they are shown.
    ///
    /// # Errors
    /// Values are wanted from behind the last one.
    pub(crate) fn select(
        &self,
        attributes: Attributes,
        types_only: bool,
    ) -> Result<Shown, Outcome> {
        let mut selected = Vec::new();
        for (name, values) in attributes {
            let named = |(named, _): &&(String, Option<Range>)| name.eq_ignore_ascii_case(named);
            let range = match self.named.iter().find(named) {
                Some((_, range)) => *range,
                None if self.all => None,
                None => continue,
            };
            if types_only {
                selected.push((name.to_owned(), Vec::new()));
            } else if range.is_none() && values.len() <= VALUES {
                selected.push((name.to_owned(), values));
            } else {
                if range.is_none() {
                    // beside a slice, the whole attribute is shown empty
                    selected.push((name.to_owned(), Vec::new()));
                }
                selected.push(slice(name, &values, range)?);
            }
        }
        Ok(selected)
    }
}

fn range(text: &str) -> Option<Range> {
    let (from, to) = text.split_once('-')?;
    let from = from.parse().ok()?;
    let to = match to {
        "*" => None,
        number => Some(number.parse().ok().filter(|to| *to >= from)?),
    };
    Some(Range { from, to })
}

fn slice(
    name: &str,
    values: &[Vec<u8>],
    range: Option<Range>,
) -> Result<(String, Vec<Vec<u8>>), Outcome> {
    let Range { from, to } = range.unwrap_or(Range { from: 0, to: None });
    let left = values.get(from..).filter(|left| !left.is_empty());
    let left = left.ok_or_else(Outcome::beyond_the_values)?;
    let wanted = to.map_or(usize::MAX, |to| to - from).saturating_add(1);
    let count = wanted.min(VALUES).min(left.len());
    let end = if count == left.len() {
        "*".to_owned()
    } else {
        (from + count - 1).to_string()
    };
    Ok((format!("{name};range={from}-{end}"), left[..count].to_vec()))
}
