//! Double entry, pure: which entries each step writes. Whoever stores them only has to write them down.
//!
//! Every posting sums to zero, by construction. A hold ends in exactly one settlement or release; that it happens once
//! is the store's to guarantee, that the amounts are right is decided here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::credits::Credits;
use crate::environment::Environment;
use crate::id::{JobId, NamespaceId, NodeId};

/// Whose money it is. Every account belongs to one environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LedgerAccount {
    /// What a namespace may spend. A namespace belongs to one environment.
    Namespace(NamespaceId),
    /// What is held for a job.
    Escrow(JobId),
    /// What a node has earned.
    Node(Environment, NodeId),
    /// The network's share.
    Fees(Environment),
    /// Where credits come from: the only account that may be negative.
    Issuance(Environment),
}

impl fmt::Display for LedgerAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(id) => write!(f, "namespace:{id}"),
            Self::Escrow(job) => write!(f, "escrow:{job}"),
            Self::Node(environment, node) => write!(f, "node:{environment}:{node}"),
            Self::Fees(environment) => write!(f, "network:fees:{environment}"),
            Self::Issuance(environment) => write!(f, "issuance:{environment}"),
        }
    }
}

/// A text that names no account of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an account of the ledger, such as namespace:<id>")]
pub struct UnknownLedgerAccount;

impl FromStr for LedgerAccount {
    type Err = UnknownLedgerAccount;

    fn from_str(text: &str) -> Result<Self, UnknownLedgerAccount> {
        fn read<T: FromStr>(text: &str) -> Result<T, UnknownLedgerAccount> {
            text.parse().map_err(|_| UnknownLedgerAccount)
        }
        let (kind, rest) = text.split_once(':').ok_or(UnknownLedgerAccount)?;
        match (kind, rest.split_once(':')) {
            ("namespace", None) => read(rest).map(Self::Namespace),
            ("escrow", None) => read(rest).map(Self::Escrow),
            ("issuance", None) => read(rest).map(Self::Issuance),
            ("network", Some(("fees", environment))) => read(environment).map(Self::Fees),
            ("node", Some((environment, node))) => Ok(Self::Node(read(environment)?, read(node)?)),
            _ => Err(UnknownLedgerAccount),
        }
    }
}

/// One line of the ledger: what an account gains (or loses, if negative).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The account.
    pub account: LedgerAccount,
    /// What it gains.
    pub amount: Credits,
}

/// Why money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PostingKind {
    /// Credits given by an administrator.
    Grant,
    /// The price ceiling of a job put aside.
    Hold,
    /// A verified result paid for, the rest given back.
    Settle,
    /// A hold given back in full.
    Release,
    /// Moved between two namespaces of one account.
    Transfer,
    /// What the testnet gives to whoever asks, once a day.
    Faucet,
    /// A voucher redeemed.
    Voucher,
    /// Credits that were paid for.
    Payment,
    /// A compensating entry of an administrator.
    Correction,
    /// What a node has earned, moved to a namespace of its owner.
    Payout,
}

impl PostingKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Grant,
        Self::Hold,
        Self::Settle,
        Self::Release,
        Self::Transfer,
        Self::Faucet,
        Self::Voucher,
        Self::Payment,
        Self::Correction,
        Self::Payout,
    ];

    /// The name, as in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Hold => "hold",
            Self::Settle => "settle",
            Self::Release => "release",
            Self::Transfer => "transfer",
            Self::Faucet => "faucet",
            Self::Voucher => "voucher",
            Self::Payment => "payment",
            Self::Correction => "correction",
            Self::Payout => "payout",
        }
    }
}

/// A text that names no kind of posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a kind of posting, such as grant, hold or transfer")]
pub struct UnknownPostingKind;

impl FromStr for PostingKind {
    type Err = UnknownPostingKind;

    fn from_str(text: &str) -> Result<Self, UnknownPostingKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or(UnknownPostingKind)
    }
}

/// Entries that belong together and sum to zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    kind: PostingKind,
    entries: Vec<Entry>,
}

