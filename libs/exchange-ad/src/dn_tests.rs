use proptest::prelude::*;

use super::*;

fn dn(raw: &str) -> Dn {
    Dn::parse(raw).unwrap()
}

#[test]
fn same_and_other_names() {
    for (one, other, want) in [
        ("CN=Ada,OU=Staff,DC=uni", "cn=ada, ou = STAFF ,dc=UNI", true),
        ("CN=Ada  Lovelace,DC=uni", "CN= ada lovelace ,DC=uni", true),
        (
            "CN=Lovelace\\, Ada,DC=uni",
            "CN=\"Lovelace, Ada\",DC=uni",
            true,
        ),
        (
            "CN=Lovelace\\, Ada,DC=uni",
            "CN=Lovelace\\2C Ada,DC=uni",
            true,
        ),
        ("CN=Grüße,DC=uni", "CN=Gr\\C3\\BC\\C3\\9Fe,DC=uni", true),
        ("OU=PRÜFUNG,DC=uni", "ou=prüfung,dc=uni", true),
        ("OU=Prüfung,DC=uni", "OU=Prufung,DC=uni", false),
        (
            "OU=a,DC=uni",
            "2.5.4.11=A,OID.0.9.2342.19200300.100.1.25=uni",
            true,
        ),
        ("OU=Hi,DC=uni", "OU=#04024869,DC=uni", true),
        ("CN=a+UID=b,DC=uni", "uid=B+cn=A,DC=uni", true),
        ("CN=a\\+UID\\=b,DC=uni", "CN=a+UID=b,DC=uni", false),
        ("CN=a;DC=uni", "CN=a,DC=uni", true),
        ("CN=a\\ ,DC=uni", "CN=a,DC=uni", true),
        ("CN=a,OU=b,DC=uni", "CN=a,DC=uni", false),
        ("CN=a,DC=uni", "OU=a,DC=uni", false),
        ("CN=a\\,OU\\=b,DC=uni", "CN=a,OU=b,DC=uni", false),
    ] {
        assert_eq!(dn(one) == dn(other), want, "{one} and {other}");
    }
    for bad in [
        "",
        "Students",
        "OU=",
        "=x",
        "OU=a,,DC=x",
        "OU=a\\",
        "CN=\"a,DC=x",
        "CN=#04",
        "CN=#0405zz",
        "C N=x",
        "CN=\\FF",
    ] {
        assert!(Dn::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn below_and_parents() {
    let unit = dn("OU=Students,DC=uni,DC=example");
    for (name, want) in [
        ("CN=Ada,ou=students, DC=uni,DC=example", true),
        ("CN=Ada,OU=2026,OU=Students,DC=uni,DC=example", true),
        ("OU=Students,DC=uni,DC=example", false),
        ("CN=Ada,OU=ExStudents,DC=uni,DC=example", false),
        ("CN=Ada,OU=Students,DC=uni,DC=example,DC=org", false),
        ("CN=Ada\\,OU=Students,DC=uni,DC=example", false),
    ] {
        assert_eq!(dn(name).is_below(&unit), want, "{name}");
    }
    let name = dn("CN=Lovelace\\, Ada , OU=Maths,  DC=uni,DC=example");
    let parent = name.parent().unwrap();
    assert_eq!(parent.as_str(), "OU=Maths,  DC=uni,DC=example");
    let domain = parent.parent().unwrap();
    assert_eq!(domain.as_str(), "DC=uni,DC=example");
    assert_eq!(domain.parent().unwrap().as_str(), "DC=example");
    assert!(domain.parent().unwrap().parent().is_none());
    assert_eq!(name.domain(), "uni.example");
    assert_eq!(dn("CN=a").domain(), "");
}

/// A value as somebody may write it: plain where that is allowed, escaped or in hexadecimal.
fn written(value: &str, styles: &[u8]) -> String {
    let mut text = String::new();
    for (at, c) in value.chars().enumerate() {
        let style = styles.get(at % styles.len().max(1)).copied().unwrap_or(0);
        let special = matches!(c, ',' | ';' | '+' | '"' | '\\' | '=' | '#' | ' ');
        if style % 3 == 0 || (special && style % 3 == 2) {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                text.push_str(&format!("\\{byte:02X}"));
            }
        } else if special {
            text.push('\\');
            text.push(c);
        } else {
            text.push(c);
        }
    }
    text
}

proptest! {
    /// However its characters are written, whatever their case and the spaces around, it is the same name.
    #[test]
    fn ways_of_writing(
        values in prop::collection::vec("[a-zA-Z,;+\"\\\\=#äöüß]{1,8}", 1..5),
        styles in prop::collection::vec(any::<u8>(), 1..9),
        pads in prop::collection::vec("[ ]{0,2}", 1..4),
    ) {
        let plain: Vec<String> = values.iter().map(|value| format!("OU={}", written(value, &[1]))).collect();
        let other: Vec<String> = values.iter().enumerate().map(|(at, value)| {
            let pad = &pads[at % pads.len()];
            format!("{pad}ou{pad}={pad}{}{pad}", written(&value.to_lowercase(), &styles))
        }).collect();
        let (one, other) = (Dn::parse(&plain.join(",")), Dn::parse(&other.join(",")));
        prop_assert!(one.is_some(), "{:?}", plain);
        prop_assert_eq!(&one, &other);
        let (one, other) = (one.unwrap(), other.unwrap());
        prop_assert_eq!(one.parent(), other.parent());
        if let Some(parent) = one.parent() {
            prop_assert!(other.is_below(&parent));
            prop_assert!(!parent.is_below(&one));
        }
        prop_assert!(!one.is_below(&one));
    }

    /// Nothing makes it panic, and what it takes apart it takes apart again the same.
    #[test]
    fn anything(raw in "\\PC{0,60}") {
        if let Some(name) = Dn::parse(&raw) {
            let mut at = Some(name.clone());
            while let Some(here) = at {
                prop_assert_eq!(Dn::parse(here.as_str()), Some(here.clone()));
                at = here.parent();
            }
        }
    }
}
