//! Throttling policies as Exchange's administrators write them.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number, or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount(pub Option<u64>);

impl Amount {
    /// No limit.
    pub const UNLIMITED: Self = Self(None);

    /// A limit of so much.
    #[must_use]
    pub const fn of(amount: u64) -> Self {
        Self(Some(amount))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(amount) => serializer.serialize_u64(amount),
            None => serializer.serialize_str("unlimited"),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Number(amount)) => Ok(Self(Some(amount))),
            Ok(Written::Text(text)) if text.eq_ignore_ascii_case("unlimited") => Ok(Self(None)),
            _ => Err(Error::custom("it takes a whole number, or \"unlimited\"")),
        }
    }
}

/// The part of a throttling policy that is about one protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Component {
    /// Requests that may be under way together.
    pub(crate) max_concurrency: Amount,
    /// What the balance is at most, in milliseconds of server time.
    pub(crate) max_burst: Amount,
    /// What comes back, in milliseconds per hour. 0 blocks; `unlimited` charges nothing.
    pub(crate) recharge_rate: Amount,
    /// How far below nothing the balance may sink before calls are refused, in milliseconds.
    pub(crate) cutoff_balance: Amount,
}

/// One throttling policy; what is left out is as a new installation has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySpec {
    /// The name accounts are given it by. The one called `default` is everybody's who is given none.
    pub name: String,
    /// `EWSMaxConcurrency`: 27 by default.
    pub ews_max_concurrency: Amount,
    /// `EWSMaxBurst`, in milliseconds: 300000 by default.
    pub ews_max_burst: Amount,
    /// `EWSRechargeRate`, in milliseconds per hour: 900000 by default.
    pub ews_recharge_rate: Amount,
    /// `EWSCutoffBalance`, in milliseconds: 3000000 by default.
    pub ews_cutoff_balance: Amount,
    /// `PowerShellMaxConcurrency`, open shells: 18 by default.
    pub powershell_max_concurrency: Amount,
    /// `PowerShellMaxBurst`, in milliseconds: unlimited by default.
    pub powershell_max_burst: Amount,
    /// `PowerShellRechargeRate`, in milliseconds per hour: unlimited by default.
    pub powershell_recharge_rate: Amount,
    /// `PowerShellCutoffBalance`, in milliseconds: unlimited by default.
    pub powershell_cutoff_balance: Amount,
    /// `PowerShellMaxRunspaces`, opened in `powershell_max_runspaces_time_period`: unlimited by default.
    pub powershell_max_runspaces: Amount,
    /// `PowerShellMaxRunspacesTimePeriod`, in seconds: 60 by default.
    pub powershell_max_runspaces_time_period: u64,
    /// `PowerShellMaxCmdlets`, run in `powershell_max_cmdlets_time_period`: unlimited by default.
    pub powershell_max_cmdlets: Amount,
    /// `PowerShellMaxCmdletsTimePeriod`, in seconds: 5 by default.
    pub powershell_max_cmdlets_time_period: u64,
}

impl Default for PolicySpec {
    fn default() -> Self {
        Self {
            name: DEFAULT.to_owned(),
            ews_max_concurrency: Amount::of(27),
            ews_max_burst: Amount::of(300_000),
            ews_recharge_rate: Amount::of(900_000),
            ews_cutoff_balance: Amount::of(3_000_000),
            powershell_max_concurrency: Amount::of(18),
            powershell_max_burst: Amount::UNLIMITED,
            powershell_recharge_rate: Amount::UNLIMITED,
            powershell_cutoff_balance: Amount::UNLIMITED,
            powershell_max_runspaces: Amount::UNLIMITED,
            powershell_max_runspaces_time_period: 60,
            powershell_max_cmdlets: Amount::UNLIMITED,
            powershell_max_cmdlets_time_period: 5,
        }
    }
}

/// The name of the policy of everybody who is given none.
pub(crate) const DEFAULT: &str = "default";

impl PolicySpec {
    pub(crate) fn ews(&self) -> Component {
        Component {
            max_concurrency: self.ews_max_concurrency,
            max_burst: self.ews_max_burst,
            recharge_rate: self.ews_recharge_rate,
            cutoff_balance: self.ews_cutoff_balance,
        }
    }

    /// Of cmdlets: shells are counted by themselves.
    pub(crate) fn powershell(&self) -> Component {
        Component {
            max_concurrency: Amount::UNLIMITED,
            max_burst: self.powershell_max_burst,
            recharge_rate: self.powershell_recharge_rate,
            cutoff_balance: self.powershell_cutoff_balance,
        }
    }
}
