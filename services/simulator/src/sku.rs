//! Products a tenant has bought: their seats, and the service plans in them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

const fn id(text: &str) -> Uuid {
    match Uuid::try_parse(text) {
        Ok(id) => id,
        Err(_) => Uuid::nil(),
    }
}

/// The plan without a mailbox, which can't be switched off.
pub(crate) const FOUNDATION: Uuid = id("113feb6c-3fe4-4440-bddc-54d774bf0318");
/// Exchange Online Plan 1.
pub(crate) const PLAN_1: Uuid = id("9aaf7827-d63c-4b61-89c3-182f06f82e5c");
const PLAN_2: Uuid = id("efb87545-963c-4e0d-99df-69c6916d9eb0");
const KIOSK: Uuid = id("4a82b400-a79f-41a4-b4e2-e94f5787b113");

/// The plans that hold a mailbox; no user has two of them.
pub(crate) const MAILBOX_PLANS: [Uuid; 3] = [PLAN_1, PLAN_2, KIOSK];

/// A product a tenant has bought. Of a known `part_number`, `id` and plans needn't be written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SkuSpec {
    /// Its name, such as `EXCHANGESTANDARD_FACULTY`.
    pub part_number: String,
    /// Its id.
    pub id: Uuid,
    /// How many users may have it; as many as there are, when left out.
    pub seats: Option<u64>,
    /// `Suspended` and its like instead of `Enabled`: it can't be assigned then.
    pub capability_status: Option<String>,
    /// The service plans in it.
    #[serde(rename = "plan")]
    pub plans: Vec<PlanSpec>,
}

/// A service plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanSpec {
    /// Its name, such as `EXCHANGE_S_STANDARD`.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// It is the company's, and no user's.
    pub of_company: bool,
}

const TEAMS: (&str, &str) = ("TEAMS1", "57ff2da0-773e-42df-b2af-ffb7a2317929");
const SITES: (&str, &str) = ("SHAREPOINTSTANDARD", "c7699d2e-19aa-44de-8edf-1736da088ca1");
const OFFICE: (&str, &str) = ("SHAREPOINTWAC", "e95bec33-7c88-4a70-8e19-b10bd9d0c014");
const BASE: (&str, &str) = (
    "EXCHANGE_S_FOUNDATION",
    "113feb6c-3fe4-4440-bddc-54d774bf0318",
);
const STANDARD: (&str, &str) = (
    "EXCHANGE_S_STANDARD",
    "9aaf7827-d63c-4b61-89c3-182f06f82e5c",
);
const ENTERPRISE: (&str, &str) = (
    "EXCHANGE_S_ENTERPRISE",
    "efb87545-963c-4e0d-99df-69c6916d9eb0",
);
const DESKLESS: (&str, &str) = (
    "EXCHANGE_S_DESKLESS",
    "4a82b400-a79f-41a4-b4e2-e94f5787b113",
);

/// Name, id and plans.
type Known = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const KNOWN: [Known; 9] = [
    (
        "EXCHANGESTANDARD",
        "4b9405b0-7788-4568-add1-99614e613b69",
        &[STANDARD],
    ),
    (
        "EXCHANGEENTERPRISE",
        "19ec0d23-8335-4cbd-94ac-6050e30712fa",
        &[ENTERPRISE],
    ),
    (
        "EXCHANGEDESKLESS",
        "80b2d799-d2ba-4d2a-8842-fb0d0f3a4b82",
        &[DESKLESS],
    ),
    (
        "EXCHANGESTANDARD_STUDENT",
        "ad2fe44a-915d-4e2b-ade1-6766d50a9d9c",
        &[STANDARD],
    ),
    (
        "EXCHANGESTANDARD_FACULTY",
        "c24b3bac-78f7-42f7-9468-97dce529d88a",
        &[STANDARD],
    ),
    (
        "EXCHANGEENTERPRISE_FACULTY",
        "0b7b15a8-7fd2-4964-bb96-5a566d4e3c15",
        &[ENTERPRISE],
    ),
    (
        "STANDARDWOFFPACK_FACULTY",
        "94763226-9b3c-4e75-a931-5c89701abe66",
        &[BASE, STANDARD, TEAMS, SITES, OFFICE],
    ),
    (
        "STANDARDWOFFPACK_STUDENT",
        "314c4481-f395-4525-be8b-2ec4bb1e9d91",
        &[BASE, STANDARD, TEAMS, SITES, OFFICE],
    ),
    (
        "ENTERPRISEPACK",
        "6fd2c87f-b296-42f0-b197-1e91e994b900",
        &[BASE, ENTERPRISE, TEAMS, SITES, OFFICE],
    ),
];

impl SkuSpec {
    /// The one product of a tenant whose scenario names none.
    pub(crate) fn usual() -> Self {
        let named = Self {
            part_number: "EXCHANGESTANDARD".to_owned(),
            ..Self::default()
        };
        named.complete()
    }

    /// With what is known of its name, where that isn't written.
    pub(crate) fn complete(mut self) -> Self {
        let known = KNOWN
            .iter()
            .find(|(name, ..)| name.eq_ignore_ascii_case(&self.part_number));
        if let Some((_, own, plans)) = known {
            if self.id.is_nil() {
                self.id = id(own);
            }
            if self.plans.is_empty() {
                let plan = |(name, own): &(&str, &str)| PlanSpec {
                    name: (*name).to_owned(),
                    id: id(own),
                    of_company: id(own) == FOUNDATION,
                };
                self.plans = plans.iter().map(plan).collect();
            }
        }
        self
    }

    /// What is wrong with it.
    pub(crate) fn mistake(&self) -> Option<String> {
        let whole = self.clone().complete();
        let name = &self.part_number;
        if whole.id.is_nil() {
            return Some(format!("sku {name:?}: it isn't a known one, and has no id"));
        }
        if whole.plans.is_empty() {
            return Some(format!(
                "sku {name:?}: it isn't a known one, and has no plan"
            ));
        }
        None
    }

    /// Whether it is called so, by its name or its id.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.part_number.eq_ignore_ascii_case(name)
            || Uuid::try_parse(name).is_ok_and(|id| id == self.id)
    }

    /// Its mailbox plan, when that isn't switched off.
    pub(crate) fn mailbox_plan(&self, disabled: &[Uuid]) -> Option<&PlanSpec> {
        let mut plans = self.plans.iter();
        plans.find(|plan| MAILBOX_PLANS.contains(&plan.id) && !disabled.contains(&plan.id))
    }
}

#[cfg(test)]
mod tests {
    use super::{FOUNDATION, KNOWN, MAILBOX_PLANS, SkuSpec};

    #[test]
    fn known_products_have_one_mailbox_plan_each() {
        for (name, ..) in KNOWN {
            let sku = SkuSpec {
                part_number: name.to_lowercase(),
                ..SkuSpec::default()
            };
            assert_eq!(sku.mistake(), None, "{name}");
            let sku = sku.complete();
            assert!(!sku.id.is_nil() && sku.is(name), "{name}");
            let plan = sku.mailbox_plan(&[]).unwrap();
            assert_eq!(sku.mailbox_plan(&[plan.id]), None, "{name}");
            assert!(sku.plans.iter().all(|plan| !plan.id.is_nil()), "{name}");
        }
        assert!(MAILBOX_PLANS.iter().all(|plan| !plan.is_nil()) && !FOUNDATION.is_nil());
        let unknown = SkuSpec {
            part_number: "X".to_owned(),
            ..SkuSpec::default()
        };
        assert!(unknown.mistake().is_some());
    }
}
