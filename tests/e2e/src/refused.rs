//! What a refusal says.

use tonic::Status;
use tonic_types::StatusExt;

/// The reason of a refusal, and its fields with what is wrong with them.
#[derive(Debug)]
pub struct Refused {
    /// The gRPC code.
    pub code: tonic::Code,
    /// The reason as a word.
    pub reason: String,
    /// Field, then what is wrong with it, naming the value.
    pub fields: Vec<(String, String)>,
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let fields = details
            .bad_request()
            .map(|bad| bad.field_violations.clone())
            .unwrap_or_default();
        Self {
            code: status.code(),
            reason: details
                .error_info()
                .map(|info| info.reason.clone())
                .unwrap_or_default(),
            fields: fields
                .into_iter()
                .map(|violation| (violation.field, violation.description))
                .collect(),
        }
    }
}

impl Refused {
    /// Whether one of the fields is `field` and says `text`.
    #[must_use]
    pub fn says(&self, field: &str, text: &str) -> bool {
        self.fields
            .iter()
            .any(|(name, why)| name == field && why.contains(text))
    }
}
