//! What was found in a delegation group, to and from the domain.

use calgrant_domain::{BadInput, GroupMember, GroupSeen, Managed};

use crate::{bus::parse, pb::ledger::v1 as pb};

/// Reads what was found; `None` if it is no group.
///
/// # Errors
/// A word is none; the field is named.
pub fn group_seen(wire: &pb::ReportGroupRequest) -> Result<Option<GroupSeen>, BadInput> {
    if wire.no_group {
        return Ok(None);
    }
    let managed = wire.managed.as_ref().map(|managed| {
        Ok(Managed {
            owners: managed.owners.clone(),
            joining: parse("managed.joining", &managed.joining)?,
        })
    });
    let members = wire.members.iter().map(|member| GroupMember {
        name: member.name.clone(),
        aliases: member.aliases.clone(),
    });
    Ok(Some(GroupSeen {
        members: members.collect(),
        more: wire.more,
        managed: managed.transpose()?,
    }))
}

/// Writes what was found at a group as it was claimed; `None` if it is no group.
pub fn group_seen_to_wire(
    claimed: pb::ClaimGroupResponse,
    seen: Option<GroupSeen>,
) -> pb::ReportGroupRequest {
    let request = pb::ReportGroupRequest {
        tenant: claimed.tenant,
        site: claimed.site,
        address: claimed.address,
        no_group: seen.is_none(),
        ..pb::ReportGroupRequest::default()
    };
    let Some(seen) = seen else { return request };
    let members = seen.members.into_iter().map(|member| pb::GroupMember {
        name: member.name,
        aliases: member.aliases,
    });
    pb::ReportGroupRequest {
        members: members.collect(),
        more: seen.more,
        managed: seen.managed.map(|managed| pb::GroupManaged {
            owners: managed.owners,
            joining: managed.joining.to_string(),
        }),
        ..request
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calgrant_domain::Joining;

    #[test]
    fn what_was_found_round_trips() {
        let seen = GroupSeen {
            members: vec![GroupMember {
                name: "Ann".to_owned(),
                aliases: vec!["ann@uni.example".to_owned()],
            }],
            more: true,
            managed: Some(Managed {
                owners: vec!["Eve".to_owned()],
                joining: Joining::Approval,
            }),
        };
        for seen in [Some(seen), None] {
            let wire = group_seen_to_wire(pb::ClaimGroupResponse::default(), seen.clone());
            assert_eq!(group_seen(&wire), Ok(seen));
        }
    }
}
