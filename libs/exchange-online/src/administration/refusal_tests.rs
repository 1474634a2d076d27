//! The catalogue, row by row.

use calgrant_domain::{GroupChange, MailboxId, NewGroup, NewUser, Password, Reason, UserChange};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::{
    body::Body,
    classify::{Asked, classify},
    http::Reply,
};

struct Things {
    group: Address,
    member: Address,
    new_user: NewUser,
    new_group: NewGroup,
    owners: GroupChange,
    password: UserChange,
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
            organizational_unit: None,
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
        password: UserChange {
            password: Some(Password::new("hunter2")),
            ..UserChange::default()
        },
    }
}

/// What the adapter's own reading makes of an answer.
fn error(status: u16, body: &serde_json::Value) -> CallError {
    let reply = Reply {
        status: Some(status),
        body: Body::Json(body.clone()),
        ..Reply::default()
    };
    classify(reply, Asked::Directory).unwrap_err()
}

fn graph(status: u16, code: &str, text: &str) -> CallError {
    error(status, &json!({"error": {"code": code, "message": text}}))
}

fn cmdlet(exception: &str, text: &str) -> CallError {
    let message = format!("Ex1|Microsoft.Exchange.Configuration.Tasks.{exception}|{text}");
    error(
        400,
        &json!({"error": {"code": "BadRequest", "message": "Error executing cmdlet",
            "details": [{"code": "Client", "target": "", "message": message}]}}),
    )
}

#[test]
fn refusals_name_the_value_and_what_to_do() {
    let all = things();
    let user = MailboxId::from_uuid(Uuid::from_u128(5));
    let assign = Attempt::AssignLicence(user, "sku-1");
    let create = Attempt::CreateUser(&all.new_user);
    let create_group = Attempt::CreateGroup(&all.new_group);
    let bad = |text: &str| graph(400, "Request_BadRequest", text);
    for (error, attempt, wanted) in [
        (
            bad("License assignment cannot be done for user with invalid usage location."),
            assign,
            ["has no usage location", "00000005"],
        ),
        (
            bad("Subscription with SKU x does not have any available licenses."),
            assign,
            ["no seat of the product sku-1", "buy one"],
        ),
        (
            bad("License assignment failed: MutuallyExclusiveViolation"),
            assign,
            ["exclude", "switch them off"],
        ),
        (
            bad("License assignment failed: DependencyViolation"),
            assign,
            ["needs another one", "leave that on"],
        ),
        (
            bad("License assignment failed: ProhibitedInUsageLocationViolation"),
            assign,
            ["may not be used", "another usage location"],
        ),
        (
            bad(
                "User license is inherited from a group membership and it cannot be removed directly from the user.",
            ),
            Attempt::RemoveLicence(user, "sku-1"),
            ["sku-1 through a group", "out of that group"],
        ),
        (
            bad(
                "The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain names in your organization.",
            ),
            create,
            ["uni.example", "verify it"],
        ),
        (
            bad("The specified immutableId is required for users of a federated domain"),
            create,
            ["federated", "managed domain"],
        ),
        (
            bad(
                "The specified password does not comply with password complexity requirements. Please provide a different password.",
            ),
            create,
            ["password policy", "svc@uni.example"],
        ),
        (
            bad(
                "Unable to update the specified properties for on-premises mastered Directory Sync objects or objects currently undergoing migration.",
            ),
            Attempt::ChangeUser(user, &all.password),
            [
                "synchronised from Active Directory",
                "make the change there",
            ],
        ),
        (
            cmdlet(
                "OperationRequiresWriteScopeException",
                "it's out of the current user's write scope. The action 'Set-DistributionGroup', 'ManagedBy', can't be performed on the object because the object is being synchronized from your on-premises organization.",
            ),
            Attempt::ChangeGroup(&all.group, &all.owners),
            ["cal@uni.example", "synchronised from Active Directory"],
        ),
        (
            cmdlet(
                "TaskException",
                "The group name contains a word which isn't allowed in group names in your organization.",
            ),
            create_group,
            ["naming policy", "cal@uni.example"],
        ),
        (
            cmdlet(
                "NotAcceptedDomainException",
                "You can't use the domain because it's not an accepted domain for your organization.",
            ),
            create_group,
            ["uni.example", "verified domains"],
        ),
        (
            bad("Something nobody foresaw."),
            create,
            ["create the user svc@uni.example", "nobody foresaw"],
        ),
    ] {
        let text = error.to_string();
        let AdministrationError::Refused { why } = classed(error, &attempt) else {
            panic!("{text}")
        };
        for part in wanted {
            assert!(why.contains(part), "{why} lacks {part}");
        }
    }
}

