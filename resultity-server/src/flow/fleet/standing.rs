//! What was decided about a node, as its owner is shown it. Pure.

use resultity_core::api::gate::NodeFlag;
use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment;
use resultity_core::id::NodeId;

use crate::flow::schedule::Membership;
use crate::store::fleet::NodeStanding;

/// How a node stands of which the store knows nothing: nobody has bound it, nothing was decided.
pub(crate) fn nobodys(node: NodeId, environment: Environment) -> NodeStanding {
    NodeStanding {
        node,
        environment,
        account: None,
        name: String::new(),
        banned: false,
        paused: None,
        suspended: false,
        flags: Vec::new(),
        penalties: Vec::new(),
        subclouds: Vec::new(),
    }
}

/// Where a node stands, in a word that its owner is shown: `active`, `idle` (bound to nobody), `excluded`, `frozen` (or its
/// account suspended) or `paused`. A shadow does not show.
pub fn shown_state(standing: &NodeStanding, now: Timestamp) -> &'static str {
    if standing.banned || standing.penalty(now).is_some() {
        "excluded"
    } else if standing.account.is_none() {
        "idle"
    } else if standing.suspended || standing.flag(NodeFlag::Freeze, now).is_some() {
        "frozen"
    } else if standing.paused.is_some() || standing.flag(NodeFlag::Pause, now).is_some() {
        "paused"
    } else {
        "active"
    }
}

/// What its owner may read about where a node stands: why, and until when.
pub(crate) fn shown_reason(standing: &NodeStanding, now: Timestamp) -> Option<(&str, Option<Timestamp>)> {
    if let Some(penalty) = standing.penalty(now) {
        return Some((&penalty.reason, penalty.until));
    }
    if standing.suspended {
        return Some(("its account is suspended", None));
    }
    let flags = [NodeFlag::Freeze, NodeFlag::Pause];
    let flag = flags.into_iter().find_map(|flag| standing.flag(flag, now))?;
    Some((&flag.reason, flag.until))
}

/// Whose jobs it takes. One in an isolated Subcloud takes jobs of isolated ones alone.
pub(crate) fn membership(standing: &NodeStanding) -> Membership {
    let is_isolated = standing.subclouds.iter().any(|subcloud| subcloud.isolated);
    let taken = standing.subclouds.iter().filter(|of| of.isolated == is_isolated);
    Membership {
        subclouds: taken.map(|of| of.subcloud).collect(),
        is_isolated,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::fleet::{FlagRecord, PenaltyRecord};
    use resultity_core::Address;
    use resultity_core::clock::{ManualClock, SeededEntropy};
    use resultity_core::environment::Environment;
    use resultity_core::id::{AccountId, NodeId, PenaltyId};

    pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    pub(crate) fn bound() -> NodeStanding {
        NodeStanding {
            node: NodeId::from_address(Address::repeat_byte(1)),
            environment: Environment::Testnet,
            account: Some(AccountId::new(&ManualClock::new(NOW), &SeededEntropy::new(1))),
            name: String::new(),
            banned: false,
            paused: None,
            suspended: false,
            flags: Vec::new(),
            penalties: Vec::new(),
            subclouds: Vec::new(),
        }
    }

    pub(crate) fn flagged(flags: &[(NodeFlag, i64)]) -> NodeStanding {
        let flags = flags.iter().map(|(flag, until)| FlagRecord {
            flag: *flag,
            reason: format!("why {flag:?}"),
            until: Some(Timestamp::from_millis(*until)),
            created: NOW,
        });
        NodeStanding {
            flags: flags.collect(),
            ..bound()
        }
    }

    pub(crate) fn penalised(until: i64) -> NodeStanding {
        let standing = bound();
        let penalty = PenaltyRecord {
            id: PenaltyId::new(&ManualClock::new(NOW), &SeededEntropy::new(1)),
            node: standing.node,
            environment: standing.environment,
            account: standing.account,
            reason: "wrong answers".into(),
            until: Some(Timestamp::from_millis(until)),
            created: NOW,
            lifted: None,
            appeal: None,
        };
        NodeStanding {
            penalties: vec![penalty],
            ..standing
        }
    }

    #[test]
    fn the_hardest_is_named_what_is_over_is_not_and_a_shadow_never() {
        let unbound = NodeStanding {
            account: None,
            ..bound()
        };
        let paused = NodeStanding {
            paused: Some(NOW),
            ..bound()
        };
        let banned = NodeStanding {
            banned: true,
            ..bound()
        };
        let suspended = NodeStanding {
            suspended: true,
            ..bound()
        };
        let cases = [
            (unbound, "idle", false),
            (suspended, "frozen", false),
            (bound(), "active", true),
            (paused, "paused", false),
            (banned, "excluded", false),
            (flagged(&[(NodeFlag::Pause, 1_000_001)]), "paused", false),
            (flagged(&[(NodeFlag::Pause, 1_000_000)]), "active", true),
            (
                flagged(&[(NodeFlag::Pause, 2_000_000), (NodeFlag::Freeze, 2_000_000)]),
                "frozen",
                false,
            ),
            (flagged(&[(NodeFlag::Shadow, 2_000_000)]), "active", false),
            (penalised(2_000_000), "excluded", false),
            (penalised(1_000_000), "active", true),
        ];
        for (standing, state, may_work) in cases {
            let found = (shown_state(&standing, NOW), standing.may_work(NOW));
            assert_eq!(found, (state, may_work), "{standing:?}");
        }
        let shadowed = flagged(&[(NodeFlag::Shadow, 2_000_000)]);
        assert_eq!(shown_reason(&shadowed, NOW), None);
        let until = Some(Timestamp::from_millis(2_000_000));
        assert_eq!(shown_reason(&penalised(2_000_000), NOW), Some(("wrong answers", until)));
    }
}
