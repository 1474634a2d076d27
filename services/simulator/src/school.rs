//! A generated university: everything an operator meets, in small shares, from one seed.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::dice::Dice;
use crate::identity::DEMO_CERTIFICATE_PEM;
use crate::limits::Limits;
use crate::onprem::{BudgetOf, PolicySpec};
use crate::scenario::{
    AppSpec, CalendarSpec, GroupKind, GroupSpec, Scenario, TenantSpec, UnitSpec, UserSpec,
};
use crate::school_people::{oddities, person};
use crate::school_premises::{MEMBER, premises, service};
use crate::sku::SkuSpec;

/// The directory id of the generated tenant.
pub const TENANT_ID: Uuid = Uuid::from_u128(0x1111_1111_2222_3333_4444_5555_5555_5555);
/// The group every rule of the generated tenant is about.
pub const EVERYONE: &str = "staff-and-students@uni.example";
/// The managed trustee of the generated tenant.
pub const TRUSTEE: &str = "timetable-delegates@uni.example";
/// Another one, of its site on premises, where nothing is prepared.
const ONPREM_TRUSTEE: &str = "timetable-delegates-onprem@uni.example";

/// The client id of the app that sets up where nothing is prepared.
pub const SETUP_APP: Uuid = Uuid::from_u128(0xcccc_cccc << 96);

const FACULTIES: [&str; 6] = [
    "Arts",
    "Engineering",
    "Law",
    "Medicine",
    "Science",
    "Theology",
];
pub(crate) const FOLDER_CMDLETS: [&str; 5] = [
    "Get-MailboxFolderStatistics",
    "Get-MailboxFolderPermission",
    "Add-MailboxFolderPermission",
    "Set-MailboxFolderPermission",
    "Remove-MailboxFolderPermission",
];

/// How large and how awkward the generated university is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchoolOptions {
    /// Seed of every choice.
    pub seed: u64,
    /// Members of `staff-and-students@uni.example`, the few without a mailbox included.
    pub mailboxes: usize,
    /// Service accounts that may change permissions.
    pub grantors: usize,
    /// Calls one app may have under way together.
    pub max_in_flight: Option<u32>,
    /// Windows of each app: so many calls in so many seconds.
    pub windows: Vec<(u32, u64)>,
    /// The longest lag between a write and the reads that show it.
    pub read_lag_max_secs: u64,
    /// When the mailboxes that aren't there yet appear.
    pub provision_delay_secs: u64,
    /// The share of the calendars, 0 to 1, on which the trustee is `Author` already. At 0 there are some at every level.
    pub granted_share: f64,
    /// The share of the mailboxes that lies on premises, 0 to 1. Above 0 there are servers on premises, with as many
    /// grantors as online (`sa-onprem-1` and so on, of the policy `grantors`), a reader of mailboxes (`sa-reader`) and a
    /// member of the delegation group (`sa-member`); the password of each is its name and `-secret`.
    pub on_premises_share: f64,
    /// Whose budget impersonated EWS calls pay from.
    pub impersonation_budget: BudgetOf,
    /// How much faster than real time the site on premises lives.
    pub time_scale: u32,
    /// The policy of the grantors on premises, whatever its name.
    pub policy: PolicySpec,
    /// Nothing is prepared: there is no delegation group, no entry of it, and no member's account. Instead there are
    /// those who may make them: the app [`SETUP_APP`] (its secret is `setup-secret`), and on premises `sa-setup` (its
    /// password is `sa-setup-secret`), who finds the unit `OU=Service Accounts`.
    pub unprepared: bool,
    /// How many seats are free of the one product, `EXCHANGESTANDARD_FACULTY`, where nothing is prepared.
    pub free_seats: u64,
}

impl Default for SchoolOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            mailboxes: 200,
            grantors: 4,
            max_in_flight: Some(10),
            windows: Vec::new(),
            read_lag_max_secs: 3,
            provision_delay_secs: 5,
            granted_share: 0.0,
            on_premises_share: 0.0,
            impersonation_budget: BudgetOf::Target,
            time_scale: 1,
            policy: PolicySpec::default(),
            unprepared: false,
            free_seats: 10,
        }
    }
}

