//! The catalogue, row by row.

use calgrant_domain::{GroupChange, NewGroup, NewUser, Password};
use calgrant_exchange::Scope;
use uuid::Uuid;

use super::*;

struct Things {
    group: Address,
    member: Address,
    new_user: NewUser,
    new_group: NewGroup,
    owners: GroupChange,
    password: Password,
    id: MailboxId,
}

fn things() -> Things {
    let address = |text: &str| text.parse::<Address>().unwrap();
    Things {
        group: address("cal@uni.example"),
        member: address("svc@uni.example"),
        new_user: NewUser {
            user_name: address("svc@uni.example"),
            display_name: "Calendar 01".into(),
            password: Password::new("hunter2"),
            usage_location: None,
            organizational_unit: Some("OU=Service,DC=uni,DC=example".into()),
            mark: "m".into(),
        },
        new_group: NewGroup {
            address: address("cal@uni.example"),
            name: "Calendar access".into(),
            owners: vec![address("admin@uni.example")],
            organizational_unit: None,
        },
        owners: GroupChange {
            owners: Some(vec![address("admin@uni.example")]),
            ..GroupChange::default()
        },
        password: Password::new("hunter2"),
        id: MailboxId::from_uuid(Uuid::from_u128(5)),
    }
}

fn record(reason: &str, text: &str) -> ErrorRecord {
    ErrorRecord {
        reason: reason.into(),
        text: text.into(),
        request_id: String::new(),
    }
}

fn not_found(what: &str) -> ErrorRecord {
    record(
        "ManagementObjectNotFoundException",
        &format!(
            "The operation couldn't be performed because object '{what}' couldn't be found on 'dc1.uni.example'."
        ),
    )
}

#[test]
fn names_that_are_taken_and_things_that_are_not_there() {
    let all = things();
    let taken = |name: &str| AdministrationError::Taken { name: name.into() };
    let missing = |what: &str| AdministrationError::Missing { what: what.into() };
    let add = Attempt::AddMember(&all.group, &all.member);
    for (record, attempt, want) in [
        (
            record("ADObjectAlreadyExistsException", "x"),
            Attempt::CreateUser(&all.new_user),
            taken("svc@uni.example"),
        ),
        (
            record(
                "PropertyValueExistsException",
                "The value \"svc@uni.example\" of property \"UserPrincipalName\" is used by another recipient object.",
            ),
            Attempt::CreateUser(&all.new_user),
            taken("svc@uni.example"),
        ),
        (
            record("ProxyAddressExistsException", "already being used"),
            Attempt::CreateGroup(&all.new_group),
            taken("cal@uni.example"),
        ),
        (
            record(
                "ManagementObjectNotFoundException",
                "Couldn't find organizational unit \"OU=Service,DC=uni,DC=example\". Make sure you have typed the name correctly.",
            ),
            Attempt::CreateUser(&all.new_user),
            missing("the unit OU=Service,DC=uni,DC=example"),
        ),
        (
            not_found("admin@uni.example"),
            Attempt::CreateGroup(&all.new_group),
            missing("the owner admin@uni.example"),
        ),
        (
            not_found("SVC@uni.example"),
            add,
            missing("the member svc@uni.example"),
        ),
        (
            not_found("cal@uni.example"),
            add,
            missing("the group cal@uni.example"),
        ),
        (
            not_found("?"),
            add,
            missing("the group cal@uni.example or its member svc@uni.example"),
        ),
        (
            not_found("?"),
            Attempt::SetPassword(all.id, &all.password),
            missing("the user 00000000-0000-0000-0000-000000000005"),
        ),
    ] {
        assert_eq!(classed(record, &attempt), want);
    }
    assert!(is_no_member(
        &not_found("svc@uni.example"),
        &all.group,
        &all.member
    ));
    assert!(!is_no_member(
        &not_found("cal@uni.example"),
        &all.group,
        &all.member
    ));
    let gone = record("MemberNotFoundException", "x");
    assert!(is_no_member(&gone, &all.group, &all.member));
}

