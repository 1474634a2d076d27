//! Asks and grants, to and from the contract.

use std::time::Duration;

use calgrant_budget::{
    KeyName, Scope, Terms, Window,
    message::{
        Ask, BUCKETS, Breaches, Chunk, ChunkUse, Grant, Overload, Pushback, Renewal, Renewed,
        TimeUse, Waiting, Why, WindowUse,
    },
};
use calgrant_contract::pb::ledger::v1 as pb;
use calgrant_domain::BadInput;

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// On which terms status grants leases, as it says with the fleet.
#[must_use]
pub fn terms(fleet: &pb::GetFleetResponse) -> Terms {
    Terms {
        longest_call: Duration::from_millis(fleet.longest_call_millis),
        abandoned_hold: Duration::from_millis(fleet.abandoned_hold_millis),
        ..Terms::default()
    }
}

/// Writes a key.
#[must_use]
pub fn key_to_wire(key: &KeyName) -> pb::BudgetKey {
    pb::BudgetKey {
        scope: key.scope.as_str().to_owned(),
        owner: key.owner.clone(),
        family: key.family.clone(),
    }
}

/// Reads a key.
///
/// # Errors
/// It is missing, or its scope is none.
pub fn key(wire: Option<pb::BudgetKey>) -> Result<KeyName, BadInput> {
    let wire = wire.ok_or_else(|| BadInput::missing("key", "name the budget's key"))?;
    let scope = Scope::ALL
        .into_iter()
        .find(|scope| scope.as_str() == wire.scope)
        .ok_or_else(|| BadInput::new("key.scope", &wire.scope, "account, app, tenant or site"))?;
    Ok(KeyName::new(scope, wire.owner, wire.family))
}

/// Writes a renewal.
#[must_use]
pub fn renewal_to_wire(renewal: &Renewal) -> pb::RenewRequest {
    pb::RenewRequest {
        replica: renewal.replica.clone(),
        number: renewal.number,
        asks: renewal.asks.iter().map(ask_to_wire).collect(),
    }
}

/// Reads a renewal.
///
/// # Errors
/// A field of an ask is missing or none of the contract's.
pub fn renewal(wire: pb::RenewRequest) -> Result<Renewal, BadInput> {
    if wire.replica.is_empty() {
        return Err(BadInput::missing("replica", "say which replica asks"));
    }
    let asks = wire.asks.into_iter().enumerate();
    Ok(Renewal {
        replica: wire.replica,
        number: wire.number,
        asks: asks
            .map(|(at, wire)| ask(wire).map_err(|bad| bad.within(&format!("asks[{at}]"))))
            .collect::<Result<_, _>>()?,
    })
}

fn ask_to_wire(ask: &Ask) -> pb::LeaseAsk {
    pb::LeaseAsk {
        key: Some(key_to_wire(&ask.key)),
        waiting_interactive: ask.waiting.interactive,
        waiting_bulk: ask.waiting.bulk,
        slots: ask.slots,
        bound: ask.bound,
        peak: ask.peak,
        in_flight: ask.in_flight,
        abandoned: ask.abandoned,
        windows: ask
            .windows
            .iter()
            .map(|window| pb::WindowUse {
                length_micros: micros(window.length),
                held: window.held,
                counted: window.counted,
                leaving: window.leaving.to_vec(),
                bound: window.bound,
            })
            .collect(),
        chunks: ask
            .chunks
            .iter()
            .map(|chunk| pb::ChunkUse {
                length_micros: micros(chunk.length),
                allowed: chunk.allowed,
                used: chunk.used,
            })
            .collect(),
        time_allowed_micros: micros(ask.time.allowed),
        time_spent_micros: micros(ask.time.spent),
        started: ask.started,
        answered: ask.answered,
        took_micros: micros(ask.took),
        pushbacks: ask.pushbacks.iter().map(pushback_to_wire).collect(),
        stalls: ask.breaches.stalls,
        clock_breaches: ask.breaches.clock,
        gives_back: ask.gives_back,
    }
}