impl Scenario {
    /// Generates the university.
    pub fn school(options: &SchoolOptions) -> Self {
        let dice = Dice::new(options.seed);
        let mut users: Vec<UserSpec> = (0..options.mailboxes)
            .map(|number| person(number, options, &dice))
            .collect();
        let mut unit = UnitSpec {
            id: dice.uuid(),
            name: "Faculty of Science".to_owned(),
            members: Vec::new(),
        };
        let mut groups = groups(&users, &mut unit, &dice);
        if options.unprepared {
            groups.retain(|group| group.mail.as_deref() != Some(TRUSTEE));
            let lists = users.iter_mut().flat_map(|user| &mut user.calendars);
            lists.for_each(|list| list.entries.retain(|entry| entry.principal != TRUSTEE));
        }
        users.push(UserSpec {
            id: dice.uuid(),
            name: "Timetable Delegates".to_owned(),
            upn: "timetable.delegates@uni.example".to_owned(),
            calendars: vec![CalendarSpec {
                path: "Calendar".to_owned(),
                entries: Vec::new(),
            }],
            ..UserSpec::default()
        });
        users.extend(oddities(&dice));
        let onprem = (options.on_premises_share > 0.0).then(|| {
            let site = premises(options);
            users.extend(site.accounts.iter().map(|account| service(account, &dice)));
            let delegates = groups
                .iter_mut()
                .find(|group| group.mail.as_deref() == Some(TRUSTEE));
            if let Some(delegates) = delegates {
                delegates.members.push(MEMBER.to_owned());
            }
            site
        });
        let tenant = TenantSpec {
            id: TENANT_ID,
            domain: "uni.example".to_owned(),
            onprem,
            managed: trustee(!options.unprepared),
            awaited: awaited(options),
            skus: skus(options, &users),
            apps: apps(options),
            users,
            groups,
            units: vec![unit],
            contacts: (0..5)
                .map(|n| format!("visitor{n}@partner.example"))
                .collect(),
            devices: (0..3).map(|n| format!("LAB-PC-{n}")).collect(),
            ..TenantSpec::default()
        };
        Self {
            seed: options.seed,
            tenants: vec![tenant],
            ..Self::default()
        }
    }
}

fn trustee(is: bool) -> Vec<String> {
    Some(TRUSTEE.to_owned())
        .filter(|_| is)
        .into_iter()
        .collect()
}

/// Groups that are managed once somebody makes them.
fn awaited(options: &SchoolOptions) -> Vec<String> {
    let mut awaited = trustee(options.unprepared);
    if options.unprepared && options.on_premises_share > 0.0 {
        awaited.push(ONPREM_TRUSTEE.to_owned());
    }
    awaited
}

fn skus(options: &SchoolOptions, users: &[UserSpec]) -> Vec<SkuSpec> {
    let licensed = users
        .iter()
        .filter(|user| user.licensed && !user.on_premises || user.licence_expired);
    let taken = u64::try_from(licensed.count()).unwrap_or(u64::MAX);
    let faculty = SkuSpec {
        part_number: "EXCHANGESTANDARD_FACULTY".to_owned(),
        seats: Some(taken.saturating_add(options.free_seats)),
        ..SkuSpec::default()
    };
    Some(faculty)
        .filter(|_| options.unprepared)
        .into_iter()
        .collect()
}

