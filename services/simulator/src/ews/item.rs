//! Events: as much of them as shows whether somebody may work in a calendar.

use crate::calendar::{Event, Folder, Mailbox};
use crate::ews::access::{CREATE, DELETE_ANY, DELETE_OWN, READ, Session};
use crate::ews::error::EwsError;
use crate::ews::ids::{self, Spot};
use crate::xml::{Element, leaf, tag, with};

fn item_id(mailbox: &Mailbox, number: usize, folder: &Folder, event: &Event) -> String {
    let (id, key) = (
        ids::item(mailbox, number, event.number),
        ids::change_key(mailbox, Some(folder)),
    );
    with("t:ItemId", &[("Id", &id), ("ChangeKey", &key)], "")
}

fn shown(
    session: &Session<'_>,
    mailbox: &Mailbox,
    number: usize,
    folder: &Folder,
    event: &Event,
    shape: Option<&Element>,
) -> String {
    let mut out = item_id(mailbox, number, folder, event);
    let base = shape.and_then(|shape| shape.child_text("BaseShape"));
    let more = shape.and_then(|shape| shape.child("AdditionalProperties"));
    let wants = |field: &str| {
        let named = |path: &Element| path.attribute("FieldURI") == Some(field);
        base != Some("IdOnly") || more.is_some_and(|more| more.children.iter().any(named))
    };
    for (field, name, value) in [
        ("item:Subject", "t:Subject", &event.subject),
        ("calendar:Start", "t:Start", &event.start),
        ("calendar:End", "t:End", &event.end),
    ] {
        if wants(field) {
            out.push_str(&leaf(name, value));
        }
    }
    if wants("calendar:Organizer") {
        let owner = &session.tenant.users[event.owner];
        let inner = format!(
            "{}{}{}",
            leaf("t:Name", &owner.spec.name),
            leaf("t:EmailAddress", &owner.mail),
            leaf("t:RoutingType", "SMTP"),
        );
        out.push_str(&tag("t:Organizer", &tag("t:Mailbox", &inner)));
    }
    tag("t:CalendarItem", &out)
}

/// One item of `CreateItem`.
pub(crate) fn create(
    session: &Session<'_>,
    request: &Element,
    item: &Element,
) -> Result<String, EwsError> {
    let own = Element {
        ns: item.ns.clone(),
        name: "DistinguishedFolderId".to_owned(),
        attributes: vec![("Id".to_owned(), "calendar".to_owned())],
        children: Vec::new(),
        text: String::new(),
        at: request.at,
    };
    let target = request
        .child("SavedItemFolderId")
        .and_then(|saved| saved.children.first());
    let at = session.folder(target.unwrap_or(&own))?;
    if item.name != "CalendarItem" {
        return Err(EwsError::new(
            "ErrorCannotCreateCalendarItemInNonCalendarFolder",
            "Only calendar items are served here.",
        ));
    }
    if request.attribute("SendMeetingInvitations").is_none() {
        return Err(EwsError::new(
            "ErrorSendMeetingInvitationsRequired",
            "SendMeetingInvitations attribute is required for calendar items.",
        ));
    }
    let Spot::Calendar(number) = at.spot else {
        return Err(EwsError::new(
            "ErrorCannotCreateCalendarItemInNonCalendarFolder",
            "Cannot create a calendar item in a non-calendar folder.",
        ));
    };
    let text = |name: &str| item.child_text(name).unwrap_or_default().to_owned();
    let (start, end) = (text("Start"), text("End"));
    if end < start {
        return Err(EwsError::new(
            "ErrorCalendarEndDateIsEarlierThanStartDate",
            "EndDate is earlier than StartDate.",
        ));
    }
    let mut folders = at.mailbox.folders();
    let folder = folders.get_mut(number).ok_or_else(EwsError::no_folder)?;
    if session.mask(at.user, Some(folder)) & CREATE == 0 {
        return Err(EwsError::access_denied());
    }
    folder.touch();
    let event = Event {
        number: folder.version(),
        subject: text("Subject"),
        start,
        end,
        owner: session.acting,
    };
    let id = item_id(at.mailbox, number, folder, &event);
    folder.events.push(event);
    Ok(tag("m:Items", &tag("t:CalendarItem", &id)))
}

