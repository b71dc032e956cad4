//! Codes that are sent by mail: what is kept of them, and what the letters say.

use std::time::Duration;

use resultity_core::api::gate::CodeSent;
use resultity_core::canonical::sha256;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::AccountId;

use super::callers::new_token;
use super::{Gate, failed};
use crate::mail::{Letter, Mail, PostError};
use crate::store::identity::{CodePurpose, GivenCode, NewCode, PasswordHash};

/// How long a code counts.
const LIFE: Duration = Duration::from_mins(15);

/// How often one may be tried.
const ATTEMPTS: u32 = 5;

/// The longest ticket or code that is looked at.
const MAX_GIVEN_BYTES: usize = 128;

/// What a letter says at its end.
const REGARDS: &str = "\n\nIf this was not you, do nothing: without the code nothing happens.\n";

/// A code that is to be sent.
pub(super) struct Sending {
    pub(super) purpose: CodePurpose,
    pub(super) email: String,
    pub(super) account: Option<AccountId>,
    pub(super) password: Option<PasswordHash>,
}

/// SHA-256 of ticket and code: of use to nobody who has not the ticket, which is stored as a hash alone.
fn code_hash(ticket: &str, code: &str) -> resultity_core::B256 {
    sha256(format!("{ticket} {code}"))
}

impl Gate {
    /// Keeps a new code and sends it, or what there is to say instead. What it answers and how long it takes does not
    /// depend on whether the address has an account.
    pub(super) async fn send_code(&self, sending: Sending) -> Result<CodeSent, ApiError> {
        if !self.mail.is_open() {
            return Err(PostError::NoMail.into());
        }
        let ticket = new_token("", &*self.entropy);
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        let code = format!("{:08}", u64::from_be_bytes(random) % 100_000_000);
        let now = self.clock.now();
        let (purpose, email, expires_at) = (sending.purpose, sending.email, now.after(LIFE));
        let kept = NewCode {
            ticket: sha256(&ticket),
            code: code_hash(&ticket, &code),
            purpose,
            email: email.clone(),
            account: sending.account,
            password: sending.password,
            attempts: ATTEMPTS,
            now,
            expires_at,
        };
        let has_account = self.store.keep_code(kept).await.map_err(failed)?;
        // Whoever has had enough letters today gets none; the answer is the same.
        let letter = letter(purpose, &email, &code, has_account).filter(|_| self.postbox.takes(&email, now));
        let posted = letter.map_or(Ok(()), |letter| self.mail.post(&letter));
        match posted {
            // Of a reset, only those who have an account are sent anything: that the queue is full would tell.
            Err(PostError::Full) if purpose == CodePurpose::Reset => {
                tracing::warn!("too many letters wait to be sent: one was not queued");
            }
            posted => posted?,
        }
        Ok(CodeSent {
            ticket,
            expires_at: expires_at.as_seconds(),
        })
    }

    /// What was given back, as the store knows it.
    pub(super) fn given(&self, ticket: &str, code: &str) -> Result<GivenCode, ApiError> {
        if ticket.len() > MAX_GIVEN_BYTES || code.len() > MAX_GIVEN_BYTES {
            return Err(wrong_code());
        }
        // As people write digits.
        let digits: String = code.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        Ok(GivenCode {
            ticket: sha256(ticket),
            code: code_hash(ticket, &digits),
            now: self.clock.now(),
        })
    }

    /// Tells somebody what has happened, if there is a way to; nothing depends on it.
    pub(super) fn tell(&self, email: Option<&str>, subject: &str, text: &str) {
        let Some(email) = email else { return };
        let letter = Letter {
            to: email.to_owned(),
            subject: format!("Resultity: {subject}"),
            text: text.to_owned(),
        };
        match self.mail.post(&letter) {
            Ok(()) | Err(PostError::NoMail) => {}
            Err(error) => tracing::warn!(%error, "a letter was not queued"),
        }
    }
}

/// The code is not right; whether it ever was is not said.
pub(super) fn wrong_code() -> ApiError {
    let message = "this code is wrong or does not count any more: ask for a new one";
    ApiError::new(ErrorCode::InvalidValue, message).with_param("code")
}

/// The address as it is kept: lower case.
///
/// # Errors
/// It is none.
pub fn checked_email(text: &str) -> Result<String, ApiError> {
    let email = text.trim().to_ascii_lowercase();
    if email.is_ascii() && Mail::is_address(&email) {
        return Ok(email);
    }
    Err(PostError::Address.into())
}

/// What is sent; nothing to an address without an account whose password is to be reset.
fn letter(purpose: CodePurpose, email: &str, code: &str, has_account: bool) -> Option<Letter> {
    let (subject, text) = match (purpose, has_account) {
        (CodePurpose::SignUp, false) => (
            "your code",
            format!("Your code to confirm this address is {code}.\nIt counts for 15 minutes."),
        ),
        (CodePurpose::SignUp, true) => (
            "you have an account",
            "Somebody asked for an account with this address, which has one already.\n\
             Sign in, or reset the password if it is forgotten."
                .to_owned(),
        ),
        (CodePurpose::Reset, true) => (
            "your code",
            format!("Your code to set a new password is {code}.\nIt counts for 15 minutes."),
        ),
        (CodePurpose::Reset, false) => return None,
        (CodePurpose::Email, false) => (
            "your code",
            format!("Your code to use this address for your account is {code}.\nIt counts for 15 minutes."),
        ),
        (CodePurpose::Email, true) => (
            "this address is in use",
            "Somebody wants to use this address for an account,\nbut another account has it already.".to_owned(),
        ),
    };
    Some(Letter {
        to: email.to_owned(),
        subject: format!("Resultity: {subject}"),
        text: format!("{text}{REGARDS}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_in_lower_case_and_anything_else_is_refused() {
        assert_eq!(
            checked_email(" Some.Body@Example.ORG ").unwrap(),
            "some.body@example.org"
        );
        assert!(checked_email("admin@localhost").is_ok());
        let long = format!("{}@example.org", "a".repeat(300));
        for bad in [
            "",
            "a",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c.d",
            "a@b.c\r\nBcc: x@y.z",
            "A <a@b.c>",
            "ä@b.c",
            "a@b.c, d@e.f",
            "a@b.c\0",
            &long,
        ] {
            let error = checked_email(bad).unwrap_err();
            assert_eq!(error.param.as_deref(), Some("email"), "{bad:?}");
        }
    }

    #[test]
    fn a_code_is_in_letters_to_those_who_may_use_it_alone() {
        for (purpose, has_account, has_code) in [
            (CodePurpose::SignUp, false, true),
            (CodePurpose::SignUp, true, false),
            (CodePurpose::Reset, true, true),
            (CodePurpose::Email, false, true),
            (CodePurpose::Email, true, false),
        ] {
            let letter = letter(purpose, "a@b.c", "12345678", has_account).unwrap();
            assert_eq!(letter.text.contains("12345678"), has_code, "{purpose:?} {has_account}");
            assert!(!letter.subject.contains("12345678"));
        }
        assert_eq!(letter(CodePurpose::Reset, "a@b.c", "12345678", false), None);
    }
}
