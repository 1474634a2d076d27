//! What goes wrong: as a fault for a whole request, or as the answer to one part of it.

use std::time::Duration;

use crate::ews::{ERRORS, TYPES};
use crate::onprem::Overload;
use crate::xml::{leaf, tag, with};

/// One of Exchange's response codes, with what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EwsError {
    pub(crate) code: &'static str,
    pub(crate) text: String,
    /// What `MessageXml` holds, by name.
    pub(crate) values: Vec<(&'static str, String)>,
}

impl EwsError {
    pub(crate) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            values: Vec::new(),
        }
    }

    pub(crate) fn value(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.values.push((name, value.into()));
        self
    }

    pub(crate) fn no_mailbox(address: &str) -> Self {
        Self::new(
            "ErrorNonExistentMailbox",
            "The SMTP address has no mailbox associated with it.",
        )
        .value("SmtpAddress", address)
    }

    pub(crate) fn access_denied() -> Self {
        Self::new(
            "ErrorAccessDenied",
            "Access is denied. Check credentials and try again.",
        )
    }

    pub(crate) fn no_item() -> Self {
        Self::new(
            "ErrorItemNotFound",
            "The specified object was not found in the store.",
        )
    }

    pub(crate) fn no_folder() -> Self {
        Self::new(
            "ErrorFolderNotFound",
            "The specified folder could not be found in the store.",
        )
    }

    pub(crate) fn bad_id() -> Self {
        Self::new("ErrorInvalidIdMalformed", "Id is malformed.")
    }

    /// The request is over a budget; `wait` is in the client's own time.
    pub(crate) fn busy(wait: Option<Duration>) -> Self {
        let error = Self::new(
            "ErrorServerBusy",
            "The server cannot service this request right now. Try again later.",
        );
        match wait {
            Some(wait) => error.value("BackOffMilliseconds", wait.as_millis().max(1).to_string()),
            None => error,
        }
    }

    /// As an overload says it; times are in the client's own.
    pub(crate) fn overload(overload: Overload, policy: &str) -> Self {
        match overload {
            Overload::Busy(wait) => Self::busy(Some(wait)),
            Overload::Connections(most) => Self::new(
                "ErrorExceededConnectionCount",
                "You have exceeded the available concurrent connections for your account. Try again once your other requests have completed.",
            )
            .value("Policy", policy)
            .value("MaxConcurrencyLimit", most.to_string())
            .value("ErrorMessage", "You have exceeded the available concurrent connections for your account."),
        }
    }

    fn message_xml(&self, name: &str, namespace: Option<&str>) -> String {
        if self.values.is_empty() {
            return String::new();
        }
        let one = |(name, value): &(&str, String)| {
            with("t:Value", &[("Name", *name)], &crate::xml::escaped(value))
        };
        let values: String = self.values.iter().map(one).collect();
        match namespace {
            Some(namespace) => with(name, &[("xmlns:t", namespace)], &values),
            None => tag(name, &values),
        }
    }

    /// The head of a response message.
    pub(crate) fn in_message(&self) -> String {
        format!(
            "{}{}{}{}",
            leaf("m:MessageText", &self.text),
            leaf("m:ResponseCode", self.code),
            leaf("m:DescriptiveLinkKey", "0"),
            self.message_xml("m:MessageXml", None),
        )
    }

    /// A fault.
    pub(crate) fn fault(&self) -> String {
        fault(
            self.code,
            &self.text,
            &self.message_xml("t:MessageXml", Some(TYPES)),
        )
    }
}

/// A fault for a request that isn't as the schema wants it.
pub(crate) fn schema_fault(violation: &str, (line, column): (usize, usize)) -> String {
    let details = with(
        "t:MessageXml",
        &[("xmlns:t", TYPES)],
        &format!(
            "{}{}{}",
            leaf("t:LineNumber", &line.to_string()),
            leaf("t:LinePosition", &column.to_string()),
            leaf("t:Violation", violation),
        ),
    );
    let text = format!("The request failed schema validation: {violation}");
    fault("ErrorSchemaValidation", &text, &details)
}

fn fault(code: &str, text: &str, more: &str) -> String {
    let code_text = format!("a:{code}");
    let errors = [("xmlns:e", ERRORS)];
    tag(
        "s:Fault",
        &format!(
            "{}{}{}",
            with("faultcode", &[("xmlns:a", TYPES)], &code_text),
            with(
                "faultstring",
                &[("xml:lang", "en-US")],
                &crate::xml::escaped(text)
            ),
            tag(
                "detail",
                &format!(
                    "{}{}{more}",
                    with("e:ResponseCode", &errors, code),
                    with("e:Message", &errors, &crate::xml::escaped(text)),
                ),
            ),
        ),
    )
}
