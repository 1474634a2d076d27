//! What Graph and the administrative interfaces send and take, as JSON.

use std::collections::HashMap;

use calgrant_domain::{Joining, Managed};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A token.
#[derive(Deserialize)]
pub(crate) struct TokenAnswer {
    pub(crate) access_token: SecretString,
    #[serde(default = "an_hour", deserialize_with = "seconds")]
    pub(crate) expires_in: i64,
    /// Where a person signed in, and may stay so.
    #[serde(default)]
    pub(crate) refresh_token: Option<SecretString>,
}

/// A code that a person enters.
#[derive(Deserialize)]
pub(crate) struct DeviceAnswer {
    pub(crate) device_code: SecretString,
    #[serde(default)]
    pub(crate) user_code: String,
    #[serde(default)]
    pub(crate) verification_uri: String,
    #[serde(default)]
    pub(crate) message: Option<String>,
    #[serde(default = "a_quarter")]
    pub(crate) expires_in: u64,
    /// Five seconds, where it isn't said.
    #[serde(default = "five")]
    pub(crate) interval: u64,
}

fn a_quarter() -> u64 {
    900
}

fn five() -> u64 {
    5
}

fn an_hour() -> i64 {
    3600
}

/// A number, or a number as text.
fn seconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(from)?;
    value
        .as_i64()
        .or_else(|| value.as_str()?.trim().parse().ok())
        .ok_or_else(|| serde::de::Error::custom("expires_in is not a number of seconds"))
}

/// No token.
#[derive(Deserialize)]
pub(crate) struct TokenRefusal {
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) error_description: String,
    #[serde(default)]
    pub(crate) error_codes: Vec<u64>,
    #[serde(default)]
    pub(crate) trace_id: String,
}

/// Several requests in one.
#[derive(Debug, Serialize)]
pub(crate) struct Batch {
    pub(crate) requests: Vec<BatchRequest>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub(crate) struct BatchRequest {
    pub(crate) id: String,
    pub(crate) method: &'static str,
    pub(crate) url: String,
    pub(crate) headers: HashMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<Value>,
}

/// Their answers, in any order.
#[derive(Debug, Deserialize)]
pub(crate) struct BatchAnswer {
    #[serde(default)]
    pub(crate) responses: Vec<Value>,
}

/// One of them.
#[derive(Debug, Deserialize)]
pub(crate) struct BatchResponse {
    pub(crate) id: Value,
    #[serde(default)]
    pub(crate) status: Value,
    #[serde(default)]
    pub(crate) headers: Option<HashMap<String, Value>>,
    #[serde(default)]
    pub(crate) body: Value,
}

/// A row of `Get-MailboxFolderStatistics`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FolderRow {
    #[serde(default)]
    pub(crate) folder_id: String,
    #[serde(default)]
    pub(crate) folder_path: String,
}

/// A row of `Get-MailboxFolderPermission`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PermissionRow {
    #[serde(default)]
    pub(crate) user: Value,
    pub(crate) access_rights: OneOrMany,
    #[serde(default)]
    pub(crate) sharing_permission_flags: Option<OneOrMany>,
}

/// A row of `Get-Mailbox`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MailboxRow {
    #[serde(default)]
    pub(crate) external_directory_object_id: Option<String>,
    #[serde(default)]
    pub(crate) user_principal_name: Option<String>,
    #[serde(default)]
    pub(crate) primary_smtp_address: Option<String>,
    #[serde(default)]
    pub(crate) display_name: Option<String>,
    #[serde(default)]
    pub(crate) email_addresses: Option<OneOrMany>,
}

/// A row of `Get-DistributionGroup`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GroupRow {
    #[serde(default)]
    managed_by: Option<OneOrMany>,
    #[serde(default)]
    member_join_restriction: Option<String>,
}

impl GroupRow {
    /// Who manages it; `None` without a word we know about who may join.
    pub(crate) fn managed(&self) -> Option<Managed> {
        let joining = match self.member_join_restriction.as_deref()? {
            "Closed" => Joining::Closed,
            "ApprovalRequired" => Joining::Approval,
            "Open" => Joining::Open,
            _ => return None,
        };
        let owners = self.managed_by.iter().flat_map(OneOrMany::all);
        Some(Managed {
            owners: owners.map(str::to_owned).collect(),
            joining,
        })
    }
}

/// Text, or several texts.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// All of them.
    pub(crate) fn all(&self) -> Vec<&str> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many.iter().map(String::as_str).collect(),
        }
    }

    /// The words in them: some servers write lists as one text with commas.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.all()
            .into_iter()
            .flat_map(|text| text.split(','))
            .map(str::trim)
            .filter(|word| !word.is_empty())
    }
}

/// A page of Graph or of a cmdlet.
#[derive(Debug, Deserialize)]
pub(crate) struct Page<T> {
    #[serde(default = "Vec::new")]
    pub(crate) value: Vec<T>,
    #[serde(rename = "@odata.nextLink", default)]
    pub(crate) next: Option<String>,
}

/// A directory object: a user, unless its type says otherwise.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Object {
    #[serde(rename = "@odata.type")]
    pub(crate) kind: Option<String>,
    pub(crate) id: String,
    pub(crate) display_name: Option<String>,
    pub(crate) user_principal_name: Option<String>,
    pub(crate) mail: Option<String>,
    pub(crate) proxy_addresses: Option<Vec<String>>,
    pub(crate) assigned_plans: Option<Vec<Plan>>,
    #[serde(rename = "onPremisesDistinguishedName")]
    pub(crate) dn: Option<String>,
    pub(crate) mail_enabled: Option<bool>,
    pub(crate) security_enabled: Option<bool>,
    pub(crate) group_types: Option<Vec<String>>,
}

/// A service plan of a user's licences.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Plan {
    pub(crate) service: String,
    pub(crate) capability_status: String,
    pub(crate) service_plan_id: String,
}
