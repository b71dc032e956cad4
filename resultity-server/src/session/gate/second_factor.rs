//! The second factor: codes of an authenticator app, and recovery codes.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use resultity_core::B256;
use resultity_core::api::gate::{
    ConfirmTotp, RecoveryCodes, Scope, SecondFactor, SecondFactorApi, SecondFactorStatus, TotpSetup,
};
use resultity_core::canonical::sha256;
use resultity_core::clock::{Entropy, Timestamp};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::AccountId;
use totp_rs::{Builder, Totp};

use super::throttle::Attempted;
use super::{Gate, GateSession, failed};
use crate::store::wallets::{SecondFactorChange, SecondFactorProof, SecondFactorRecord};

/// What authenticator apps show above the code.
const ISSUER: &str = "Resultity";

/// 160 bits, as RFC 4226 asks for.
const SECRET_BYTES: usize = 20;

/// How many recovery codes there are, each of 80 bits: more than anybody tries, whatever they know of the database.
const CODES: usize = 10;
const CODE_CHARACTERS: usize = 16;
const CODE_ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// After this many wrong codes in a row the owner is told, and each next one has to wait, twice as long every time.
const PATIENT: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_hours(12);

/// How long an account has to wait for its next attempt after this many wrong codes.
fn wait_after(failures: u32) -> Duration {
    let Some(doubled) = failures.checked_sub(PATIENT) else {
        return Duration::ZERO;
    };
    FIRST_WAIT
        .saturating_mul(1_u32.checked_shl(doubled.min(20)).unwrap_or(u32::MAX))
        .min(LONGEST_WAIT)
}

fn wrong_code() -> ApiError {
    ApiError::new(
        ErrorCode::InvalidCredentials,
        "the code of the second factor is wrong, or was used before: wait for the next one",
    )
}

fn totp(secret: &[u8], account_name: &str) -> Result<Totp, ApiError> {
    let built = Builder::new()
        .with_secret(secret)
        .with_issuer(Some(ISSUER))
        .with_account_name(account_name)
        .build();
    built.map_err(|error| {
        tracing::error!(%error, "a one-time password can't be computed");
        ApiError::new(ErrorCode::Internal, "the second factor can't be used")
    })
}

/// The time step whose code this is.
fn step_of(secret: &[u8], code: &str, now: Timestamp) -> Result<Option<u64>, ApiError> {
    let seconds = u64::try_from(now.as_seconds()).unwrap_or_default();
    Ok(totp(secret, "")?.check(code.trim(), seconds))
}

/// What is kept of a recovery code: of the account alone, so that equal codes are not seen.
fn hash_code(account: AccountId, code: &str) -> B256 {
    let plain: String = code
        .chars()
        .filter(|letter| !matches!(letter, '-' | ' '))
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    sha256(format!("resultity recovery code {account} {plain}"))
}

/// New recovery codes, such as `abcd-efgh-2345-wxyz`.
fn new_codes(entropy: &dyn Entropy) -> Vec<String> {
    let make = || {
        let mut random = [0; CODE_CHARACTERS];
        entropy.fill(&mut random);
        let letters: Vec<char> = random
            .iter()
            .map(|byte| char::from(CODE_ALPHABET[usize::from(byte % 32)]))
            .collect();
        let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
        groups.join("-")
    };
    (0..CODES).map(|_| make()).collect()
}

impl Gate {
    /// Lets the account pass if it has no second factor, or a right one was given, which is used up by this.
    ///
    /// # Errors
    /// `second_factor_required` if it has one and none was given, `invalid_credentials` if it was wrong,
    /// `rate_limit_exceeded` after too many.
    pub(super) async fn check_second_factor(
        &self,
        account: AccountId,
        given: Option<&SecondFactor>,
        address: IpAddr,
    ) -> Result<(), ApiError> {
        let record = self.store.second_factor(account).await.map_err(failed)?;
        let Some(record) = record.filter(|record| record.confirmed_at.is_some()) else {
            return Ok(());
        };
        let Some(given) = given else {
            let message = "this account has a second factor: send `second_factor` with a code of it";
            return Err(ApiError::new(ErrorCode::SecondFactorRequired, message).with_param("second_factor"));
        };
        self.use_second_factor(account, &record, given, address, SecondFactorChange::None)
            .await
    }

