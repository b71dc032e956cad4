//! Vouchers: codes that are worth credits.

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::api::gate::{
    CreateVoucher, CreditQuery, CreditsReceived, InEnvironment, RedeemVoucher, Scope, Voucher, VoucherWithCode,
    VouchersApi,
};
use resultity_core::api::page::{Order, Page};
use resultity_core::canonical::sha256;
use resultity_core::clock::{Entropy, Timestamp};
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::VoucherId;

use super::credits::{check_amount, invalid, page_of};
use super::{Attempted, GateSession, failed, not_found, reason};
use crate::store::funds::{NewVoucher, Redeemed, Redemption, VoucherRecord};
use crate::store::webhooks::PageOf;

/// Crockford's digits: none looks like another.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// How many digits a code has: 100 random bits, which nobody guesses.
const LENGTH: usize = 20;

/// How many of them stand together.
const GROUP: usize = 5;

/// The most uses of one voucher.
const MAX_USES: u32 = 100_000;

/// The longest label: characters.
const LONGEST_LABEL: usize = 200;

#[async_trait]
impl VouchersApi for GateSession {
    async fn redeem_voucher(&self, request: RedeemVoucher) -> Result<CreditsReceived, ApiError> {
        let account = self.account(Scope::Credits)?;
        self.gate
            .throttle
            .attempt(Attempted::Voucher, &account.to_string(), self.caller.address)?;
        let no_voucher = || {
            let message = "this code is worth nothing: it is mistyped, used up, expired or revoked";
            ApiError::new(ErrorCode::NotFound, message).with_param("code")
        };
        self.own_funds(account, request.namespace, None)
            .await
            .map_err(|error| error.with_param("namespace"))?;
        let redemption = Redemption {
            hash: hash_of(&request.code).ok_or_else(no_voucher)?,
            account,
            namespace: request.namespace,
            now: self.gate.clock.now(),
        };
        match self.gate.store.redeem_voucher(redemption).await.map_err(failed)? {
            Redeemed::Done { amount, balance } => {
                self.gate
                    .throttle
                    .succeeded(Attempted::Voucher, &account.to_string(), self.caller.address);
                Ok(CreditsReceived {
                    namespace: request.namespace,
                    received: amount,
                    balance,
                })
            }
            Redeemed::Invalid => Err(no_voucher()),
            Redeemed::UnknownNamespace => {
                let message = "this voucher is for a namespace of the other environment";
                Err(invalid("namespace", message))
            }
            Redeemed::RedeemedBefore => {
                let message = "this account has redeemed this voucher already, for another namespace";
                Err(ApiError::new(ErrorCode::Conflict, message).with_param("code"))
            }
        }
    }

    async fn create_voucher(&self, request: CreateVoucher) -> Result<VoucherWithCode, ApiError> {
        let actor = self.administrator()?;
        let environment = self.flow(request.environment)?.environment;
        check_amount("credits", request.credits)?;
        let max_uses = request.max_uses.unwrap_or(1);
        if !(1..=MAX_USES).contains(&max_uses) {
            return Err(invalid("max_uses", format!("max_uses must be from 1 to {MAX_USES}")));
        }
        let now = self.gate.clock.now();
        let expires = request.expires_at.map(time);
        if expires.is_some_and(|expires| expires <= now) {
            return Err(invalid("expires_at", "expires_at must be in the future"));
        }
        let label = reason::text("label", request.label.as_deref().unwrap_or_default(), LONGEST_LABEL)?;
        let why = reason::required(&request.reason)?;
        let id = VoucherId::new(&*self.gate.clock, &*self.gate.entropy);
        let code = new_code(&*self.gate.entropy);
        let voucher = NewVoucher {
            id,
            hash: sha256(&code),
            environment,
            amount: request.credits,
            max_uses,
            label,
            expires,
            now,
        };
        let audit = self.audit(actor, "voucher.create", format!("voucher:{id}"), why);
        let made = self.gate.store.create_voucher(voucher, audit).await.map_err(failed)?;
        Ok(VoucherWithCode {
            voucher: shown(made),
            code: grouped(&code),
        })
    }

