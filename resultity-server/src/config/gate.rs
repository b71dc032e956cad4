//! `[gate]` and `[mail]`: who may have an account, and how letters leave.

use std::path::PathBuf;

use resultity_core::credits::{self, Credits};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::mail::{MailOptions, SmtpOptions};
use crate::session::{AccountOptions, GateOptions, WalletOptions};

/// The environment variable that holds the password of the mail server's user.
pub const SMTP_PASSWORD_VARIABLE: &str = "RESULTITY_SMTP_PASSWORD";

/// The environment variable that holds what the payment provider signs its messages with: `whsec_…`.
pub const PAYMENT_SECRET_VARIABLE: &str = "RESULTITY_PAYMENT_SECRET";

/// `[gate]`: accounts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GateConfig {
    /// Whether nobody can make an account: the operator makes them.
    pub no_sign_up: bool,
    /// The hosts (and ports) of the pages that people sign in on with their wallets; none: those of this machine alone.
    pub domains: Vec<String>,
    /// The chains that wallets may be on (EIP-155).
    pub chain_ids: Option<Vec<u64>>,
    /// What the testnet's faucet gives an account a day, such as `"100"`; `"0"`: there is none.
    #[serde(with = "credits::decimal_if_any")]
    pub faucet_credits: Option<Credits>,
    /// How long somebody stays signed in, and how often an account may call.
    pub accounts: AccountOptions,
}

/// `[mail]`: either `directory`, or `smtp` and `from`; without the section nothing is sent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MailConfig {
    /// Letters are left here as files.
    pub directory: Option<PathBuf>,
    /// The mail server: `smtps://user@host`, or `smtp://user@host` for STARTTLS.
    pub smtp: Option<Url>,
    /// Whom letters come from.
    pub from: Option<String>,
}

/// What `[mail]` or `[gate]` say that can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GateConfigError {
    /// Two ways, or half of one.
    #[error("[mail]: say either `directory`, or both `smtp` and `from`")]
    Mail,
    /// No wallet could ever sign in.
    #[error("[gate]: chain_ids must name at least one chain, such as 1")]
    NoChain,
    /// A domain that no page has.
    #[error("[gate]: domains must be hosts with a port if need be, such as \"account.example.org\", without https://")]
    Domain,
}

impl GateConfig {
    /// What sessions of the Gate API go by. `password` is that of the mail server's user.
    pub fn options(&self, mail: &MailConfig, password: Option<SecretString>) -> Result<GateOptions, GateConfigError> {
        let mut wallets = WalletOptions::default();
        let is_host = |domain: &String| {
            let url = Url::parse(&format!("https://{domain}"));
            url.is_ok_and(|url| {
                url.path() == "/" && url.username().is_empty() && !domain.contains(['/', '@', '?', '#'])
            })
        };
        if !self.domains.iter().all(is_host) {
            return Err(GateConfigError::Domain);
        }
        wallets.domains.clone_from(&self.domains);
        if let Some(chain_ids) = &self.chain_ids {
            if chain_ids.is_empty() {
                return Err(GateConfigError::NoChain);
            }
            wallets.chain_ids.clone_from(chain_ids);
        }
        let mut options = GateOptions::default();
        options.accounts = self.accounts;
        options.mail = mail.options(password)?;
        options.wallets = wallets;
        options.no_sign_up = self.no_sign_up;
        options.faucet = self.faucet_credits;
        Ok(options)
    }
}

impl MailConfig {
    fn options(&self, password: Option<SecretString>) -> Result<MailOptions, GateConfigError> {
        match (self.directory.clone(), self.smtp.clone(), self.from.clone()) {
            (None, None, None) => Ok(MailOptions::None),
            (Some(directory), None, None) => Ok(MailOptions::Directory(directory)),
            (None, Some(url), Some(from)) => Ok(MailOptions::Smtp(SmtpOptions { url, from, password })),
            _ => Err(GateConfigError::Mail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(gate: &str, mail: &str) -> Result<GateOptions, GateConfigError> {
        let gate: GateConfig = toml::from_str(gate).unwrap();
        gate.options(&toml::from_str(mail).unwrap(), None)
    }

    #[test]
    fn what_is_said_counts_and_the_rest_is_as_usual() {
        let usual = options("", "").unwrap();
        assert!(matches!(usual.mail, MailOptions::None) && !usual.no_sign_up);
        assert_eq!(usual.wallets, WalletOptions::default());
        let said = options(
            "no_sign_up = true\nfaucet_credits = \"2.5\"\ndomains = [\"account.example.org:8443\"]\nchain_ids = [10]",
            "smtp = \"smtps://user@mail.example.org\"\nfrom = \"R <a@example.org>\"",
        )
        .unwrap();
        assert!(matches!(said.mail, MailOptions::Smtp(_)) && said.no_sign_up);
        assert_eq!(said.wallets.domains, ["account.example.org:8443"]);
        assert_eq!(said.wallets.chain_ids, [10]);
        assert_eq!(said.faucet, Some(Credits::from_micros(2_500_000)));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (gate, mail, expected) in [
            ("chain_ids = []", "", GateConfigError::NoChain),
            ("domains = [\"https://example.org\"]", "", GateConfigError::Domain),
            ("domains = [\"\"]", "", GateConfigError::Domain),
            ("", "from = \"a@b.c\"", GateConfigError::Mail),
            ("", "smtp = \"smtp://localhost\"", GateConfigError::Mail),
            (
                "",
                "smtp = \"smtp://localhost\"\nfrom = \"a@b.c\"\ndirectory = \"x\"",
                GateConfigError::Mail,
            ),
        ] {
            assert_eq!(options(gate, mail).unwrap_err(), expected, "{gate} {mail}");
        }
        assert!(toml::from_str::<GateConfig>("domain = \"x\"").is_err());
    }
}