fn ask(wire: pb::LeaseAsk) -> Result<Ask, BadInput> {
    let windows = wire.windows.into_iter().map(|window| {
        let leaving = <[u32; BUCKETS]>::try_from(window.leaving).map_err(|leaving| {
            BadInput::new("windows.leaving", leaving.len(), "eight parts are needed")
        })?;
        Ok(WindowUse {
            length: Duration::from_micros(window.length_micros),
            held: window.held,
            counted: window.counted,
            leaving,
            bound: window.bound,
        })
    });
    Ok(Ask {
        key: key(wire.key)?,
        waiting: Waiting {
            interactive: wire.waiting_interactive,
            bulk: wire.waiting_bulk,
        },
        slots: wire.slots,
        bound: wire.bound,
        peak: wire.peak,
        in_flight: wire.in_flight,
        abandoned: wire.abandoned,
        windows: windows.collect::<Result<_, BadInput>>()?,
        chunks: wire
            .chunks
            .iter()
            .map(|chunk| ChunkUse {
                length: Duration::from_micros(chunk.length_micros),
                allowed: chunk.allowed,
                used: chunk.used,
            })
            .collect(),
        time: TimeUse {
            allowed: Duration::from_micros(wire.time_allowed_micros),
            spent: Duration::from_micros(wire.time_spent_micros),
        },
        started: wire.started,
        answered: wire.answered,
        took: Duration::from_micros(wire.took_micros),
        pushbacks: wire.pushbacks.into_iter().map(pushback).collect(),
        breaches: Breaches {
            stalls: wire.stalls,
            clock: wire.clock_breaches,
        },
        gives_back: wire.gives_back,
    })
}

fn pushback_to_wire(pushback: &Pushback) -> pb::Pushback {
    let overload = match pushback.overload {
        Overload::Concurrency => pb::Overload::Concurrency,
        Overload::Rate => pb::Overload::Rate,
        Overload::Unknown => pb::Overload::Unspecified,
    };
    pb::Pushback {
        overload: overload.into(),
        wait_micros: pushback.wait.map(micros),
        cause: pushback.cause.clone(),
    }
}

fn pushback(wire: pb::Pushback) -> Pushback {
    Pushback {
        overload: match wire.overload() {
            pb::Overload::Concurrency => Overload::Concurrency,
            pb::Overload::Rate => Overload::Rate,
            pb::Overload::Unspecified => Overload::Unknown,
        },
        wait: wire.wait_micros.map(Duration::from_micros),
        cause: wire.cause,
    }
}

/// Writes an answer.
#[must_use]
pub fn renewed_to_wire(renewed: &Renewed) -> pb::RenewResponse {
    pb::RenewResponse {
        number: renewed.number,
        clock_micros: renewed.clock.map(micros),
        grants: renewed.grants.iter().map(grant_to_wire).collect(),
    }
}

/// Reads an answer.
///
/// # Errors
/// A field of a grant is missing or none of the contract's.
pub fn renewed(wire: pb::RenewResponse) -> Result<Renewed, BadInput> {
    Ok(Renewed {
        number: wire.number,
        clock: wire.clock_micros.map(Duration::from_micros),
        grants: wire
            .grants
            .into_iter()
            .map(grant)
            .collect::<Result<_, _>>()?,
    })
}

fn grant_to_wire(grant: &Grant) -> pb::LeaseGrant {
    pb::LeaseGrant {
        key: Some(key_to_wire(&grant.key)),
        lease_micros: micros(grant.lease),
        slots: grant.slots,
        windows: grant
            .windows
            .iter()
            .map(|window| pb::WindowShare {
                length_micros: micros(window.length),
                calls: window.calls,
            })
            .collect(),
        chunks: grant
            .chunks
            .iter()
            .map(|chunk| pb::ChunkShare {
                length_micros: micros(chunk.length),
                allowed: chunk.allowed,
            })
            .collect(),
        time_micros: grant.time.map(micros),
        blocked_for_micros: micros(grant.blocked_for),
        why: Some(why_to_wire(&grant.why)),
    }
}

fn grant(wire: pb::LeaseGrant) -> Result<Grant, BadInput> {
    Ok(Grant {
        key: key(wire.key)?,
        lease: Duration::from_micros(wire.lease_micros),
        slots: wire.slots,
        windows: wire
            .windows
            .iter()
            .map(|window| Window {
                calls: window.calls,
                length: Duration::from_micros(window.length_micros),
            })
            .collect(),
        chunks: wire
            .chunks
            .iter()
            .map(|chunk| Chunk {
                length: Duration::from_micros(chunk.length_micros),
                allowed: chunk.allowed,
            })
            .collect(),
        time: wire.time_micros.map(Duration::from_micros),
        blocked_for: Duration::from_micros(wire.blocked_for_micros),
        why: why(wire.why.unwrap_or_default())?,
    })
}