    /// Uses a code up and does what is to be done with it.
    async fn use_second_factor(
        &self,
        account: AccountId,
        record: &SecondFactorRecord,
        given: &SecondFactor,
        address: IpAddr,
        change: SecondFactorChange,
    ) -> Result<(), ApiError> {
        let subject = account.to_string();
        let now = self.clock.now();
        self.throttle.attempt(Attempted::SecondFactor, &subject, address)?;
        let next = record.failed_at.map(|failed| failed.after(wait_after(record.failures)));
        if let Some(next) = next.filter(|next| now < *next) {
            let message = "too many wrong codes: wait before the next one";
            return Err(ApiError::new(ErrorCode::RateLimitExceeded, message).with_retry_after(next.since(now)));
        }
        let proof = match given {
            SecondFactor::Totp(code) => {
                let secret = self.opened(account, record)?;
                step_of(&secret, code, now)?.map(SecondFactorProof::Step)
            }
            SecondFactor::RecoveryCode(code) => Some(SecondFactorProof::RecoveryCode(hash_code(account, code))),
            _ => None,
        };
        if let Some(proof) = proof {
            let used = self.store.use_second_factor(account, proof, change).await;
            if used.map_err(failed)? {
                self.throttle.succeeded(Attempted::SecondFactor, &subject, address);
                return Ok(());
            }
        }
        let told = self.note(
            account,
            "account.second_factor_guessed",
            "",
            "Somebody who knows your password or has your wallet gave wrong codes of the second factor. If it was not you, \
             change the password, unlink the wallet and end all sessions.",
        );
        let counted = self.store.fail_second_factor(account, PATIENT, told).await;
        counted.map_err(failed)?;
        Err(wrong_code())
    }

    fn opened(&self, account: AccountId, record: &SecondFactorRecord) -> Result<zeroize::Zeroizing<Vec<u8>>, ApiError> {
        let opened = self.sealer.open(account.as_uuid().as_bytes(), &record.secret);
        opened.map_err(|error| {
            tracing::error!(account.id = %account, %error, "a second factor can't be read");
            let message = "the secret of the second factor can't be read any more: use a recovery code";
            ApiError::new(ErrorCode::Internal, message)
        })
    }
}

impl GateSession {
    /// The confirmed second factor of the caller's account.
    async fn confirmed(&self, account: AccountId) -> Result<SecondFactorRecord, ApiError> {
        let record = self.gate.store.second_factor(account).await.map_err(failed)?;
        record
            .filter(|record| record.confirmed_at.is_some())
            .ok_or_else(|| ApiError::new(ErrorCode::Conflict, "no second factor is set"))
    }
}

#[async_trait]
impl SecondFactorApi for GateSession {
    async fn second_factor(&self) -> Result<SecondFactorStatus, ApiError> {
        let account = self.account(Scope::Read)?;
        let record = self.gate.store.second_factor(account).await.map_err(failed)?;
        let record = record.filter(|record| record.confirmed_at.is_some());
        Ok(SecondFactorStatus {
            totp: record.is_some(),
            confirmed_at: record
                .as_ref()
                .and_then(|record| record.confirmed_at)
                .map(Timestamp::as_seconds),
            recovery_codes: record.map_or(0, |record| record.recovery_codes),
        })
    }

    async fn set_up_totp(&self) -> Result<TotpSetup, ApiError> {
        let account = self.signed_in()?;
        let gate = &self.gate;
        let mut secret = zeroize::Zeroizing::new([0; SECRET_BYTES]);
        gate.entropy.fill(secret.as_mut());
        // What tells several accounts apart in the app; a colon would mean something there.
        let record = gate.store.account_record(account).await.map_err(failed)?;
        let name = record
            .and_then(|record| record.email)
            .unwrap_or_else(|| account.to_string());
        let totp = totp(secret.as_slice(), &name.replace(':', " "))?;
        let sealed = gate
            .sealer
            .seal(account.as_uuid().as_bytes(), secret.as_slice(), &*gate.entropy);
        let kept = gate.store.begin_second_factor(account, sealed, gate.clock.now()).await;
        if !kept.map_err(failed)? {
            let message = "a second factor is set already: remove it first";
            return Err(ApiError::new(ErrorCode::Conflict, message));
        }
        let uri = totp.to_url().map_err(|error| {
            tracing::error!(%error, "a second factor has no address");
            ApiError::new(ErrorCode::Internal, "the second factor can't be used")
        })?;
        Ok(TotpSetup {
            secret: totp.secret().to_base32(),
            uri,
        })
    }