    async fn vouchers(&self, query: CreditQuery) -> Result<Page<Voucher>, ApiError> {
        self.administrator()?;
        let environment = self.flow(query.environment)?.environment;
        let (page, size) = page_of::<VoucherId>(&query)?;
        let page = PageOf {
            after: page.after,
            ascending: query.order == Some(Order::Asc),
            limit: page.limit,
        };
        let vouchers = self.gate.store.vouchers(environment, page).await.map_err(failed)?;
        let vouchers = vouchers.into_iter().map(shown).collect();
        Ok(Page::of(vouchers, size, |voucher: &Voucher| voucher.id.to_string()))
    }

    async fn revoke_voucher(&self, id: VoucherId, environment: InEnvironment) -> Result<Voucher, ApiError> {
        let actor = self.administrator()?;
        let is_meant =
            |known: &Environment| self.sees(*known) && environment.environment.is_none_or(|asked| asked == *known);
        let environments = [Environment::Testnet, Environment::Mainnet];
        let environments = environments.into_iter().filter(is_meant).collect();
        let audit = self.audit(actor, "voucher.revoke", format!("voucher:{id}"), "");
        let revoked = self.gate.store.revoke_voucher(id, environments, audit).await;
        revoked.map_err(failed)?.map(shown).ok_or_else(|| not_found("voucher"))
    }
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

fn shown(record: VoucherRecord) -> Voucher {
    Voucher {
        id: record.id,
        environment: record.environment,
        credits: record.amount,
        max_uses: record.max_uses,
        uses: record.uses,
        label: record.label,
        expires_at: record.expires.map(Timestamp::as_seconds),
        revoked_at: record.revoked.map(Timestamp::as_seconds),
        created_at: record.created.as_seconds(),
    }
}

/// The digits of a new code.
fn new_code(entropy: &dyn Entropy) -> String {
    let mut random = [0; LENGTH];
    entropy.fill(&mut random);
    // 32 divides 256: every digit is as likely as the others.
    random
        .iter()
        .map(|byte| char::from(DIGITS[usize::from(byte % 32)]))
        .collect()
}

/// As people read it.
fn grouped(code: &str) -> String {
    let digits: Vec<char> = code.chars().collect();
    let groups: Vec<String> = digits.chunks(GROUP).map(|group| group.iter().collect()).collect();
    groups.join("-")
}

/// What the store knows of a code as somebody typed it; none: it can't be one.
fn hash_of(typed: &str) -> Option<B256> {
    let mut digits = String::with_capacity(LENGTH);
    for char in typed.chars().filter(|char| !matches!(char, '-' | ' ')) {
        // What Crockford's digits leave out is read as what it looks like.
        let digit = match char.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        if digits.len() == LENGTH || !u8::try_from(digit).is_ok_and(|digit| DIGITS.contains(&digit)) {
            return None;
        }
        digits.push(digit);
    }
    (digits.len() == LENGTH).then(|| sha256(&digits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::SeededEntropy;

    #[test]
    fn a_code_is_known_however_it_is_typed() {
        let code = new_code(&SeededEntropy::new(1));
        let shown = grouped(&code);
        assert_eq!((code.len(), shown.len()), (LENGTH, 23));
        assert!(code.bytes().all(|digit| DIGITS.contains(&digit)));
        let hash = Some(sha256(&code));
        for typed in [
            shown.clone(),
            code.clone(),
            shown.to_lowercase(),
            shown.replace('-', " "),
            format!(" {shown} "),
            code.replace('0', "o").replace('1', "l"),
        ] {
            assert_eq!(hash_of(&typed), hash, "{typed}");
        }
        for bad in [
            "",
            "-----",
            &code[1..],
            &format!("{code}0"),
            &code.replacen(&code[..1], "U", 1),
            &"é".repeat(10),
        ] {
            assert_eq!(hash_of(bad), None, "{bad}");
        }
        assert_ne!(new_code(&SeededEntropy::new(2)), code);
    }
}
