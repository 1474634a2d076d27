//! Commands.

use super::*;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// A command as one would type it.
fn typed(command: &Command) -> String {
    let mut line = command.name.to_owned();
    for (name, argument) in &command.parameters {
        let value = match argument {
            Argument::Text(text) => text.clone(),
            Argument::Texts(texts) => texts.join(","),
            Argument::Switch(on) => format!("${on}"),
            Argument::Secret(_) => "(sealed)".to_owned(),
        };
        line += &format!(" -{name} {value}");
    }
    line
}

#[test]
fn every_command_names_the_domain_controller_once_one_is_known() {
    let (group, member) = (address("cal@uni.example"), address("svc@uni.example"));
    let id = MailboxId::from_uuid("6f1c2d3e-0000-4000-8000-000000000001".parse().unwrap());
    let new_user = NewUser {
        user_name: member.clone(),
        display_name: "Calendar 01".into(),
        password: Password::new("hunter2"),
        usage_location: None,
        organizational_unit: Some("OU=Service,DC=uni,DC=example".into()),
        mark: "m-1".into(),
    };
    let new_group = NewGroup {
        address: group.clone(),
        name: "Calendar access".into(),
        owners: vec![address("a@uni.example"), address("b@uni.example")],
        organizational_unit: None,
    };
    let password = Password::new("hunter3");
    let closed = GroupChange {
        join_closed: Some(true),
        depart_closed: Some(false),
        hidden: Some(true),
        owners: Some(vec![address("a@uni.example")]),
    };
    for (attempt, want) in [
        (Attempt::AnyMailbox, "Get-Mailbox -ResultSize 1"),
        (
            Attempt::FindUser(&member),
            "Get-Mailbox -Identity svc@uni.example",
        ),
        (
            Attempt::CreateUser(&new_user),
            "New-Mailbox -Name svc -Alias svc -DisplayName Calendar 01 -UserPrincipalName svc@uni.example \
             -Password (sealed) -ResetPasswordOnNextLogon $false -OrganizationalUnit OU=Service,DC=uni,DC=example",
        ),
        (
            Attempt::Mark(id, &new_user.mark),
            "Set-Mailbox -Identity 6f1c2d3e-0000-4000-8000-000000000001 -CustomAttribute15 m-1",
        ),
        (
            Attempt::SetPassword(id, &password),
            "Set-Mailbox -Identity 6f1c2d3e-0000-4000-8000-000000000001 -Password (sealed) \
             -ResetPasswordOnNextLogon $false",
        ),
        (
            Attempt::Enable(id, false),
            "Set-Mailbox -Identity 6f1c2d3e-0000-4000-8000-000000000001 -AccountDisabled $true",
        ),
        (
            Attempt::ReadBack(id),
            "Get-Mailbox -Identity 6f1c2d3e-0000-4000-8000-000000000001",
        ),
        (
            Attempt::FindGroup(&group),
            "Get-DistributionGroup -Identity cal@uni.example",
        ),
        (
            Attempt::CreateGroup(&new_group),
            "New-DistributionGroup -Name Calendar access -DisplayName Calendar access -Alias cal \
             -PrimarySmtpAddress cal@uni.example -Type Security -MemberJoinRestriction Closed \
             -MemberDepartRestriction Closed -RequireSenderAuthenticationEnabled $true \
             -ManagedBy a@uni.example,b@uni.example",
        ),
        (
            Attempt::ChangeGroup(&group, &closed),
            "Set-DistributionGroup -Identity cal@uni.example -MemberJoinRestriction Closed \
             -MemberDepartRestriction Open -HiddenFromAddressListsEnabled $true -ManagedBy a@uni.example \
             -BypassSecurityGroupManagerCheck $true",
        ),
        (
            Attempt::Members(&group),
            "Get-DistributionGroupMember -Identity cal@uni.example -ResultSize Unlimited",
        ),
        (
            Attempt::AddMember(&group, &member),
            "Add-DistributionGroupMember -Identity cal@uni.example -Member svc@uni.example \
             -BypassSecurityGroupManagerCheck $true",
        ),
        (
            Attempt::RemoveMember(&group, &member),
            "Remove-DistributionGroupMember -Identity cal@uni.example -Member svc@uni.example \
             -BypassSecurityGroupManagerCheck $true -Confirm $false",
        ),
    ] {
        assert_eq!(typed(&attempt.command(None)), want);
        assert_eq!(
            typed(&attempt.command(Some("dc1.uni.example"))),
            format!("{want} -DomainController dc1.uni.example")
        );
        assert!(!format!("{attempt:?}").contains("hunter"));
    }
}

#[test]
fn a_change_of_nothing_is_not_sent() {
    let group = address("cal@uni.example");
    assert!(Attempt::ChangeGroup(&group, &GroupChange::default()).changes_nothing());
    let hidden = GroupChange {
        hidden: Some(false),
        ..GroupChange::default()
    };
    assert!(!Attempt::ChangeGroup(&group, &hidden).changes_nothing());
    assert!(!Attempt::FindUser(&group).changes_nothing());
}
