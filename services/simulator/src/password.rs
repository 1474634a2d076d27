//! Whether somebody's password is right: of an account in the cloud, or on premises.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use crate::admin::read;
use crate::reply::Reply;
use crate::tenant::Tenant;
use crate::world::World;

/// Why somebody can't sign in, with Entra's number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Unknown,
    Wrong,
    Disabled,
    MustChange,
}

impl Refused {
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Unknown => 50_034,
            Self::Wrong => 50_126,
            Self::Disabled => 50_057,
            Self::MustChange => 50_055,
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Unknown => {
                "The user account does not exist in the directory. To sign into this application, the account must be added to it."
            }
            Self::Wrong => "Error validating credentials due to invalid username or password.",
            Self::Disabled => "The user account is disabled.",
            Self::MustChange => "The password is expired.",
        }
    }
}

/// Whether the user of this name signs in with this password; nobody is locked by it.
///
/// # Errors
/// Why not.
pub(crate) fn check(tenant: &Tenant, name: &str, password: &str) -> Result<(), Refused> {
    let user = tenant.user(name).ok_or(Refused::Unknown)?;
    let account = tenant.site.as_ref().and_then(|site| site.of_user(user));
    let user = &tenant.users[user];
    let (secret, must_change, disabled) = match (account, user.password()) {
        (Some(account), _) => {
            let rights = account.rights();
            let disabled = rights.disabled || rights.revoked;
            (rights.password.clone(), rights.must_change, disabled)
        }
        (None, Some(held)) => (held.secret, held.must_change, false),
        // a password that nobody here knows
        (None, None) => return Err(Refused::Wrong),
    };
    if secret != password {
        return Err(Refused::Wrong);
    }
    if disabled || !user.account_now().enabled {
        return Err(Refused::Disabled);
    }
    if must_change {
        return Err(Refused::MustChange);
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attempt {
    user: String,
    password: String,
}

/// `POST /_simulator/sign-in`.
pub(crate) async fn try_it(State(world): State<Arc<World>>, body: Bytes) -> Result<Reply, Reply> {
    let attempt: Attempt = read(&body)?;
    let mut tenants = world.tenants.iter();
    let tenant = tenants.find(|tenant| tenant.user(&attempt.user).is_some());
    let tenant = tenant.ok_or_else(|| Reply::error(404, "NoSuchUser", &attempt.user))?;
    let tried = check(tenant, &attempt.user, &attempt.password);
    Ok(Reply::json(
        200,
        json!({"signed_in": tried.is_ok(), "why": tried.err().map(Refused::text)}),
    ))
}
