//! Credits of the caller's namespaces.

use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use resultity_core::api::gate::{
    AccountCredits, AskFaucet, CreditAlert, CreditHold, CreditQuery, CreditTransfer, CreditsApi, CreditsReceived,
    InEnvironment, LedgerLine, NamespaceCredits, NewTransfer, Scope, SetCreditAlert,
};
use resultity_core::api::page::{Order, Page};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, NamespaceId, TransferId};

use super::{GateSession, failed, not_found};
use crate::session::jobs::page_size;
use crate::store::funds::{self, FaucetClaim, FaucetGave, Transferred};
use crate::store::statements::{HoldRecord, LedgerRecord, NamespaceFunds, StatementPage};

/// What the faucet gives a day if the operator says nothing.
const FAUCET: Credits = Credits::from_whole(100);

/// The most that is moved at once: a mistyped amount should not upset the books.
pub(super) const MAX_AMOUNT: Credits = Credits::from_whole(1_000_000_000);

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[async_trait]
impl CreditsApi for GateSession {
    async fn credits(&self, environment: InEnvironment) -> Result<AccountCredits, ApiError> {
        let account = self.account(Scope::Read)?;
        let environment = self.flow(environment.environment)?.environment;
        let funds = self.gate.store.funds(account, environment).await.map_err(failed)?;
        let namespaces: Vec<NamespaceCredits> = funds.into_iter().map(shown).collect();
        let available = sum(namespaces.iter().map(|namespace| namespace.available));
        let held = sum(namespaces.iter().map(|namespace| namespace.held));
        Ok(AccountCredits {
            object: "credits".into(),
            environment,
            namespaces,
            available,
            held,
            total: sum([available, held]),
        })
    }

    async fn ledger(&self, namespace: NamespaceId, query: CreditQuery) -> Result<Page<LedgerLine>, ApiError> {
        let account = self.account(Scope::Read)?;
        self.own_funds(account, namespace, query.environment).await?;
        self.ledger_page(namespace, &query).await
    }

    async fn holds(&self, namespace: NamespaceId, query: CreditQuery) -> Result<Page<CreditHold>, ApiError> {
        let account = self.account(Scope::Read)?;
        self.own_funds(account, namespace, query.environment).await?;
        let (page, size) = page_of(&query)?;
        let holds = self.gate.store.holds(namespace, page).await.map_err(failed)?;
        let holds = holds.into_iter().map(hold_shown).collect();
        Ok(Page::of(holds, size, |hold| hold.job.to_string()))
    }

    async fn set_credit_alert(
        &self,
        namespace: NamespaceId,
        environment: InEnvironment,
        request: SetCreditAlert,
    ) -> Result<NamespaceCredits, ApiError> {
        let account = self.account(Scope::Credits)?;
        self.own_funds(account, namespace, environment.environment).await?;
        if let Some(below) = request.below {
            check_amount("below", below)?;
        }
        let set = self
            .gate
            .store
            .set_credit_alert(account, namespace, request.below)
            .await;
        if !set.map_err(failed)? {
            return Err(not_found("namespace"));
        }
        Ok(shown(self.own_funds(account, namespace, None).await?))
    }

    async fn transfer_credits(&self, request: NewTransfer) -> Result<CreditTransfer, ApiError> {
        let account = self.account(Scope::Credits)?;
        check_amount("amount", request.amount)?;
        let id = TransferId::new(&*self.gate.clock, &*self.gate.entropy);
        let idempotency_key = match request.idempotency_key {
            Some(key) => format!("key:{}", checked_key(key)?),
            None => id.to_string(),
        };
        // What the caller's token does not see is not there.
        for (param, namespace) in [("from", request.from), ("to", request.to)] {
            self.own_funds(account, namespace, None)
                .await
                .map_err(|error| error.with_param(param))?;
        }
        if request.from == request.to {
            return Err(invalid("to", "to must be another namespace than from"));
        }
        let transfer = funds::NewTransfer {
            id,
            account,
            from: request.from,
            to: request.to,
            amount: request.amount,
            idempotency_key,
            now: self.gate.clock.now(),
        };
        match self.gate.store.transfer(transfer).await.map_err(failed)? {
            Transferred::Done(record) => Ok(CreditTransfer {
                id: record.id,
                environment: record.environment,
                from: record.from,
                to: record.to,
                amount: record.amount,
                created_at: record.created.as_seconds(),
            }),
            Transferred::UnknownSource => Err(not_found("namespace").with_param("from")),
            Transferred::UnknownTarget => Err(not_found("namespace").with_param("to")),
            Transferred::OtherEnvironment => Err(invalid(
                "to",
                "both namespaces must be of the same environment: credits never leave it",
            )),
            Transferred::Insufficient { available } => Err(insufficient(request.amount, available)),
            Transferred::Conflict => Err(key_conflict()),
        }
    }

