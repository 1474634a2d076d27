//! What the body of a failure says went wrong. Pure.

use serde_json::Value;

use crate::classify::is_catalogued;

/// How many wrappings of JSON in a text are taken off.
const DEPTH: u8 = 4;

/// What the body says went wrong.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The exception's last segment, else the error's code.
    pub(crate) code: String,
    /// Whether a cmdlet ran and threw: the endpoint itself is there.
    pub(crate) from_cmdlet: bool,
    /// In words.
    pub(crate) text: String,
    /// The request's id, where the body has it.
    pub(crate) request_id: String,
}

/// Reads the `error` of a body, if it has one.
pub(crate) fn fault(body: &Value) -> Option<Fault> {
    let error = body.get("error").filter(|error| !error.is_null())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(code) = error.as_str() {
        return Some(Fault {
            code: code.to_owned(),
            text: text(&body["error_description"]),
            ..Fault::default()
        });
    }
    let inner = error
        .get("innererror")
        .or_else(|| error.get("innerError"))
        .unwrap_or(&Value::Null);
    // OData once wrote messages as objects.
    let message = match &error["message"] {
        Value::Object(message) => text(message.get("value").unwrap_or(&Value::Null)),
        message => text(message),
    };
    let mut fault = Fault {
        code: text(&error["code"]),
        text: message,
        request_id: text(&inner["request-id"]),
        from_cmdlet: false,
    };
    let deeper = [
        &error["details"][0]["message"],
        &inner["internalexception"]["message"],
    ];
    if let Some(message) = deeper
        .into_iter()
        .find_map(|m| m.as_str().filter(|m| !m.is_empty()))
    {
        fault.text = message.to_owned();
        fault.from_cmdlet = true;
    }
    if let Some((exception, text)) = exception(&fault.text, DEPTH) {
        fault.code = exception;
        fault.text = text;
        fault.from_cmdlet = true;
    }
    Some(fault)
}

/// Splits `id|type|text`, or decodes a proxied exception, which is JSON. Gives the type's last segment.
fn exception(message: &str, depth: u8) -> Option<(String, String)> {
    let message = message.trim();
    if message.starts_with('{') && depth > 0 {
        let value: Value = serde_json::from_str(message).ok()?;
        let text = value["Message"].as_str().unwrap_or_default();
        let nested = || match &value["InnerException"] {
            Value::Object(inner) => exception(&Value::Object(inner.clone()).to_string(), depth - 1),
            _ => None,
        };
        if let Some(inner) = exception(text, depth - 1)
            .or_else(nested)
            .filter(|(name, _)| is_catalogued(name))
        {
            return Some(inner);
        }
        // The exception that matters is named inside the proxy's text: one we know before one we don't.
        let names = || {
            message
                .split(|c: char| !c.is_alphanumeric() && c != '.' && c != '_')
                .filter_map(|word| word.rsplit('.').next())
                .filter(|word| word.len() > "Exception".len() && word.ends_with("Exception"))
        };
        let inner = names().find(|name| is_catalogued(name)).or_else(|| {
            names().find(|name| !["InnerException", "CmdletProxyException"].contains(name))
        });
        let outer = value["ClassName"].as_str().unwrap_or_default();
        let name = inner.or_else(|| outer.rsplit('.').next().filter(|name| !name.is_empty()))?;
        return Some((name.to_owned(), text.to_owned()));
    }
    let mut parts = message.splitn(3, '|');
    let (_id, kind, text) = (parts.next()?, parts.next()?, parts.next()?);
    let name = kind.trim().rsplit('.').next()?;
    name.ends_with("Exception")
        .then(|| (name.to_owned(), text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(details: &str) -> Fault {
        fault(&json!({"error": {"code": "BadRequest", "message": "Error executing cmdlet",
            "details": [{"code": "Client", "target": "", "message": details}],
            "innererror": {"internalexception": {"message": "Exception of type 'X' was thrown."}}}}))
        .unwrap()
    }

    #[test]
    fn details_come_first_then_the_inner_exception_then_the_message() {
        assert_eq!(of("Ex1|a.b.CException|it | broke").text, "it | broke");
        assert_eq!(of("").text, "Exception of type 'X' was thrown.");
        let plain =
            fault(&json!({"error": {"code": "NotFound", "message": "no such thing"}})).unwrap();
        assert_eq!(
            (plain.text.as_str(), plain.from_cmdlet),
            ("no such thing", false)
        );
        let old = fault(&json!({"error": {"code": "x", "message": {"lang": "en", "value": "no"}}}));
        assert_eq!(old.unwrap().text, "no");
        assert_eq!(fault(&json!({"error": null, "value": []})), None);
    }

    #[test]
    fn the_id_may_be_empty_and_the_text_may_hold_bars() {
        for (message, code) in [
            ("|a.b.CException|x", "CException"),
            ("Ex1|CException|x|y|z", "CException"),
            ("Ex1| a.CException |x", "CException"),
            ("just words", "BadRequest"),
            ("a|b", "BadRequest"),
            ("a|b|c", "BadRequest"),
            ("{not json", "BadRequest"),
        ] {
            assert_eq!(of(message).code, code, "{message}");
        }
    }

    #[test]
    fn proxied_exceptions_are_json_in_the_message() {
        let not_found = "Microsoft.Exchange.Configuration.Tasks.ManagementObjectNotFoundException";
        let proxied = |text: &str| json!({"ClassName": "Microsoft.Exchange.Configuration.CmdletProxyException", "Message": text});
        let twice = proxied(&proxied(&format!("|{not_found}|no")).to_string());
        for (message, code) in [
            (
                proxied(&format!(
                    "Error on proxy command 'Set-X' to server A: Server version 15.20, Proxy method PSWS: Ex6F|{not_found}|no"
                )),
                "ManagementObjectNotFoundException",
            ),
            (
                proxied(&format!(
                    "CmdletProxyException: RemoteException: {not_found}: no"
                )),
                "ManagementObjectNotFoundException",
            ),
            (
                proxied("Proxy method PSWS: a.StrangeException: no"),
                "StrangeException",
            ),
            (proxied("no more is known"), "CmdletProxyException"),
            (
                json!({"ClassName": "x.CmdletProxyException", "Message": "no", "InnerException": {"ClassName": not_found, "Message": "y"}}),
                "ManagementObjectNotFoundException",
            ),
            (twice, "ManagementObjectNotFoundException"),
        ] {
            let fault = of(&message.to_string());
            assert_eq!(fault.code, code, "{message}");
            assert!(fault.from_cmdlet);
        }
    }

    #[test]
    fn wrappings_have_an_end() {
        let mut message = "|a.ManagementObjectNotFoundException|x".to_owned();
        for _ in 0..8 {
            message =
                json!({"ClassName": "x.CmdletProxyException", "Message": message}).to_string();
        }
        assert!(!of(&message).code.is_empty());
    }
}