#[test]
fn a_name_that_is_taken_is_said_to_be() {
    let all = things();
    for (error, attempt, name) in [
        (
            graph(
                400,
                "Request_BadRequest",
                "Another object with the same value for property userPrincipalName already exists.",
            ),
            Attempt::CreateUser(&all.new_user),
            "svc@uni.example",
        ),
        (
            graph(
                409,
                "Request_MultipleObjectsWithSameKeyValue",
                "Another object with the same value for property proxyAddresses already exists.",
            ),
            Attempt::CreateUser(&all.new_user),
            "svc@uni.example",
        ),
        (
            cmdlet("ADObjectAlreadyExistsException", "x"),
            Attempt::CreateGroup(&all.new_group),
            "cal@uni.example",
        ),
        (
            cmdlet(
                "ProxyAddressExistsException",
                "The proxy address \"SMTP:cal@uni.example\" is already being used.",
            ),
            Attempt::CreateGroup(&all.new_group),
            "cal@uni.example",
        ),
    ] {
        let want = AdministrationError::Taken { name: name.into() };
        assert_eq!(classed(error, &attempt), want);
    }
    let by_name = cmdlet(
        "ADObjectAlreadyExistsException",
        "The name \"Calendar Access\" is already being used.",
    );
    let want = AdministrationError::Taken {
        name: "Calendar access".into(),
    };
    assert_eq!(
        classed(by_name, &Attempt::CreateGroup(&all.new_group)),
        want
    );
    // Where nothing is made, the same words say something else.
    let change = Attempt::ChangeGroup(&all.group, &all.owners);
    assert!(matches!(
        classed(cmdlet("XException", "it already exists"), &change),
        AdministrationError::Refused { .. }
    ));
}

