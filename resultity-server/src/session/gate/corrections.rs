//! Corrections by administrators.

use async_trait::async_trait;
use resultity_core::api::gate::{Correction, CorrectionEntry, CorrectionsApi, CreditQuery, LedgerLine, NewCorrection};
use resultity_core::api::page::Page;
use resultity_core::credits::Credits;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{NamespaceId, TransferId};
use resultity_core::ledger::Entry;

use super::credits::{MAX_AMOUNT, checked_key, invalid, key_conflict};
use super::{GateSession, failed, not_found, reason};
use crate::store::funds::{self, Corrected, Corrects};

#[async_trait]
impl CorrectionsApi for GateSession {
    async fn correct(&self, request: NewCorrection) -> Result<Correction, ApiError> {
        let actor = self.administrator()?;
        let why = reason::required(&request.reason)?;
        let (what, subject) = match (&request.transaction, request.namespace, request.amount) {
            (Some(transaction), None, None) => {
                let number = transaction.parse().ok().filter(|number: &i64| *number > 0);
                let number =
                    number.ok_or_else(|| invalid("transaction", "transaction must be the id of a line of a ledger"))?;
                (Corrects::Transaction(number), format!("transaction:{number}"))
            }
            (None, Some(namespace), Some(amount)) => {
                if amount == Credits::ZERO || amount > MAX_AMOUNT || amount < -MAX_AMOUNT {
                    let message = format!("amount must not be 0, and at most {MAX_AMOUNT} either way");
                    return Err(invalid("amount", message));
                }
                self.funds_if_seen(None, namespace, None)
                    .await
                    .map_err(|error| error.with_param("namespace"))?;
                (Corrects::Namespace(namespace, amount), format!("namespace:{namespace}"))
            }
            _ => {
                let message = "name either transaction, or namespace and amount";
                return Err(invalid("transaction", message));
            }
        };
        let idempotency_key = match request.idempotency_key {
            Some(key) => checked_key(key)?,
            None => TransferId::new(&*self.gate.clock, &*self.gate.entropy).to_string(),
        };
        let correction = funds::NewCorrection {
            what,
            only: self.only_environment(),
            idempotency_key,
            reason: why.clone(),
            now: self.gate.clock.now(),
        };
        let audit = self.audit(actor, "credits.correct", subject, why);
        let conflict = |message: String| ApiError::new(ErrorCode::Conflict, message);
        match self.gate.store.correct(correction, audit).await.map_err(failed)? {
            Corrected::Done { transaction, entries } => Ok(Correction {
                transaction: transaction.to_string(),
                undoes: request.transaction,
                entries: entries.iter().map(entry_shown).collect(),
            }),
            Corrected::UnknownTransaction => Err(not_found("transaction").with_param("transaction")),
            Corrected::UnknownNamespace => Err(not_found("namespace").with_param("namespace")),
            Corrected::NotCompensable => Err(conflict(
                "this transaction cannot be undone: the job of a hold ends it, and what moved nothing needs no correction".into(),
            )),
            Corrected::Insufficient { account, available } => Err(conflict(format!(
                "{account} has only {available} credits, and nobody may have less than nothing"
            ))),
            Corrected::Conflict => Err(key_conflict()),
        }
    }

    async fn ledger_of(&self, namespace: NamespaceId, query: CreditQuery) -> Result<Page<LedgerLine>, ApiError> {
        self.administrator()?;
        self.funds_if_seen(None, namespace, query.environment).await?;
        self.ledger_page(namespace, &query).await
    }
}

fn entry_shown(entry: &Entry) -> CorrectionEntry {
    CorrectionEntry {
        account: entry.account.to_string(),
        amount: entry.amount,
    }
}
