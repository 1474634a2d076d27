//! The directory on premises, asked by a client that others wrote.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

mod foreign;
mod premises;
mod rig;

use calgrant_simulator::{GroupSpec, Scenario, SchoolOptions};
use premises::SCHOOL;
use rig::Rig;
use serde_json::{Value, json};

const DOMAIN: &str = "DC=school,DC=example";
const CHAIN: &str = "1.2.840.113556.1.4.1941";
const BITS: &str = "1.2.840.113556.1.4.803";

/// A school whose directory is served, both ways.
async fn school(change: impl FnOnce(&mut Scenario)) -> Rig {
    let mut scenario = Scenario::from_toml(SCHOOL).unwrap();
    serve(&mut scenario);
    change(&mut scenario);
    Rig::of(scenario).await
}

fn serve(scenario: &mut Scenario) {
    let free = "127.0.0.1:0".parse().unwrap();
    (scenario.ldap, scenario.ldaps) = (Some(free), Some(free));
}

/// Takes these steps on one connection, sealed from the start.
async fn sealed(rig: &Rig, steps: &[Value]) -> Option<Vec<Value>> {
    let url = format!("ldaps://{}", rig.running.ldaps.unwrap());
    ask(rig, &url, steps).await
}

/// Takes these steps on one connection, not sealed at the start.
async fn open(rig: &Rig, steps: &[Value]) -> Option<Vec<Value>> {
    let url = format!("ldap://{}", rig.running.ldap.unwrap());
    ask(rig, &url, steps).await
}

async fn ask(rig: &Rig, url: &str, steps: &[Value]) -> Option<Vec<Value>> {
    let certificate = rig.running.certificate().unwrap();
    let input: String = steps.iter().map(|step| format!("{step}\n")).collect();
    let said = foreign::run("directory.py", &[url, certificate], &input).await?;
    assert_eq!(said.len(), steps.len());
    Some(said)
}

fn bind() -> Value {
    json!({"bind": ["SCHOOL\\sa-full", "full:secret"]})
}

fn find(filter: &str) -> Value {
    json!({"base": DOMAIN, "filter": filter, "stay": true})
}

