//! The people of the generated university, their mailboxes and calendars.

use crate::dice::Dice;
use crate::rights::ROLE_NAMES;
use crate::scenario::{CalendarSpec, EntrySpec, Kind, UserSpec};
use crate::school::{SchoolOptions, TRUSTEE};

const CALENDARS: [&str; 20] = [
    "Calendar",
    "Kalender",
    "Agenda",
    "Calendrier",
    "Calendario",
    "Calendário",
    "Kalenteri",
    "Kalendarz",
    "Kalendář",
    "Kalendár",
    "Koledar",
    "Naptár",
    "Календарь",
    "Ημερολόγιο",
    "Takvim",
    "予定表",
    "일정",
    "日历",
    "לוח שנה",
    "التقويم",
];
const FIRST: [&str; 16] = [
    "Ada", "Ben", "Chiara", "Dmitri", "Émilie", "Fatima", "Grace", "Hans", "Inés", "Jürgen",
    "Karin", "Łukasz", "Mei", "Nils", "Olga", "Péter",
];
const LAST: [&str; 16] = [
    "Andersson",
    "Bauer",
    "Conti",
    "Dubois",
    "Eriksen",
    "Fischer",
    "García",
    "Horváth",
    "Ivanova",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Müller",
    "Novák",
    "O'Brien",
    "Papadopoulos",
];

/// Accounts outside of every group, each wrong in its own way.
pub(crate) fn oddities(dice: &Dice) -> Vec<UserSpec> {
    let odd = |name: &str, local: &str| UserSpec {
        id: dice.uuid(),
        name: name.to_owned(),
        upn: format!("{local}@uni.example"),
        ..UserSpec::default()
    };
    vec![
        UserSpec {
            licensed: false,
            ..odd("Unlicensed Account", "unlicensed")
        },
        UserSpec {
            never_provisioned: true,
            ..odd("Never There", "never.there")
        },
        UserSpec {
            without_calendar: true,
            ..odd("No Calendar", "no.calendar")
        },
        UserSpec {
            outside_write_scope: true,
            ..odd("Rectorate", "rectorate")
        },
        UserSpec {
            kind: Kind::Equipment,
            enabled: false,
            licensed: false,
            ..odd("Beamer 1", "beamer1")
        },
    ]
}

pub(crate) fn person(number: usize, options: &SchoolOptions, dice: &Dice) -> UserSpec {
    let first = FIRST[number % FIRST.len()];
    let last = LAST[(number / FIRST.len()) % LAST.len()];
    let name = format!("{first} {last}");
    let upn = format!("u{number:06}@uni.example");
    let unlicensed = number % 666 == 340;
    let kind = match number % 333 {
        7 if unlicensed => Kind::User,
        7 => Kind::None,
        100 => Kind::Room,
        200 => Kind::Shared,
        _ => Kind::User,
    };
    let container = if number.is_multiple_of(5) {
        "OU=Staff\\, Fakultät"
    } else {
        "OU=Students"
    };
    let dn = (number % 97 != 13).then(|| format!("CN=u{number:06},{container},DC=uni,DC=example"));
    let read_lag_ms = if number % 33 == 5 && options.read_lag_max_secs > 0 {
        500 + dice.below(options.read_lag_max_secs * 1000 - 499)
    } else {
        0
    };
    let on_premises = is_in_share(number, options.on_premises_share);
    let calendar = CALENDARS[usize::try_from(dice.below(20)).unwrap_or(0)];
    let mut entries_of_main = entries(number);
    if is_in_share(number, options.granted_share) {
        entries_of_main.retain(|entry| entry.principal != TRUSTEE);
        entries_of_main.push(EntrySpec {
            principal: TRUSTEE.to_owned(),
            rights: vec!["Author".to_owned()],
            ..EntrySpec::default()
        });
    }
    if on_premises {
        entries_of_main.retain(|entry| entry.principal != other_side(number, options));
        entries_of_main.extend(outsider(number));
    }
    let mut calendars = vec![CalendarSpec {
        path: calendar.to_owned(),
        entries: entries_of_main,
    }];
    if number % 20 == 4 {
        calendars.push(CalendarSpec {
            path: format!("{calendar}\\Projekt"),
            entries: entries(number + 1),
        });
    }
    if number % 40 == 24 {
        calendars.push(CalendarSpec {
            path: format!("Archiv\\{calendar}"),
            entries: Vec::new(),
        });
    }
    UserSpec {
        id: dice.uuid(),
        name,
        mail: Some(format!("person.{number}@uni.example")),
        addresses: vec![upn.clone(), format!("p{number}@mail.uni.example")],
        enabled: kind == Kind::User || kind == Kind::None,
        licensed: kind == Kind::User && !unlicensed,
        dn,
        kind,
        provisioned_after_secs: if number % 200 == 50 {
            options.provision_delay_secs
        } else {
            0
        },
        on_premises,
        read_lag_ms,
        calendars,
        upn,
        ..UserSpec::default()
    }
}

