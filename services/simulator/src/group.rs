//! One group: what it is called, who is in it, and how it is set.

use std::sync::Arc;
use std::time::Duration;

use crate::replica::{Place, Replicated, Shows};
use crate::scenario::{GroupSpec, JoinRestriction};
use crate::tenant::Object;

/// What of a group can be changed besides its members.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// Who manages it, as Exchange's cmdlets call them.
    pub(crate) owners: Vec<String>,
    pub(crate) join: JoinRestriction,
    /// Members may leave by themselves.
    pub(crate) leaves_freely: bool,
    /// Not in address lists.
    pub(crate) hidden: bool,
    /// Strangers may write to it.
    pub(crate) takes_strangers: bool,
    /// `CustomAttribute15`.
    pub(crate) custom_15: Option<String>,
}

/// What is known of a group that was made while the simulator runs.
#[derive(Debug, Clone)]
pub(crate) struct MadeGroup {
    /// Exchange's `Name`.
    pub(crate) common_name: String,
    pub(crate) sam: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) shows: Shows,
    /// The app or account that made it.
    pub(crate) by: String,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) spec: GroupSpec,
    pub(crate) alias: String,
    /// Exchange's `Name`.
    pub(crate) common_name: String,
    /// `sAMAccountName`.
    pub(crate) sam: String,
    pub(crate) shows: Shows,
    /// Who made it while the simulator runs.
    pub(crate) made_by: Option<String>,
    pub(crate) members: Replicated<Vec<Object>>,
    settings: Replicated<Settings>,
}

impl Group {
    pub(crate) fn new(mut spec: GroupSpec, made: Option<MadeGroup>) -> Self {
        let local = spec.mail.as_deref().and_then(|mail| mail.split('@').next());
        let alias = spec
            .alias
            .take()
            .unwrap_or_else(|| local.unwrap_or_default().to_owned());
        let sam = if alias.is_empty() { &spec.name } else { &alias };
        let at_start = Settings {
            owners: std::mem::take(&mut spec.owners),
            join: spec.join,
            ..Settings::default()
        };
        let made = made.unwrap_or_else(|| MadeGroup {
            common_name: spec.name.clone(),
            sam: None,
            settings: at_start,
            shows: Shows::ALWAYS,
            by: String::new(),
        });
        Self {
            sam: made.sam.unwrap_or_else(|| sam.clone()),
            alias,
            common_name: made.common_name,
            shows: made.shows,
            made_by: Some(made.by).filter(|by| !by.is_empty()),
            members: Replicated::new(Vec::new()),
            settings: Replicated::new(made.settings),
            spec,
        }
    }

    /// Its direct members as they are in truth.
    pub(crate) fn members(&self) -> Arc<Vec<Object>> {
        self.members.truth()
    }

    /// Its direct members, as far as one who looks from here knows of them.
    pub(crate) fn members_seen(&self, looks: Place, now: Duration) -> Arc<Vec<Object>> {
        self.members.seen(looks, now)
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.truth()
    }

    pub(crate) fn settings_seen(&self, looks: Place, now: Duration) -> Arc<Settings> {
        self.settings.seen(looks, now)
    }

    pub(crate) fn set(&self, settings: Settings, shows: Shows) {
        self.settings.write(settings, shows);
    }

    /// Whether somebody with one of these names manages it.
    pub(crate) fn is_managed_by(&self, names: &[&str]) -> bool {
        let settings = self.settings();
        let mut owners = settings.owners.iter();
        owners.any(|owner| names.iter().any(|name| owner.eq_ignore_ascii_case(name)))
    }
}