/// A step that may never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// An amount that has to be positive is not.
    #[error("the amount must not be negative, but is {0}")]
    Negative(Credits),
    /// A charge above the hold.
    #[error("the charge of {cost} is above the hold of {held}")]
    AboveHold {
        /// What was asked.
        cost: Credits,
        /// What is held.
        held: Credits,
    },
    /// A hold or release, which its job ends by itself, or a settlement whose payer is not known.
    #[error("a {0} cannot be compensated")]
    NotCompensable(&'static str),
    /// A share above the whole.
    #[error("the node's share of {0} basis points is above 10000")]
    ShareAboveWhole(u16),
}

impl Posting {
    fn new(kind: PostingKind, entries: impl IntoIterator<Item = (LedgerAccount, Credits)>) -> Self {
        let entries = entries
            .into_iter()
            .filter(|(_, amount)| *amount != Credits::ZERO)
            .map(|(account, amount)| Entry { account, amount })
            .collect();
        Self { kind, entries }
    }

    /// Credits out of issuance.
    pub fn grant(environment: Environment, to: NamespaceId, amount: Credits) -> Result<Self, LedgerError> {
        let amount = not_negative(amount)?;
        let accounts = [
            (LedgerAccount::Issuance(environment), -amount),
            (LedgerAccount::Namespace(to), amount),
        ];
        Ok(Self::new(PostingKind::Grant, accounts))
    }

    /// An amount from one account to another, for this reason.
    pub fn between(
        kind: PostingKind,
        from: LedgerAccount,
        to: LedgerAccount,
        amount: Credits,
    ) -> Result<Self, LedgerError> {
        let amount = not_negative(amount)?;
        if from == to {
            return Ok(Self::new(kind, []));
        }
        Ok(Self::new(kind, [(from, -amount), (to, amount)]))
    }

    /// What undoes a posting of this kind with these entries. `payer` is who paid for the job of a settlement: its escrow is
    /// gone for good, so that the payer gets what the node and the network got.
    pub fn compensation(kind: PostingKind, entries: &[Entry], payer: Option<NamespaceId>) -> Result<Self, LedgerError> {
        let opposite = |entry: &Entry| (entry.account, -entry.amount);
        match (kind, payer) {
            (PostingKind::Settle, Some(payer)) => {
                let earned = |entry: &&Entry| matches!(entry.account, LedgerAccount::Node(..) | LedgerAccount::Fees(_));
                let cost = entries.iter().filter(earned).map(|entry| entry.amount.micros()).sum();
                let back = (LedgerAccount::Namespace(payer), Credits::from_micros(cost));
                let undone = entries.iter().filter(earned).map(opposite);
                Ok(Self::new(PostingKind::Correction, undone.chain([back])))
            }
            (PostingKind::Settle | PostingKind::Hold | PostingKind::Release, _) => {
                Err(LedgerError::NotCompensable(kind.as_str()))
            }
            _ => Ok(Self::new(PostingKind::Correction, entries.iter().map(opposite))),
        }
    }

    /// The most that a job can cost, put aside before it is queued.
    pub fn hold(from: NamespaceId, job: JobId, amount: Credits) -> Result<Self, LedgerError> {
        let amount = not_negative(amount)?;
        let accounts = [
            (LedgerAccount::Namespace(from), -amount),
            (LedgerAccount::Escrow(job), amount),
        ];
        Ok(Self::new(PostingKind::Hold, accounts))
    }

    /// A hold given back in full.
    pub fn release(to: NamespaceId, job: JobId, held: Credits) -> Result<Self, LedgerError> {
        let held = not_negative(held)?;
        let accounts = [
            (LedgerAccount::Escrow(job), -held),
            (LedgerAccount::Namespace(to), held),
        ];
        Ok(Self::new(PostingKind::Release, accounts))
    }