/// Whether a mailbox is among a share of all, 0 to 1, that is spread evenly.
fn is_in_share(number: usize, share: f64) -> bool {
    let thousandth = u32::try_from(number * 617 % 1000).unwrap_or(0);
    f64::from(thousandth) < share * 1000.0
}

/// The neighbour that has an entry of this calendar, when that one's mailbox lies on the other side.
fn other_side(number: usize, options: &SchoolOptions) -> String {
    let neighbour = number.saturating_sub(1);
    if is_in_share(neighbour, options.on_premises_share) {
        return String::new();
    }
    format!("u{neighbour:06}@uni.example")
}

/// Some calendars on premises are shared with somebody of another organisation.
fn outsider(number: usize) -> Option<EntrySpec> {
    (number % 100 == 61).then(|| EntrySpec {
        principal: format!("external:visitor{number}@partner.example"),
        rights: vec!["AvailabilityOnly".to_owned()],
        ..EntrySpec::default()
    })
}

/// About one calendar in five has entries already: half of those one of the trustee's, at every level.
fn entries(number: usize) -> Vec<EntrySpec> {
    let level = |step: usize| vec![ROLE_NAMES[step % ROLE_NAMES.len()].to_owned()];
    let mut entries = Vec::new();
    let mut add = |principal: String, rights: Vec<String>| {
        let flags = if rights == ["Editor"] && number.is_multiple_of(2) {
            vec!["Delegate".to_owned()]
        } else {
            Vec::new()
        };
        // every other list was written by a client that sets the Contact bit, or left the free/busy bits away
        let mask = crate::rights::parse(&rights)
            .ok()
            .and_then(|mask| match number % 4 {
                0 => Some(mask | 0x200),
                1 => Some(mask & !0x1800),
                _ => None,
            });
        let mask = mask.filter(|mask| {
            crate::rights::parse(&rights).map(crate::rights::names)
                == Ok(crate::rights::names(*mask))
        });
        entries.push(EntrySpec {
            principal,
            rights: if mask.is_some() { Vec::new() } else { rights },
            flags,
            mask,
            ..EntrySpec::default()
        });
    };
    if number % 10 == 3 {
        add(TRUSTEE.to_owned(), level(number / 10));
    }
    if number % 10 == 6 && number > 6 {
        add(
            format!("u{:06}@uni.example", number - 1),
            level(number / 10 + 3),
        );
    }
    if number % 50 == 9 || number % 50 == 13 {
        add(
            "timetable.delegates@uni.example".to_owned(),
            level(number / 50),
        );
    }
    if number % 100 == 42 {
        add(
            format!("NT:S-1-5-21-1004336348-1177238915-682003330-{number}"),
            level(number / 100),
        );
    }
    if number % 100 == 77 {
        add("Default".to_owned(), vec!["Reviewer".to_owned()]);
    }
    if number % 333 == 100 {
        add("Default".to_owned(), vec!["LimitedDetails".to_owned()]);
    }
    if number % 100 == 78 {
        add("Anonymous".to_owned(), vec!["AvailabilityOnly".to_owned()]);
    }
    entries
}