/// Writes a reason.
#[must_use]
pub fn why_to_wire(why: &Why) -> pb::LeaseWhy {
    let reason = match why {
        Why::Enough => "enough",
        Why::InFlight => "in_flight",
        Why::Window(_) => "window",
        Why::ServerTime => "server_time",
        Why::Workers => "workers",
        Why::Learned => "learned",
        Why::Blocked { .. } => "blocked",
        Why::Paused => "paused",
        Why::Draining => "draining",
        Why::Silent => "silent",
        Why::Quarantine => "quarantine",
    };
    pb::LeaseWhy {
        reason: reason.to_owned(),
        window_micros: match why {
            Why::Window(length) => micros(*length),
            _ => 0,
        },
        cause: match why {
            Why::Blocked { cause } => cause.clone(),
            _ => String::new(),
        },
    }
}

fn why(wire: pb::LeaseWhy) -> Result<Why, BadInput> {
    Ok(match wire.reason.as_str() {
        "" | "enough" => Why::Enough,
        "in_flight" => Why::InFlight,
        "window" => Why::Window(Duration::from_micros(wire.window_micros)),
        "server_time" => Why::ServerTime,
        "workers" => Why::Workers,
        "learned" => Why::Learned,
        "blocked" => Why::Blocked { cause: wire.cause },
        "paused" => Why::Paused,
        "draining" => Why::Draining,
        "silent" => Why::Silent,
        "quarantine" => Why::Quarantine,
        other => {
            return Err(BadInput::new(
                "why.reason",
                other,
                "not a reason that is known",
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_and_grants_round_trip() {
        let key = KeyName::new(Scope::Account, "uni/online/sa-1", "exchange");
        let renewal_sent = Renewal {
            replica: "r".into(),
            number: 7,
            asks: vec![Ask {
                key: key.clone(),
                waiting: Waiting {
                    interactive: 1,
                    bulk: 9,
                },
                slots: Some(0),
                bound: true,
                peak: 3,
                in_flight: 3,
                abandoned: 1,
                windows: vec![WindowUse {
                    length: Duration::from_secs(6),
                    held: 4,
                    counted: 2,
                    leaving: [1, 0, 0, 1, 0, 0, 0, 0],
                    bound: true,
                }],
                chunks: vec![ChunkUse {
                    length: Duration::from_secs(3600),
                    allowed: 10,
                    used: 3,
                }],
                time: TimeUse {
                    allowed: Duration::from_millis(5),
                    spent: Duration::from_millis(4),
                },
                started: 2,
                answered: 2,
                took: Duration::from_millis(400),
                pushbacks: vec![Pushback {
                    overload: Overload::Rate,
                    wait: Some(Duration::from_secs(9)),
                    cause: "429".into(),
                }],
                breaches: Breaches {
                    stalls: 3,
                    clock: 1,
                },
                gives_back: false,
            }],
        };
        assert_eq!(
            renewal(renewal_to_wire(&renewal_sent)).unwrap(),
            renewal_sent
        );
        for why in [
            Why::Enough,
            Why::Window(Duration::from_secs(6)),
            Why::Blocked {
                cause: "429".into(),
            },
            Why::Quarantine,
        ] {
            let renewed_sent = Renewed {
                number: 7,
                clock: Some(Duration::from_secs(1)),
                grants: vec![Grant {
                    key: key.clone(),
                    lease: Duration::from_secs(3),
                    slots: Some(2),
                    windows: vec![Window {
                        calls: 4,
                        length: Duration::from_secs(6),
                    }],
                    chunks: Vec::new(),
                    time: None,
                    blocked_for: Duration::ZERO,
                    why,
                }],
            };
            assert_eq!(
                renewed(renewed_to_wire(&renewed_sent)).unwrap(),
                renewed_sent
            );
        }
    }

    #[test]
    fn a_key_without_scope_is_named() {
        let wire = pb::BudgetKey {
            scope: "planet".into(),
            ..pb::BudgetKey::default()
        };
        assert_eq!(key(Some(wire)).unwrap_err().field, "key.scope");
        assert_eq!(key(None).unwrap_err().field, "key");
    }
}
