//! For a plan: what would be found if the steps before were done.

use uuid::Uuid;

use crate::{
    GroupFound, GroupKind, MailboxId, UserFound,
    setup::{Found, ManagedBy, Setting, Step, TrusteeSeen},
};

/// What was found, with what this set-up would have made by then in the place of what isn't there. Steps that would make it
/// themselves find it as it is.
pub fn assume(setting: &Setting, step: Step, found: Found) -> Found {
    let number = step.number().unwrap_or_default();
    match found {
        Found::Licence { user, skus } if matches!(step, Step::Licence(_)) => Found::Licence {
            user: user.or_else(|| made_user(setting, number)),
            skus,
        },
        Found::Member {
            group,
            members,
            user,
        } if matches!(step, Step::Member(_)) => Found::Member {
            group: group.or_else(|| made_group(setting)),
            members,
            user: user.or_else(|| made_user(setting, number)),
        },
        Found::Trustee { group: None, .. } => Found::Trustee {
            group: made_group(setting),
            seen: TrusteeSeen::NotAsked,
        },
        other => other,
    }
}

fn made_user(setting: &Setting, number: u32) -> Option<UserFound> {
    let spec = &setting.spec;
    (spec.managed.accounts == ManagedBy::Calgrant).then(|| UserFound {
        id: MailboxId::from_uuid(Uuid::nil()),
        user_name: spec.name.of(number),
        display_name: spec.display_name(number),
        enabled: true,
        usage_location: spec.usage_location.clone(),
        password_never_expires: true,
        synchronised: false,
        mark: Some(setting.mark()),
        licences: Vec::new(),
    })
}

fn made_group(setting: &Setting) -> Option<GroupFound> {
    let spec = &setting.spec;
    (spec.managed.group == ManagedBy::Calgrant).then(|| GroupFound {
        id: MailboxId::from_uuid(Uuid::nil()),
        address: spec.group.clone(),
        name: spec.group_name.clone(),
        kind: GroupKind::MailEnabledSecurity,
        join_closed: true,
        depart_closed: true,
        hidden: true,
        synchronised: false,
        owners: spec.group_owners.iter().map(ToString::to_string).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SiteKind,
        setup::{Decision, Past, decide, licence::tests::product, spec::tests::setting},
    };

    #[test]
    fn steps_after_what_would_be_made_say_what_they_would_do() {
        let setting = setting(SiteKind::Online);
        let nothing = Found::Member {
            group: None,
            members: Vec::new(),
            user: None,
        };
        let licence = Found::Licence {
            user: None,
            skus: vec![product(
                "EXCHANGESTANDARD",
                1,
                &[("EXCHANGE_S_STANDARD", true)],
            )],
        };
        for (step, found, word) in [
            (Step::Licence(1), licence, "assign_licence"),
            (Step::Member(1), nothing, "add_member"),
        ] {
            let found = assume(&setting, step, found);
            let Decision::Do(action) = decide(&setting, step, &found, &Past::default()) else {
                panic!("{step} would do nothing");
            };
            assert_eq!(action.word(), word);
            assert!(action.told(&setting, step).contains("sa-mytt-exch-1"));
        }
    }
}