#[test]
fn what_may_not_be_done_is_said_with_the_role_it_takes() {
    let all = things();
    for (record, attempt, may, right) in [
        (
            record(
                "CommandNotFoundException",
                "The term 'New-Mailbox' is not recognized",
            ),
            Attempt::CreateUser(&all.new_user),
            "create users with mailboxes",
            "Mail Recipient Creation",
        ),
        (
            record(
                "ParameterBindingException",
                "A parameter cannot be found that matches parameter name 'Password'.",
            ),
            Attempt::SetPassword(all.id, &all.password),
            "reset passwords",
            "Reset Password",
        ),
        (
            record(
                "OperationRequiresGroupManagerException",
                "You don't have sufficient permissions.",
            ),
            Attempt::AddMember(&all.group, &all.member),
            "change the members of groups",
            "Security Group Creation and Membership",
        ),
        (
            record(
                "TaskException",
                "'cal' isn't within your current write scopes",
            ),
            Attempt::ChangeGroup(&all.group, &all.owners),
            "change groups",
            "widen the recipient write scope",
        ),
    ] {
        let AdministrationError::Forbidden { what, grant } = classed(record, &attempt) else {
            panic!("{may}")
        };
        assert_eq!(what, may);
        assert!(grant.contains(right), "{grant}");
    }
}

#[test]
fn refusals_name_the_value_and_what_to_do() {
    let all = things();
    for (record, attempt, parts) in [
        (
            record(
                "PasswordPolicyException",
                "The password supplied doesn't meet the minimum complexity requirements.",
            ),
            Attempt::CreateUser(&all.new_user),
            ["svc@uni.example", "password policy"],
        ),
        (
            record(
                "NotAcceptedDomainException",
                "not an accepted domain for your organization",
            ),
            Attempt::CreateGroup(&all.new_group),
            ["uni.example", "accepted domains"],
        ),
        (
            record(
                "TaskException",
                "a word which isn't allowed in group names in your organization",
            ),
            Attempt::CreateGroup(&all.new_group),
            ["naming policy", "cal@uni.example"],
        ),
        (
            record(
                "ParameterBindingException",
                "The parameter AccountDisabled is functional only in the cloud-based service.",
            ),
            Attempt::Enable(all.id, false),
            ["doesn't disable accounts", "in Active Directory"],
        ),
        (
            record("OddException", "nobody foresaw it"),
            Attempt::CreateGroup(&all.new_group),
            ["create the group cal@uni.example", "nobody foresaw"],
        ),
    ] {
        let AdministrationError::Refused { why } = classed(record, &attempt) else {
            panic!("{parts:?}")
        };
        for part in parts {
            assert!(why.contains(part), "{why} lacks {part}");
        }
    }
    for change in [
        UserChange {
            password_never_expires: Some(true),
            ..UserChange::default()
        },
        UserChange {
            usage_location: Some("DE".into()),
            ..UserChange::default()
        },
    ] {
        assert!(matches!(
            possible(all.id, &change),
            Err(AdministrationError::Refused { .. })
        ));
    }
    let password = UserChange {
        password: Some(all.password),
        ..UserChange::default()
    };
    assert_eq!(possible(all.id, &password), Ok(()));
}

#[test]
fn what_passes_is_left_to_the_caller_who_looks_before_it_makes_something_again() {
    let all = things();
    let create = Attempt::CreateUser(&all.new_user);
    let quota = "The user load quota of 3 requests per 60 seconds has been exceeded.";
    let wait = Meaning::WaitUntil {
        scope: Scope::Account,
        after: None,
    };
    for (record, attempt, meaning, unanswered) in [
        (
            record("ADTransientException", "x"),
            create,
            Meaning::Retry,
            true,
        ),
        (
            record("ADTransientException", "x"),
            Attempt::FindUser(&all.member),
            Meaning::Retry,
            false,
        ),
        (record("OverBudgetException", quota), create, wait, false),
    ] {
        let AdministrationError::Call(error) = classed(record, &attempt) else {
            panic!("{meaning:?}")
        };
        assert_eq!((&error.meaning, error.unanswered), (&meaning, unanswered));
    }
}

#[test]
fn a_password_is_not_told_even_where_the_server_does() {
    let all = things();
    for attempt in [
        Attempt::CreateUser(&all.new_user),
        Attempt::SetPassword(all.id, &all.password),
    ] {
        for reason in [
            "OddException",
            "ParameterBindingException",
            "XTransientException",
        ] {
            let said = classed(record(reason, "hunter2 isn't good enough"), &attempt);
            let said = format!("{said} {said:?}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
