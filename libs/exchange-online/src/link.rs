//! Links to further pages: a token is sent to the server and the organisation it is for, and to no other. Pure.

use calgrant_domain::Reason;
use calgrant_exchange::{CallError, Meaning};
use reqwest::Url;
use uuid::Uuid;

/// Whether a link stays at the server of `base`, and, where `organisation` is given, with that organisation.
///
/// # Errors
/// It doesn't: asking again gives the same link, so a person must look at it.
pub(crate) fn check(base: &str, organisation: Option<&str>, link: &str) -> Result<(), CallError> {
    let foreign = || {
        CallError::new(
            Meaning::GiveUp(Reason::Rejected),
            "foreign_link",
            "the link to the next page leads to another server or organisation, so no token was sent to it",
        )
    };
    let (Ok(base), Ok(link)) = (Url::parse(base), Url::parse(link)) else {
        return Err(foreign());
    };
    let same_server = base.origin().is_tuple()
        && base.origin() == link.origin()
        && link.username().is_empty()
        && link.password().is_none()
        && link.path().starts_with(base.path().trim_end_matches('/'));
    let same_organisation = organisation
        .is_none_or(|wanted| link_organisation(&link).is_some_and(|of| same(wanted, of)));
    if same_server && same_organisation {
        Ok(())
    } else {
        Err(foreign())
    }
}

/// What follows `adminapi/<version>/`.
fn link_organisation(link: &Url) -> Option<&str> {
    let mut segments = link.path_segments()?;
    segments.find(|segment| *segment == "adminapi")?;
    segments.nth(1)
}

/// The same name; a server may answer with the GUID of an organisation that we name by its domain.
fn same(wanted: &str, named: &str) -> bool {
    wanted.eq_ignore_ascii_case(named)
        || (Uuid::try_parse(wanted).is_err() && Uuid::try_parse(named).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_at_home() {
        let base = "https://graph.example";
        for (link, good) in [
            ("https://graph.example:443/v1.0/users?$skiptoken=x", true),
            ("https://GRAPH.example/v1.0/users", true),
            ("http://graph.example/x", false),
            ("https://graph.example.evil/x", false),
            ("https://graph.example:8443/x", false),
            ("https://graph.example@evil/x", false),
            ("https://me@graph.example/x", false),
            ("/v1.0/users", false),
            ("javascript:x", false),
            ("", false),
        ] {
            assert_eq!(check(base, None, link).is_ok(), good, "{link}");
        }
    }

    #[test]
    fn and_in_the_organisation() {
        let (base, ours) = ("https://o.example", "6f1c2d3e-0000-4000-8000-000000000001");
        let other = "6f1c2d3e-0000-4000-8000-000000000002";
        let link =
            |of: &str| format!("https://o.example/adminapi/beta/{of}/InvokeCommand?$skiptoken=x");
        for (wanted, link, good) in [
            (ours, link(ours), true),
            (ours, link(&ours.to_uppercase()), true),
            (ours, link(other), false),
            (ours, "https://o.example/elsewhere".to_owned(), false),
            ("uni.example", link("uni.example"), true),
            ("uni.example", link(ours), true),
            ("uni.example", link("evil.example"), false),
        ] {
            assert_eq!(
                check(base, Some(wanted), &link).is_ok(),
                good,
                "{wanted} {link}"
            );
        }
    }
}