fn groups(users: &[UserSpec], unit: &mut UnitSpec, dice: &Dice) -> Vec<GroupSpec> {
    let group = |name: &str, mail: &str, kind: GroupKind| GroupSpec {
        id: dice.uuid(),
        name: name.to_owned(),
        mail: (!mail.is_empty()).then(|| format!("{mail}@uni.example")),
        kind,
        members: Vec::new(),
        ..GroupSpec::default()
    };
    let mut everyone = group(
        "Staff and Students",
        "staff-and-students",
        GroupKind::MailSecurity,
    );
    let mut staff = group("Staff", "staff", GroupKind::MailSecurity);
    let mut students = group("Students", "students", GroupKind::Distribution);
    let mut faculties: Vec<GroupSpec> = FACULTIES
        .iter()
        .map(|name| group(&format!("Students {name}"), "", GroupKind::Security))
        .collect();
    let mut excluded = group("No Timetable", "no-timetable", GroupKind::MailSecurity);
    let mut news = group("News", "news", GroupKind::Distribution);
    let mut team = group("Team", "team", GroupKind::Unified);
    let lab = group("Lab Access", "", GroupKind::Security);
    let mut hidden = group("Works Council", "works-council", GroupKind::MailSecurity);
    hidden.hidden_membership = true;
    hidden.members = users.iter().take(3).map(|user| user.upn.clone()).collect();
    let delegates = group(
        "Timetable Delegates",
        "timetable-delegates",
        GroupKind::MailSecurity,
    );

    everyone.members = [
        "staff@uni.example",
        "students@uni.example",
        "LAB-PC-0",
        "visitor0@partner.example",
    ]
    .map(str::to_owned)
    .to_vec();
    students.members = FACULTIES
        .iter()
        .map(|name| format!("Students {name}"))
        .collect();
    students.members.push("visitor1@partner.example".to_owned());
    if let Some(science) = faculties.last_mut() {
        science.members.push(EVERYONE.to_owned()); // the cycle
    }
    for (number, user) in users.iter().enumerate() {
        let upn = user.upn.clone();
        let faculty = (number / 5) % FACULTIES.len();
        if number % 50 == 1 {
            everyone.members.push(upn.clone());
        }
        if number.is_multiple_of(5) {
            staff.members.push(upn.clone());
        } else if let Some(group) = faculties.get_mut(faculty) {
            group.members.push(upn.clone());
        }
        if FACULTIES[faculty] == "Science" {
            unit.members.push(upn.clone());
        }
        if number % 100 == 31 {
            excluded.members.push(upn.clone());
        }
        if number % 100 == 2 {
            news.members.push(upn.clone());
            team.members.push(upn);
        }
    }
    let mut all = vec![
        everyone, staff, students, excluded, news, team, lab, hidden, delegates,
    ];
    all.extend(faculties);
    all
}

fn apps(options: &SchoolOptions) -> Vec<AppSpec> {
    let limits = Limits {
        max_in_flight: options.max_in_flight,
        windows: options.windows.clone(),
        ..Limits::default()
    };
    let graph = [
        "User.Read.All",
        "GroupMember.Read.All",
        "AdministrativeUnit.Read.All",
    ];
    let mut apps = vec![AppSpec {
        client_id: Uuid::from_u128(0xaaaa_aaaa << 96),
        secret: Some("reader-secret".to_owned()),
        certificate: None,
        roles: graph
            .iter()
            .chain(&["Exchange.ManageAsApp"])
            .map(ToString::to_string)
            .collect(),
        cmdlets: vec!["Get-Mailbox".to_owned()],
        limits: limits.clone(),
        ..AppSpec::default()
    }];
    for number in 1..=options.grantors {
        let last = u128::from_str_radix(&number.to_string(), 16).unwrap_or_default();
        apps.push(AppSpec {
            client_id: Uuid::from_u128(0xbbbb_bbbb << 96 | last),
            secret: (number != 1).then(|| format!("grantor-secret-{number}")),
            certificate: (number == 1).then(|| DEMO_CERTIFICATE_PEM.to_owned()),
            roles: ["Exchange.ManageAsApp", "Exchange.ManageAsAppV2"]
                .map(str::to_owned)
                .to_vec(),
            cmdlets: FOLDER_CMDLETS.map(str::to_owned).to_vec(),
            limits: limits.clone(),
            ..AppSpec::default()
        });
    }
    if options.unprepared {
        let roles = [
            "User.ReadWrite.All",
            "Organization.Read.All",
            "GroupMember.Read.All",
            "Exchange.ManageAsApp",
        ];
        let management = [
            "Distribution Groups",
            "Security Group Creation and Membership",
            "View-Only Recipients",
        ];
        apps.push(AppSpec {
            client_id: SETUP_APP,
            secret: Some("setup-secret".to_owned()),
            roles: roles.map(str::to_owned).to_vec(),
            management_roles: management.map(str::to_owned).to_vec(),
            public_client: true,
            limits: limits.clone(),
            ..AppSpec::default()
        });
    }
    apps
}