#[test]
fn what_is_not_there_is_named() {
    let all = things();
    let not_found = |what: &str| {
        cmdlet(
            "ManagementObjectNotFoundException",
            &format!(
                "The operation couldn't be performed because object '{what}' couldn't be found on 'DC1'."
            ),
        )
    };
    let add = Attempt::AddMember(&all.group, &all.member);
    let user = MailboxId::from_uuid(Uuid::from_u128(5));
    for (error, attempt, want) in [
        (
            not_found("SVC@uni.example"),
            add,
            "the member svc@uni.example",
        ),
        (
            not_found("cal@uni.example"),
            add,
            "the group cal@uni.example",
        ),
        (
            not_found("6f1c"),
            add,
            "the group cal@uni.example or its member svc@uni.example",
        ),
        (
            not_found("admin@uni.example"),
            Attempt::CreateGroup(&all.new_group),
            "the owner admin@uni.example",
        ),
        (
            not_found("cal@uni.example"),
            Attempt::ChangeGroup(&all.group, &all.owners),
            "the group cal@uni.example",
        ),
        (
            graph(
                404,
                "Request_ResourceNotFound",
                "Resource 'x' does not exist",
            ),
            Attempt::AssignLicence(user, "s"),
            "the user 00000000-0000-0000-0000-000000000005",
        ),
    ] {
        let want = AdministrationError::Missing { what: want.into() };
        assert_eq!(classed(error, &attempt), want);
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
    let gone = cmdlet("MemberNotFoundException", "x isn't a member");
    assert!(is_no_member(&gone, &all.group, &all.member));
}

#[test]
fn what_may_not_be_done_is_said_with_what_to_grant() {
    let all = things();
    let user = MailboxId::from_uuid(Uuid::from_u128(5));
    let denied = || {
        graph(
            403,
            "Authorization_RequestDenied",
            "Insufficient privileges to complete the operation.",
        )
    };
    let not_in_the_role = Reply {
        status: Some(403),
        diagnostics: "2000003;reason=\"The cmdlet isn't available\"".into(),
        body: Body::read(vec![0]),
        ..Reply::default()
    };
    let not_in_the_role = classify(not_in_the_role, Asked::Directory).unwrap_err();
    let no_parameter = cmdlet(
        "ParameterBindingException",
        "A parameter cannot be found that matches parameter name 'BypassSecurityGroupManagerCheck'.",
    );
    let scope = cmdlet(
        "OperationRequiresWriteScopeException",
        "it's out of the current user's write scope",
    );
    for (error, attempt, may, right) in [
        (
            denied(),
            Attempt::FindUser(&all.member),
            "read users",
            "User.Read.All",
        ),
        (
            denied(),
            Attempt::CreateUser(&all.new_user),
            "create users",
            "User.ReadWrite.All",
        ),
        (
            denied(),
            Attempt::ChangeUser(user, &all.password),
            "reset passwords",
            "User-PasswordProfile.ReadWrite.All",
        ),
        (
            denied(),
            Attempt::AssignLicence(user, "s"),
            "assign licences",
            "LicenseAssignment.ReadWrite.All",
        ),
        (
            denied(),
            Attempt::FindOtherGroup(&all.group),
            "read groups",
            "GroupMember.Read.All",
        ),
        (
            not_in_the_role,
            Attempt::CreateGroup(&all.new_group),
            "create mail-enabled security groups",
            "New-DistributionGroup",
        ),
        (
            no_parameter,
            Attempt::AddMember(&all.group, &all.member),
            "change the members of groups",
            "BypassSecurityGroupManagerCheck",
        ),
        (
            scope,
            Attempt::ChangeGroup(&all.group, &all.owners),
            "change groups",
            "write scope",
        ),
    ] {
        let AdministrationError::Forbidden { what, grant } = classed(error, &attempt) else {
            panic!("{may}")
        };
        assert_eq!(what, may);
        assert!(grant.contains(right), "{grant}");
    }
}

#[test]
fn what_passes_is_left_to_the_caller_who_looks_before_it_makes_something_again() {
    let all = things();
    let slow = Meaning::WaitUntil {
        scope: Scope::Account,
        after: None,
    };
    let create = Attempt::CreateUser(&all.new_user);
    let find = Attempt::FindUser(&all.member);
    let troubled = Reply {
        status: Some(503),
        retry_after: Some(std::time::Duration::from_secs(9)),
        ..Reply::default()
    };
    let troubled = || classify(troubled.clone(), Asked::Directory).unwrap_err();
    let site = Meaning::WaitUntil {
        scope: Scope::Site,
        after: Some(std::time::Duration::from_secs(9)),
    };
    for (error, attempt, meaning, unanswered) in [
        (graph(429, "TooManyRequests", ""), create, slow, false),
        (troubled(), create, site.clone(), true),
        (troubled(), find, site, false),
        (
            graph(503, "ServiceUnavailable", ""),
            create,
            Meaning::Retry,
            true,
        ),
        (
            graph(503, "ServiceUnavailable", ""),
            find,
            Meaning::Retry,
            false,
        ),
        (
            graph(401, "InvalidAuthenticationToken", ""),
            create,
            Meaning::SignInAgain,
            false,
        ),
    ] {
        let AdministrationError::Call(error) = classed(error, &attempt) else {
            panic!("{meaning:?}")
        };
        assert_eq!((&error.meaning, error.unanswered), (&meaning, unanswered));
    }
}

#[test]
fn a_password_is_not_told_even_where_the_server_does() {
    let all = things();
    let user = MailboxId::from_uuid(Uuid::from_u128(5));
    let told = || graph(400, "Request_BadRequest", "hunter2 isn't good enough.");
    let busy = || graph(503, "ServiceUnavailable", "hunter2 has to wait");
    for attempt in [
        Attempt::CreateUser(&all.new_user),
        Attempt::ChangeUser(user, &all.password),
    ] {
        for error in [told(), busy()] {
            let said = classed(error, &attempt);
            let said = format!("{said} {said:?} {attempt:?}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

#[test]
fn a_licence_that_is_not_there_is_taken_away_already() {
    let error = graph(
        400,
        "Request_BadRequest",
        "User does not have a corresponding license.",
    );
    assert!(has_no_such_licence(&error));
    assert_eq!(error.meaning, Meaning::GiveUp(Reason::Rejected));
}