    async fn confirm_totp(&self, request: ConfirmTotp) -> Result<RecoveryCodes, ApiError> {
        let account = self.signed_in()?;
        let gate = &self.gate;
        let (subject, now) = (account.to_string(), gate.clock.now());
        gate.throttle
            .attempt(Attempted::SecondFactor, &subject, self.caller.address)?;
        let record = gate.store.second_factor(account).await.map_err(failed)?;
        let pending = record.filter(|record| record.confirmed_at.is_none());
        let conflict = || {
            ApiError::new(
                ErrorCode::Conflict,
                "no second factor waits to be confirmed: set one up first",
            )
        };
        let record = pending.ok_or_else(conflict)?;
        let secret = gate.opened(account, &record)?;
        let step = step_of(&secret, &request.code, now)?.ok_or_else(|| wrong_code().with_param("code"))?;
        let codes = new_codes(&*gate.entropy);
        let hashes = codes.iter().map(|code| hash_code(account, code)).collect();
        let told = gate.note(
            account,
            "account.second_factor_set",
            "",
            "A second factor was set: signing in asks for its codes from now on.",
        );
        let confirmed = gate
            .store
            .confirm_second_factor(account, record.secret, step, hashes, told)
            .await;
        if !confirmed.map_err(failed)? {
            return Err(conflict());
        }
        gate.throttle
            .succeeded(Attempted::SecondFactor, &subject, self.caller.address);
        tracing::info!(account.id = %account, "a second factor was set");
        Ok(RecoveryCodes { recovery_codes: codes })
    }

    async fn remove_totp(&self, proof: SecondFactor) -> Result<SecondFactorStatus, ApiError> {
        let account = self.signed_in()?;
        let record = self.confirmed(account).await?;
        let told = self.gate.note(
            account,
            "account.second_factor_removed",
            "",
            "The second factor was removed: signing in asks for no codes any more. If it was not you, end all sessions.",
        );
        let change = SecondFactorChange::Remove(told);
        self.gate
            .use_second_factor(account, &record, &proof, self.caller.address, change)
            .await?;
        tracing::info!(account.id = %account, "a second factor was removed");
        Ok(SecondFactorStatus {
            totp: false,
            confirmed_at: None,
            recovery_codes: 0,
        })
    }

    async fn renew_recovery_codes(&self, proof: SecondFactor) -> Result<RecoveryCodes, ApiError> {
        let account = self.signed_in()?;
        let record = self.confirmed(account).await?;
        let codes = new_codes(&*self.gate.entropy);
        let hashes = codes.iter().map(|code| hash_code(account, code)).collect();
        let change = SecondFactorChange::RecoveryCodes(hashes);
        self.gate
            .use_second_factor(account, &record, &proof, self.caller.address, change)
            .await?;
        Ok(RecoveryCodes { recovery_codes: codes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::{ManualClock, SeededEntropy};
    use rstest::rstest;

    #[rstest]
    // The vectors of RFC 6238 for SHA-1, their last six digits.
    #[case(59, "287082")]
    #[case(1_111_111_109, "081804")]
    #[case(1_111_111_111, "050471")]
    #[case(1_234_567_890, "005924")]
    #[case(2_000_000_000, "279037")]
    #[case(20_000_000_000, "353130")]
    fn codes_are_those_of_the_standard(#[case] seconds: i64, #[case] code: &str) {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let step = |text: &str, seconds: i64| step_of(b"12345678901234567890", text, at(seconds)).unwrap();
        let expected = Some(seconds as u64 / 30);
        assert_eq!(step(code, seconds), expected);
        // One step early or late, for clocks that differ; no more.
        assert_eq!(
            (step(code, seconds + 30), step(code, seconds - 30)),
            (expected, expected)
        );
        assert_eq!(step(code, seconds + 90), None);
        assert!(seconds < 90 || step(code, seconds - 90).is_none());
        for bad in ["", "12345", "1234567", "abcdef", "+12345", "１２３４５６", &code[..5]] {
            assert_eq!(step(bad, seconds), None, "{bad}");
        }
    }

    #[test]
    fn a_recovery_code_counts_for_its_account_however_it_is_typed() {
        let entropy = SeededEntropy::new(1);
        let clock = ManualClock::new(Timestamp::from_millis(1));
        let (mine, yours) = (AccountId::new(&clock, &entropy), AccountId::new(&clock, &entropy));
        let codes = new_codes(&entropy);
        assert_eq!(codes.len(), CODES);
        let distinct: std::collections::HashSet<_> = codes.iter().collect();
        assert_eq!(distinct.len(), CODES);
        let code = &codes[0];
        assert_eq!(code.len(), CODE_CHARACTERS + 3, "{code}");
        let hash = hash_code(mine, code);
        assert_eq!(hash_code(mine, &code.to_uppercase().replace('-', " ")), hash);
        assert_eq!(hash_code(mine, &code.replace('-', "")), hash);
        assert_ne!(hash_code(yours, code), hash);
        assert_ne!(hash_code(mine, &codes[1]), hash);
    }

    #[test]
    fn the_wait_doubles_up_to_the_longest() {
        let waits: Vec<u64> = [0, 4, 5, 6, 7, 14, 30, u32::MAX]
            .into_iter()
            .map(|failures| wait_after(failures).as_secs())
            .collect();
        assert_eq!(waits, [0, 0, 30, 60, 120, 15_360, 43_200, 43_200]);
    }
}