    /// A verified result: the node gets its share of the cost, the network the rest of it, the namespace what is left
    /// of the hold.
    pub fn settle(settlement: &Settlement) -> Result<Self, LedgerError> {
        let Settlement {
            environment,
            namespace,
            job,
            node,
            held,
            cost,
            node_share,
        } = *settlement;
        let (held, cost) = (not_negative(held)?, not_negative(cost)?);
        if node_share > 10_000 {
            return Err(LedgerError::ShareAboveWhole(node_share));
        }
        let rest = Credits::from_micros(held.micros() - cost.micros());
        if rest < Credits::ZERO {
            return Err(LedgerError::AboveHold { cost, held });
        }
        let earned = cost.share(node_share);
        let fees = Credits::from_micros(cost.micros() - earned.micros());
        let accounts = [
            (LedgerAccount::Escrow(job), -held),
            (LedgerAccount::Node(environment, node), earned),
            (LedgerAccount::Fees(environment), fees),
            (LedgerAccount::Namespace(namespace), rest),
        ];
        Ok(Self::new(PostingKind::Settle, accounts))
    }

    /// Why the money moved.
    pub const fn kind(&self) -> PostingKind {
        self.kind
    }

    /// The entries; none of them is zero.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// What a settlement is made of.
#[derive(Debug, Clone, Copy)]
pub struct Settlement {
    /// The network it happens in.
    pub environment: Environment,
    /// Who paid the hold.
    pub namespace: NamespaceId,
    /// The job.
    pub job: JobId,
    /// Who did the work.
    pub node: NodeId,
    /// What is held for the job.
    pub held: Credits,
    /// What it cost in the end; never above the hold.
    pub cost: Credits,
    /// The node's share of the cost in basis points (of 10 000).
    pub node_share: u16,
}

fn not_negative(amount: Credits) -> Result<Credits, LedgerError> {
    if amount < Credits::ZERO {
        Err(LedgerError::Negative(amount))
    } else {
        Ok(amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Address;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn settlement(held: i64, cost: i64, node_share: u16) -> Settlement {
        Settlement {
            environment: Environment::Testnet,
            namespace: NamespaceId::from_uuid(Uuid::from_u128(1)),
            job: JobId::from_uuid(Uuid::from_u128(2)),
            node: NodeId::from_address(Address::repeat_byte(3)),
            held: Credits::from_micros(held),
            cost: Credits::from_micros(cost),
            node_share,
        }
    }

    fn gained(posting: &Posting, wanted: LedgerAccount) -> i64 {
        posting
            .entries()
            .iter()
            .filter(|entry| entry.account == wanted)
            .map(|entry| entry.amount.micros())
            .sum()
    }

    #[test]
    fn a_charge_above_the_hold_is_refused() {
        assert!(matches!(
            Posting::settle(&settlement(10, 11, 8000)),
            Err(LedgerError::AboveHold { .. })
        ));
        assert!(matches!(
            Posting::settle(&settlement(-1, 0, 8000)),
            Err(LedgerError::Negative(_))
        ));
        assert!(matches!(
            Posting::settle(&settlement(1, 1, 10_001)),
            Err(LedgerError::ShareAboveWhole(_))
        ));
    }

    #[test]
    fn a_transfer_is_undone_and_a_hold_is_not() {
        let s = settlement(5, 5, 0);
        let other = LedgerAccount::Namespace(NamespaceId::from_uuid(Uuid::from_u128(9)));
        let from = LedgerAccount::Namespace(s.namespace);
        let transfer = Posting::between(PostingKind::Transfer, from, other, s.held).unwrap();
        let undone = Posting::compensation(transfer.kind(), transfer.entries(), None).unwrap();
        assert_eq!((gained(&undone, from), gained(&undone, other)), (5, -5));
        assert_eq!(undone.kind(), PostingKind::Correction);
        let same = Posting::between(PostingKind::Transfer, from, from, s.held).unwrap();
        assert_eq!(same.entries(), []);
        assert!(Posting::between(PostingKind::Transfer, from, other, -s.held).is_err());
        let hold = Posting::hold(s.namespace, s.job, s.held).unwrap();
        let release = Posting::release(s.namespace, s.job, s.held).unwrap();
        let settle = Posting::settle(&s).unwrap();
        for (posting, payer) in [(hold, Some(s.namespace)), (release, Some(s.namespace)), (settle, None)] {
            let refused = Posting::compensation(posting.kind(), posting.entries(), payer);
            assert!(matches!(refused, Err(LedgerError::NotCompensable(_))), "{refused:?}");
        }
    }

    #[test]
    fn the_name_of_an_account_reads_back() {
        let s = settlement(1, 1, 1);
        let accounts = [
            LedgerAccount::Namespace(s.namespace),
            LedgerAccount::Escrow(s.job),
            LedgerAccount::Node(Environment::Mainnet, s.node),
            LedgerAccount::Fees(Environment::Testnet),
            LedgerAccount::Issuance(Environment::Mainnet),
        ];
        for account in accounts {
            assert_eq!(account.to_string().parse(), Ok(account));
        }
        for bad in [
            "",
            "namespace",
            "namespace:x",
            "network:testnet",
            "issuance:devnet",
            "node:testnet",
            "x:y",
        ] {
            assert_eq!(bad.parse::<LedgerAccount>(), Err(UnknownLedgerAccount), "{bad}");
        }
    }

    #[test]
    fn the_name_of_a_kind_reads_back() {
        for kind in PostingKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!("gift".parse::<PostingKind>(), Err(UnknownPostingKind));
    }

    proptest! {
        #[test]
        fn a_hold_and_its_settlement_sum_to_zero_and_empty_the_escrow(
            held in 0..i64::MAX, part in 0u16..=10_000, node_share in 0u16..=10_000,
        ) {
            let cost = Credits::from_micros(held).share(part).micros();
            let settlement = settlement(held, cost, node_share);
            let hold = Posting::hold(settlement.namespace, settlement.job, settlement.held).unwrap();
            let settle = Posting::settle(&settlement).unwrap();
            for posting in [&hold, &settle] {
                let sum: i128 = posting.entries().iter().map(|entry| i128::from(entry.amount.micros())).sum();
                prop_assert_eq!(sum, 0);
                prop_assert!(posting.entries().iter().all(|entry| entry.amount != Credits::ZERO));
            }
            let escrow = LedgerAccount::Escrow(settlement.job);
            prop_assert_eq!(gained(&hold, escrow) + gained(&settle, escrow), 0);
            let paid = LedgerAccount::Namespace(settlement.namespace);
            prop_assert_eq!(gained(&hold, paid) + gained(&settle, paid), -cost);
            prop_assert!(gained(&settle, LedgerAccount::Node(Environment::Testnet, settlement.node)) <= cost);
        }

        #[test]
        fn a_compensated_settlement_gives_the_cost_back(
            held in 0..i64::MAX, part in 0u16..=10_000, node_share in 0u16..=10_000,
        ) {
            let cost = Credits::from_micros(held).share(part).micros();
            let settlement = settlement(held, cost, node_share);
            let settle = Posting::settle(&settlement).unwrap();
            let undone = Posting::compensation(settle.kind(), settle.entries(), Some(settlement.namespace)).unwrap();
            let sum: i128 = undone.entries().iter().map(|entry| i128::from(entry.amount.micros())).sum();
            prop_assert_eq!(sum, 0);
            prop_assert_eq!(gained(&undone, LedgerAccount::Namespace(settlement.namespace)), cost);
            for account in [LedgerAccount::Node(Environment::Testnet, settlement.node), LedgerAccount::Fees(Environment::Testnet)] {
                prop_assert_eq!(gained(&settle, account) + gained(&undone, account), 0);
            }
        }

        #[test]
        fn a_release_undoes_its_hold(held in 0..i64::MAX) {
            let s = settlement(held, 0, 0);
            let hold = Posting::hold(s.namespace, s.job, s.held).unwrap();
            let release = Posting::release(s.namespace, s.job, s.held).unwrap();
            for account in [LedgerAccount::Namespace(s.namespace), LedgerAccount::Escrow(s.job)] {
                prop_assert_eq!(gained(&hold, account) + gained(&release, account), 0);
            }
        }
    }
}