/// Finds the event of an id, and lets `use_it` do something with its folder, given its place there and the rights of
/// the caller.
fn with_event<T>(
    session: &Session<'_>,
    id: &Element,
    use_it: impl FnOnce(&Mailbox, usize, &mut Folder, usize, u32) -> Result<T, EwsError>,
) -> Result<T, EwsError> {
    let (guid, number, wanted) = ids::read_item(id.attribute("Id").unwrap_or_default())?;
    let (user, mailbox) = session.by_guid(guid)?;
    let mut folders = mailbox.folders();
    let folder = folders.get_mut(number).ok_or_else(EwsError::no_item)?;
    let mask = session.mask(user, Some(folder));
    let place = folder
        .events
        .iter()
        .position(|event| event.number == wanted)
        .ok_or_else(EwsError::no_item)?;
    use_it(mailbox, number, folder, place, mask)
}

/// One item of `GetItem`.
pub(crate) fn get(
    session: &Session<'_>,
    request: &Element,
    id: &Element,
) -> Result<String, EwsError> {
    with_event(session, id, |mailbox, number, folder, place, mask| {
        let event = &folder.events[place];
        if mask & READ == 0 && event.owner != session.acting {
            return Err(EwsError::access_denied());
        }
        let shape = request.child("ItemShape");
        let shown = shown(session, mailbox, number, folder, event, shape);
        Ok(tag("m:Items", &shown))
    })
}

/// One item of `DeleteItem`.
pub(crate) fn delete(
    session: &Session<'_>,
    request: &Element,
    id: &Element,
) -> Result<String, EwsError> {
    if request.attribute("SendMeetingCancellations").is_none() {
        return Err(EwsError::new(
            "ErrorSendMeetingCancellationsRequired",
            "SendMeetingCancellations attribute is required for calendar items.",
        ));
    }
    with_event(session, id, |_, _, folder, place, mask| {
        let own = folder.events[place].owner == session.acting && mask & DELETE_OWN != 0;
        if mask & DELETE_ANY == 0 && !own {
            return Err(EwsError::access_denied());
        }
        folder.touch();
        folder.events.remove(place);
        Ok(String::new())
    })
}

/// One folder of `FindItem`.
pub(crate) fn find(
    session: &Session<'_>,
    request: &Element,
    id: &Element,
) -> Result<String, EwsError> {
    let at = session.folder(id)?;
    if request.child("Restriction").is_some() || request.child("QueryString").is_some() {
        return Err(EwsError::new(
            "ErrorUnsupportedPathForQuery",
            "Restrictions of FindItem aren't supported here.",
        ));
    }
    let Spot::Calendar(number) = at.spot else {
        return Ok(found(&[], 0));
    };
    let folders = at.mailbox.folders();
    let folder = folders.get(number).ok_or_else(EwsError::no_folder)?;
    if session.mask(at.user, Some(folder)) & READ == 0 {
        return Err(EwsError::access_denied());
    }
    let view = request.child("CalendarView");
    let bound = |name: &str| view.and_then(|view| view.attribute(name));
    let inside = |event: &&Event| {
        bound("StartDate").is_none_or(|start| event.end.as_str() > start)
            && bound("EndDate").is_none_or(|end| event.start.as_str() < end)
    };
    let page = request.child("IndexedPageItemView");
    let number_of = |name: &str, default: usize| {
        let given = page.and_then(|page| page.attribute(name));
        given.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let all: Vec<&Event> = folder.events.iter().filter(inside).collect();
    let shape = request.child("ItemShape");
    let page = all
        .iter()
        .skip(number_of("Offset", 0))
        .take(number_of("MaxEntriesReturned", 1000));
    let list: Vec<String> = page
        .map(|event| shown(session, at.mailbox, number, folder, event, shape))
        .collect();
    Ok(found(&list, all.len()))
}

fn found(list: &[String], total: usize) -> String {
    with(
        "m:RootFolder",
        &[
            ("IndexedPagingOffset", &list.len().to_string()),
            ("TotalItemsInView", &total.to_string()),
            (
                "IncludesLastItemInRange",
                if list.len() >= total { "true" } else { "false" },
            ),
        ],
        &tag("t:Items", &list.concat()),
    )
}