    async fn ask_faucet(&self, request: AskFaucet) -> Result<CreditsReceived, ApiError> {
        let account = self.account(Scope::Credits)?;
        let found = self.own_funds(account, request.namespace, None).await;
        let found = found.map_err(|error| error.with_param("namespace"))?;
        if found.environment != Environment::Testnet {
            return Err(invalid("namespace", "the faucet is for namespaces of testnet"));
        }
        let amount = self.gate.options.faucet.unwrap_or(FAUCET);
        if amount <= Credits::ZERO {
            let message = "this network has no faucet: ask its operator for credits";
            return Err(ApiError::new(ErrorCode::PermissionDenied, message));
        }
        let now = self.gate.clock.now();
        let day = now.as_millis().div_euclid(DAY_MS);
        let claim = FaucetClaim {
            account,
            namespace: request.namespace,
            amount,
            day,
            now,
        };
        match self.gate.store.claim_faucet(claim).await.map_err(failed)? {
            FaucetGave::Balance(balance) => Ok(CreditsReceived {
                namespace: request.namespace,
                received: amount,
                balance,
            }),
            FaucetGave::UnknownNamespace => Err(not_found("namespace").with_param("namespace")),
            FaucetGave::AlreadyToday => {
                let tomorrow = (day + 1) * DAY_MS - now.as_millis();
                let after = Duration::from_millis(tomorrow.max(0).unsigned_abs());
                let message = "the faucet gives once a day: come back after midnight (UTC)";
                Err(ApiError::new(ErrorCode::RateLimitExceeded, message).with_retry_after(after))
            }
        }
    }
}

impl GateSession {
    /// What a namespace of this account has, if it is of the environment that is asked for and the caller sees it.
    pub(super) async fn own_funds(
        &self,
        account: AccountId,
        namespace: NamespaceId,
        asked: Option<Environment>,
    ) -> Result<NamespaceFunds, ApiError> {
        self.funds_if_seen(Some(account), namespace, asked).await
    }

    /// The same of any account, if none is named.
    pub(super) async fn funds_if_seen(
        &self,
        account: Option<AccountId>,
        namespace: NamespaceId,
        asked: Option<Environment>,
    ) -> Result<NamespaceFunds, ApiError> {
        let found = self.gate.store.funds_of(account, namespace).await.map_err(failed)?;
        let is_meant = |funds: &NamespaceFunds| {
            self.sees(funds.environment) && asked.is_none_or(|asked| asked == funds.environment)
        };
        found.filter(is_meant).ok_or_else(|| not_found("namespace"))
    }

    /// A page of the ledger of a namespace that the caller may see.
    pub(super) async fn ledger_page(
        &self,
        namespace: NamespaceId,
        query: &CreditQuery,
    ) -> Result<Page<LedgerLine>, ApiError> {
        let (page, size) = page_of(query)?;
        let lines = self.gate.store.ledger(namespace, page).await.map_err(failed)?;
        let lines = lines.ok_or_else(unknown_after)?;
        let lines = lines.into_iter().map(line_shown).collect();
        Ok(Page::of(lines, size, |line: &LedgerLine| line.id.clone()))
    }
}

/// A page as the store wants it, with one more entry, and the size that was asked for.
pub(super) fn page_of<I: FromStr>(query: &CreditQuery) -> Result<(StatementPage<I>, u32), ApiError> {
    let after = query.after.as_deref().map(str::parse);
    let after = after.transpose().map_err(|_| unknown_after())?;
    let size = page_size(query.limit)?;
    let page = StatementPage {
        after,
        ascending: query.order == Some(Order::Asc),
        limit: size + 1,
    };
    Ok((page, size))
}

pub(super) fn unknown_after() -> ApiError {
    invalid("after", "after must be the id of an entry of this list")
}

pub(super) fn invalid(param: &str, message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::InvalidValue, message).with_param(param)
}

/// An amount that can be moved.
pub(super) fn check_amount(param: &str, amount: Credits) -> Result<(), ApiError> {
    if amount > Credits::ZERO && amount <= MAX_AMOUNT {
        return Ok(());
    }
    Err(invalid(
        param,
        format!("{param} must be more than 0 and at most {MAX_AMOUNT}"),
    ))
}

/// What makes a repeat harmless.
pub(super) fn checked_key(key: String) -> Result<String, ApiError> {
    let is_printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if (1..=255).contains(&key.len()) && key.bytes().all(is_printable) {
        return Ok(key);
    }
    let message = "an idempotency key must have 1 to 255 printable ASCII characters";
    Err(invalid("idempotency_key", message))
}

pub(super) fn key_conflict() -> ApiError {
    let message = "another request had this idempotency key: use a new one";
    ApiError::new(ErrorCode::Conflict, message).with_param("idempotency_key")
}

/// There is less than that.
fn insufficient(wanted: Credits, available: Credits) -> ApiError {
    let message = format!("{wanted} credits are to be moved, but only {available} may be spent");
    ApiError::new(ErrorCode::InsufficientQuota, message).with_param("amount")
}

fn sum(amounts: impl IntoIterator<Item = Credits>) -> Credits {
    let micros = amounts
        .into_iter()
        .fold(0_i64, |sum, amount| sum.saturating_add(amount.micros()));
    Credits::from_micros(micros)
}

fn shown(funds: NamespaceFunds) -> NamespaceCredits {
    NamespaceCredits {
        namespace: funds.namespace,
        name: funds.name,
        available: funds.available,
        held: funds.held,
        total: sum([funds.available, funds.held]),
        alert: funds.alert.map(|(below, armed)| CreditAlert { below, armed }),
    }
}

fn line_shown(record: LedgerRecord) -> LedgerLine {
    LedgerLine {
        id: record.transaction.to_string(),
        kind: record.kind,
        amount: record.amount,
        job: record.job,
        reason: record.reason,
        created_at: record.created.as_seconds(),
    }
}

fn hold_shown(record: HoldRecord) -> CreditHold {
    CreditHold {
        job: record.job,
        key: record.key,
        model: record.model,
        state: record.state,
        held: record.held,
        created_at: record.created.as_seconds(),
        deadline: record.deadline.as_seconds(),
    }
}
