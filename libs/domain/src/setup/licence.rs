//! Which plans of a product an account gets: that of the mailbox, and no other.

use crate::{LicenceFound, SkuFound};

/// How plans with a mailbox are called.
const MAILBOX_PLAN: &str = "EXCHANGE_S_";
/// The plan of that name without a mailbox. It can't be switched off.
const FOUNDATION: &str = "EXCHANGE_S_FOUNDATION";

/// Finds a product by its name or id.
pub fn sku<'a>(skus: &'a [SkuFound], wanted: &str) -> Option<&'a SkuFound> {
    skus.iter().find(|sku| {
        sku.part_number.eq_ignore_ascii_case(wanted) || sku.sku_id.eq_ignore_ascii_case(wanted)
    })
}

/// The plans of a product that bring a mailbox.
pub fn mailbox_plans(sku: &SkuFound) -> Vec<&str> {
    let plans = sku.plans.iter().filter(|plan| plan.for_users);
    plans
        .filter(|plan| has_mailbox(&plan.name))
        .map(|plan| plan.id.as_str())
        .collect()
}

fn has_mailbox(plan: &str) -> bool {
    let plan = plan.to_ascii_uppercase();
    plan.starts_with(MAILBOX_PLAN) && plan != FOUNDATION && !plan.contains("ARCHIVE")
}

/// The plans to switch off, so that only the mailbox is left; by id, in order. `None` if the product brings no mailbox.
pub fn disabled_plans(sku: &SkuFound) -> Option<Vec<String>> {
    let wanted = *mailbox_plans(sku).first()?;
    let mut disabled: Vec<_> = sku
        .plans
        .iter()
        .filter(|plan| plan.for_users && plan.id != wanted)
        .filter(|plan| !plan.name.eq_ignore_ascii_case(FOUNDATION))
        .map(|plan| plan.id.to_ascii_lowercase())
        .collect();
    disabled.sort();
    Some(disabled)
}

/// Whether a licence brings a mailbox: a plan of it that does is on.
pub fn brings_mailbox(licence: &LicenceFound, skus: &[SkuFound]) -> bool {
    sku(skus, &licence.sku_id).is_some_and(|sku| {
        mailbox_plans(sku).iter().any(|plan| {
            let off = |id: &String| id.eq_ignore_ascii_case(plan);
            !licence.disabled_plans.iter().any(off)
        })
    })
}

/// Seats that are free.
pub fn free_seats(sku: &SkuFound) -> u32 {
    sku.enabled_seats.saturating_sub(sku.used_seats)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::PlanFound;

    /// A product of these plans, with seats.
    pub(crate) fn product(name: &str, seats: u32, plans: &[(&str, bool)]) -> SkuFound {
        SkuFound {
            sku_id: format!("id-of-{name}"),
            part_number: name.to_owned(),
            enabled_seats: seats,
            used_seats: 0,
            plans: plans
                .iter()
                .map(|(plan, for_users)| PlanFound {
                    id: format!("ID-{plan}"),
                    name: (*plan).to_owned(),
                    for_users: *for_users,
                })
                .collect(),
        }
    }

    #[test]
    fn everything_but_the_mailbox_is_switched_off() {
        let all = [
            ("TEAMS1", true),
            ("EXCHANGE_S_ENTERPRISE", true),
            ("EXCHANGE_S_FOUNDATION", true),
            ("MCO_TENANT", false),
            ("EXCHANGE_S_ARCHIVE_ADDON", true),
        ];
        let wanted = ["id-exchange_s_archive_addon", "id-teams1"].map(str::to_owned);
        assert_eq!(
            disabled_plans(&product("E3", 1, &all)),
            Some(wanted.to_vec())
        );
        for (plans, mailbox) in [
            (&all[..1], false),
            (&all[2..], false),
            (&[("EXCHANGE_S_STANDARD", true)][..], true),
            (&[("EXCHANGE_S_STANDARD", false)][..], false),
        ] {
            assert_eq!(
                disabled_plans(&product("X", 1, plans)).is_some(),
                mailbox,
                "{plans:?}"
            );
        }
    }

    #[test]
    fn products_are_known_by_name_and_id() {
        let skus = [product("EXCHANGESTANDARD", 1, &[])];
        for (wanted, there) in [
            ("exchangestandard", true),
            ("ID-of-EXCHANGESTANDARD", true),
            ("E3", false),
        ] {
            assert_eq!(sku(&skus, wanted).is_some(), there, "{wanted}");
        }
    }
}
