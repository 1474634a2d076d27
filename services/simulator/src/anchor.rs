//! The grammar of `X-AnchorMailbox`.

use uuid::Uuid;

/// Whether a routing hint has one of the known forms.
pub(crate) fn is_readable(hint: &str) -> bool {
    let Some((scheme, rest)) = hint.split_once(':') else {
        return is_address(hint) || Uuid::parse_str(hint).is_ok();
    };
    match scheme {
        "UPN" | "AAD-UPN" | "AAD-SMTP" => is_address(rest) || is_system_mailbox(rest),
        "OID" | "MBX" => rest.split_once('@').is_some_and(|(id, tenant)| {
            Uuid::parse_str(id).is_ok() && Uuid::parse_str(tenant).is_ok()
        }),
        "APP" => is_system_mailbox(rest),
        _ => false,
    }
}

fn is_address(text: &str) -> bool {
    text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && !domain.is_empty()
            && !domain.contains('@')
            && !text.contains(|c: char| c.is_whitespace() || c == '{' || c == ':')
    })
}

fn is_system_mailbox(text: &str) -> bool {
    let inner = text
        .strip_prefix("SystemMailbox{")
        .and_then(|rest| rest.split_once("}@"));
    inner.is_some_and(|(id, organisation)| Uuid::parse_str(id).is_ok() && !organisation.is_empty())
}

#[cfg(test)]
mod tests {
    use super::is_readable;

    #[test]
    fn known_forms_only() {
        let tenant = "11111111-2222-3333-4444-555555555555";
        for good in [
            "UPN:ada@uni.example".to_owned(),
            "ada@uni.example".to_owned(),
            "AAD-SMTP:ada@uni.example".to_owned(),
            format!("OID:{tenant}@{tenant}"),
            format!("APP:SystemMailbox{{bb558c35-97f1-4cb9-8ff7-d53741dc928c}}@{tenant}"),
        ] {
            assert!(is_readable(&good), "{good}");
        }
        for bad in [
            "",
            "ada",
            "SMTP:ada@uni.example",
            "UPN:",
            "MBX:ada@uni.example",
            "OID:x@y",
            "APP:x",
        ] {
            assert!(!is_readable(bad), "{bad}");
        }
    }
}