/// The first parts of the names that were found.
fn names(said: &Value) -> Vec<&str> {
    assert_eq!(said["code"], 0, "{said}");
    let entries = said["entries"].as_array().unwrap().iter();
    let mut names: Vec<&str> = entries
        .map(|entry| entry["dn"].as_str().unwrap())
        .map(|dn| dn.split(',').next().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_sign_in_by_each_of_their_names() {
    let rig = school(|_| {}).await;
    let dn = format!("cn=SA-FULL, cn=Users,{DOMAIN}");
    let steps = [
        json!({"start_tls": true}),
        json!({"who_am_i": true}),
        json!({"base": DOMAIN, "scope": "base"}),
        json!({"bind": ["sa-full@school.example", "full:secret"]}),
        json!({"who_am_i": true}),
        json!({"bind": [dn, "full:secret"]}),
        bind(),
        json!({"base": DOMAIN, "scope": "base"}),
        json!({"modify": [DOMAIN, "description", "x"]}),
    ];
    let Some(said) = open(&rig, &steps).await else {
        return;
    };
    assert_eq!(said[0]["code"], 0);
    assert_eq!(said[1]["name"], "");
    assert_eq!(said[2]["code"], 1);
    let text = said[2]["text"].as_str().unwrap();
    assert!(text.starts_with("000004DC: LdapErr: DSID-"), "{text}");
    for signed_in in [3, 5, 6, 7] {
        assert_eq!(said[signed_in]["code"], 0, "{}", said[signed_in]);
    }
    assert_eq!(said[4]["name"], "u:SCHOOL\\sa-full");
    assert_eq!(said[8]["code"], 50);
    let report = rig.get("/_simulator/report").await;
    let calls = &report["calls_by_app"]["sa-full@school.example"];
    assert_eq!(
        (&calls["LDAP bind"], &calls["LDAP search"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(report["calls"]["LDAP search"], 2);
    // and the end of the connection
    rig.until("/_simulator/report", |report| {
        report["calls"]["LDAP unbind"] == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_sign_in_is_told_why() {
    let rig = school(|_| {}).await;
    let disabled = json!({"disabled": true});
    assert_eq!(
        rig.put("/_simulator/accounts/dave@school.example", disabled)
            .await,
        200
    );
    let login = |name: &str, password: &str| json!({"bind": [name, password]});
    let mut steps = vec![
        login("SCHOOL\\sa-full", "wrong"),
        login("SCHOOL\\nobody", "x"),
        login("ada@school.example", "x"),
        login("dave@school.example", "dave"),
    ];
    steps.extend((0..10).map(|_| login("eva@school.example", "wrong")));
    steps.push(login("eva@school.example", "eva"));
    let Some(said) = sealed(&rig, &steps).await else {
        return;
    };
    let codes = ["52e", "525", "52e", "533"]
        .iter()
        .chain([&"52e"; 10])
        .chain(&["775"]);
    for (said, code) in said.iter().zip(codes) {
        assert_eq!(said["code"], 49, "{said}");
        let text = said["text"].as_str().unwrap();
        assert!(text.contains(&format!(", data {code}, ")), "{text}");
    }
    // a password over an unsealed connection
    let unsealed = open(&rig, &[bind()]).await.unwrap();
    assert_eq!(unsealed[0]["code"], 8);
    let careless = school(|scenario| {
        let site = scenario.tenants[0].onprem.as_mut().unwrap();
        site.ldap_signing_required = false;
    })
    .await;
    let unsealed = open(&careless, &[bind()]).await.unwrap();
    assert_eq!(unsealed[0]["code"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_find_what_they_ask_for() {
    let rig = school(|scenario| {
        let tenant = &mut scenario.tenants[0];
        tenant.contacts.push("pat@partner.example".to_owned());
        tenant.devices.push("PC-1".to_owned());
        let cloud = tenant
            .users
            .iter_mut()
            .find(|user| user.upn.starts_with("cloud"));
        cloud.unwrap().dn = Some(format!("CN=cloud,OU=Remote,{DOMAIN}"));
    })
    .await;
    let nested = format!("CN=Calendar Delegates,OU=Groups,{DOMAIN}");
    let cases = [
        (
            "(&(objectCategory=person)(objectClass=user)(msExchMailboxGuid=*)(msExchRecipientTypeDetails=1))",
            vec![
                "CN=ada",
                "CN=bob",
                "CN=dave",
                "CN=eva",
                "CN=rector",
                "CN=sa-imp",
            ],
        ),
        ("(msExchRecipientTypeDetails=2147483648)", vec!["CN=cloud"]),
        ("(objectClass=computer)", vec!["CN=PC-1"]),
        ("(objectClass=contact)", vec!["CN=pat@partner.example"]),
        (
            "(objectClass=organizationalUnit)",
            vec!["OU=Contacts", "OU=Groups", "OU=Remote", "OU=Teachers"],
        ),
        (
            &format!("(memberOf:{CHAIN}:={nested})"),
            vec!["CN=Nested", "CN=eva", "CN=sa-imp"],
        ),
        (&format!("(memberOf={nested})"), vec!["CN=Nested", "CN=eva"]),
        (
            &format!("(member:{CHAIN}:=CN=sa-imp,CN=Users,{DOMAIN})"),
            vec!["CN=Calendar Delegates", "CN=Nested"],
        ),
        (
            &format!("(&(objectClass=group)(groupType:{BITS}:=2147483648))"),
            vec![
                "CN=Calendar Delegates",
                "CN=Domain Users",
                "CN=Nested",
                "CN=Teachers",
            ],
        ),
        (
            "(&(objectClass=group)(groupType=-2147483640)(mail=*))",
            vec!["CN=Calendar Delegates", "CN=Teachers"],
        ),
        ("(proxyAddresses=smtp:A.L@School.Example)", vec!["CN=ada"]),
        (
            "(proxyAddresses=SMTP:ada.lovelace@school.example)",
            vec!["CN=ada"],
        ),
        ("(mail=a.l@school.example)", vec![]),
        ("(displayName=ada*l*ce)", vec!["CN=ada"]),
        ("(displayName=*ace*ace)", vec![]),
        (
            "(&(sAMAccountName>=sa-i)(sAMAccountName<=sa-j))",
            vec!["CN=sa-imp"],
        ),
        (
            "(&(objectClass=group)(!(mail=*)))",
            vec!["CN=Domain Users", "CN=Nested"],
        ),
        // nobody can say what isn't known, nor its opposite
        ("(favouriteColour=red)", vec![]),
        ("(&(objectClass=group)(!(favouriteColour=red)))", vec![]),
        ("(|(favouriteColour=red)(cn=ada))", vec!["CN=ada"]),
        ("(userAccountControl=many)", vec![]),
        (
            "(distinguishedName=cn=ADA,ou=teachers,dc=school,dc=example)",
            vec!["CN=ada"],
        ),
    ];
    let steps: Vec<Value> = std::iter::once(bind())
        .chain(cases.iter().map(|(filter, _)| find(filter)))
        .collect();
    let Some(said) = sealed(&rig, &steps).await else {
        return;
    };
    for ((filter, wanted), said) in cases.iter().zip(&said[1..]) {
        assert_eq!(&names(said), wanted, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_tell_what_the_other_fronts_tell() {
    let rig = school(|_| {}).await;
    let one = |filter: &str, attributes: &[&str]| json!({"base": DOMAIN, "filter": filter, "attributes": attributes, "stay": true});
    let steps = [
        bind(),
        one("(cn=ada)", &["*"]),
        one("(cn=ada)", &["MAIL", "memberof", "nothing", "mail;lang-de"]),
        one("(cn=ada)", &["1.1"]),
        one(
            "(sAMAccountName=delegates)",
            &["member", "groupType", "msExchRecipientTypeDetails"],
        ),
        json!({"base": "", "scope": "base", "attributes": ["defaultNamingContext", "supportedControl", "dnsHostName"]}),
        json!({"base": DOMAIN, "filter": "(cn=ada)", "types_only": true, "attributes": ["mail"]}),
    ];
    let Some(said) = sealed(&rig, &steps).await else {
        return;
    };
    let ada = &said[1]["entries"][0];
    assert_eq!(ada["dn"], "CN=ada,OU=Teachers,DC=school,DC=example");
    assert_eq!(
        ada["proxyAddresses"],
        json!([
            "SMTP:ada.lovelace@school.example",
            "smtp:a.l@school.example"
        ])
    );
    for (name, value) in [
        ("userPrincipalName", "ada@school.example"),
        ("mail", "ada.lovelace@school.example"),
        ("mailNickname", "ada"),
        ("userAccountControl", "512"),
        ("primaryGroupID", "513"),
        ("msExchRecipientTypeDetails", "1"),
    ] {
        assert_eq!(ada[name], json!([value]), "{name}");
    }
    assert_eq!(
        ada["objectClass"],
        json!(["top", "person", "organizationalPerson", "user"])
    );
    let few = &said[2]["entries"][0];
    assert_eq!(
        few,
        &json!({"dn": ada["dn"], "mail": ada["mail"], "memberOf": ada["memberOf"]})
    );
    assert_eq!(said[3]["entries"], json!([{"dn": ada["dn"]}]));
    let group = &said[4]["entries"][0];
    let members = json!([
        "CN=eva,CN=Users,DC=school,DC=example",
        "CN=Nested,OU=Groups,DC=school,DC=example"
    ]);
    assert_eq!(
        (&group["member"], &group["groupType"]),
        (&members, &json!(["-2147483640"]))
    );
    let root = &said[5]["entries"][0];
    assert_eq!(root["defaultNamingContext"], json!([DOMAIN]));
    assert_eq!(root["dnsHostName"], json!(["DC01.school.example"]));
    let controls = root["supportedControl"].as_array().unwrap();
    assert!(controls.contains(&json!("1.2.840.113556.1.4.319")));
    assert_eq!(said[6]["entries"][0]["mail"], json!([]));
    // a mailbox that goes takes what is said of it along
    let gone = json!({"deleted": true});
    assert_eq!(
        rig.put("/_simulator/mailboxes/ada@school.example", gone)
            .await,
        200
    );
    let said = sealed(&rig, &[bind(), find("(&(cn=ada)(msExchMailboxGuid=*))")]).await;
    assert_eq!(said.unwrap()[1]["entries"], json!([]));
}

/// A generated school with a group of more members than one answer holds.
async fn large() -> Rig {
    let mut scenario = Scenario::school(&SchoolOptions {
        mailboxes: 1610,
        grantors: 1,
        on_premises_share: 1.0,
        ..SchoolOptions::default()
    });
    serve(&mut scenario);
    let tenant = &mut scenario.tenants[0];
    let people = tenant.users.iter().filter(|user| user.upn.starts_with('u'));
    tenant.groups.push(GroupSpec {
        name: "All of them".to_owned(),
        members: people.take(1600).map(|user| user.upn.clone()).collect(),
        ..GroupSpec::default()
    });
    Rig::of(scenario).await
}

fn of_uni() -> Value {
    json!({"bind": ["UNI\\sa-reader", "sa-reader-secret"]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_hold_everybody_once() {
    let rig = large().await;
    let people = "(&(objectCategory=person)(userPrincipalName=u0*))";
    let page = |more: &Value| {
        let mut step = json!({"base": "DC=uni,DC=example", "filter": people, "stay": true});
        let more = more.as_object().unwrap().clone();
        step.as_object_mut().unwrap().extend(more);
        step
    };
    let steps = [
        of_uni(),
        page(&json!({})),
        page(&json!({"size_limit": 10})),
        page(&json!({"page": 5000})),
        page(&json!({"page": 5000, "cookie": "last"})),
        page(&json!({"page": 700})),
        page(&json!({"page": 700, "cookie": "last", "filter": "(objectClass=user)"})),
        page(&json!({"page": 700, "cookie": "last"})),
        page(&json!({"page": 700, "cookie": "last"})),
        page(&json!({"page": 700, "cookie": "no such cookie"})),
        page(&json!({"page": 1000, "size_limit": 1100})),
        page(&json!({"page": 1000, "size_limit": 1100, "cookie": "last"})),
    ];
    let Some(said) = sealed(&rig, &steps).await else {
        return;
    };
    let code = |at: usize| said[at]["code"].as_u64().unwrap();
    let count = |at: usize| said[at]["entries"].as_array().unwrap().len();
    assert_eq!((code(1), count(1)), (4, 1000));
    assert_eq!((code(2), count(2)), (4, 10));
    let mut all = [names(&said[3]), names(&said[4])].concat();
    assert_eq!((count(3), &said[4]["more"]), (1000, &json!(false)));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 1610);
    assert_eq!((count(5), &said[5]["more"]), (700, &json!(true)));
    // a cookie is worth something for what it was given for alone, and goes on nevertheless
    assert_eq!(code(6), 12);
    assert_eq!(count(7) + count(8), 1610 - 700);
    assert_eq!(code(9), 12);
    assert_eq!((code(10), count(10)), (0, 1000));
    assert_eq!((code(11), count(11)), (4, 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_values_come_in_ranges() {
    let rig = large().await;
    let ranged = |attribute: &str| json!({"base": "CN=All of them,OU=Groups,DC=uni,DC=example", "scope": "base", "attributes": [attribute]});
    let mut whole = ranged("member");
    whole["ranges"] = json!(true);
    let steps = [
        of_uni(),
        ranged("member"),
        ranged("member;range=1500-*"),
        ranged("member;range=0-499"),
        ranged("member;range=1100-1599"),
        ranged("member;range=1600-*"),
        ranged("description;range=0-*"),
        whole,
    ];
    let Some(said) = sealed(&rig, &steps).await else {
        return;
    };
    let values = |at: usize, name: &str| said[at]["entries"][0][name].as_array().map(Vec::len);
    assert_eq!(
        (values(1, "member"), values(1, "member;range=0-1499")),
        (Some(0), Some(1500))
    );
    assert_eq!(values(2, "member;range=1500-*"), Some(100));
    assert_eq!(values(3, "member;range=0-499"), Some(500));
    assert_eq!(values(4, "member;range=1100-*"), Some(500));
    assert_eq!(said[5]["code"], 1);
    assert_eq!(said[6]["entries"][0].as_object().unwrap().len(), 1);
    assert_eq!(values(7, "member"), Some(1600));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_begin_at_what_is_there() {
    let rig = school(|_| {}).await;
    let at = |base: &str, scope: &str| json!({"base": base, "scope": scope});
    let steps = [
        bind(),
        at(&format!("OU=Teachers,{DOMAIN}"), "sub"),
        at(&format!("ou=teachers,{DOMAIN}"), "one"),
        at(DOMAIN, "one"),
        at(DOMAIN, "sub"),
        at(&format!("CN=x,OU=No\\, such,OU=Teachers,{DOMAIN}"), "sub"),
        at("Teachers", "sub"),
        at("OU=Teachers,DC=other,DC=example", "sub"),
        at(&format!("CN=Configuration,{DOMAIN}"), "sub"),
        at("<SID=S-1-5-21-1-2-3-4>", "base"),
        json!({"base": DOMAIN, "critical": "1.2.840.113556.1.4.473"}),
    ];
    let Some(said) = sealed(&rig, &steps).await else {
        return;
    };
    assert_eq!(names(&said[1]), ["CN=ada", "OU=Teachers"]);
    assert_eq!(names(&said[2]), ["CN=ada"]);
    assert_eq!(
        names(&said[3]),
        ["CN=Computers", "CN=Users", "OU=Groups", "OU=Teachers"]
    );
    let references = said[4]["references"].as_array().unwrap();
    assert_eq!(references.len(), 3);
    assert_eq!(
        references[2],
        format!("ldap://school.example/CN=Configuration,{DOMAIN}")
    );
    assert_eq!(said[5]["code"], 32);
    assert_eq!(said[5]["matched"], format!("OU=Teachers,{DOMAIN}"));
    assert_eq!(said[6]["code"], 34);
    assert_eq!(said[7]["code"], 10);
    assert_eq!(
        said[7]["referrals"],
        json!(["ldap://other.example/OU=Teachers,DC=other,DC=example"])
    );
    assert_eq!(names(&said[8]), ["CN=Configuration"]);
    assert_eq!(said[9]["code"], 32);
    assert_eq!(said[10]["code"], 12);
}
