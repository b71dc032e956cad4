//! Money: integer micro-credits, and what a request costs. No floats anywhere near it.

pub mod decimal;
pub mod decimal_if_any;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An amount in micro-credits (1 credit = 1 000 000). On the wire it is that integer; people see credits.
///
/// ```
/// use resultity_core::credits::Credits;
/// let amount: Credits = "1.5".parse()?;
/// assert_eq!(amount.micros(), 1_500_000);
/// assert_eq!(amount.to_string(), "1.5");
/// # Ok::<(), resultity_core::credits::InvalidCredits>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credits(i64);

impl Credits {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Micro-credits in one credit.
    pub const MICROS: i64 = 1_000_000;

    /// An amount in micro-credits.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// An amount in whole credits, saturating.
    pub const fn from_whole(credits: i64) -> Self {
        Self(credits.saturating_mul(Self::MICROS))
    }

    /// The amount in micro-credits.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The sum, or nothing where it does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or nothing where it does not fit.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// This share of the amount, rounded down: `basis_points` of 10 000.
    #[must_use]
    pub fn share(self, basis_points: u16) -> Self {
        let part = i128::from(self.0) * i128::from(basis_points) / 10_000;
        Self(i64::try_from(part).unwrap_or(self.0))
    }
}

impl std::ops::Neg for Credits {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl fmt::Display for Credits {
    /// In credits, without trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        let (whole, part) = (
            micros / Self::MICROS.unsigned_abs(),
            micros % Self::MICROS.unsigned_abs(),
        );
        if part == 0 {
            return write!(f, "{sign}{whole}");
        }
        let part = format!("{part:06}");
        write!(f, "{sign}{whole}.{}", part.trim_end_matches('0'))
    }
}

/// A text that is not an amount of credits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an amount of credits such as 10 or 0.25, with at most six decimals")]
pub struct InvalidCredits;

impl FromStr for Credits {
    type Err = InvalidCredits;
    /// Reads a decimal amount of credits: digits, at most one point, at most six decimals, no exponent.
    fn from_str(text: &str) -> Result<Self, InvalidCredits> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(whole) || !all_digits(part) || part.len() > 6 {
            return Err(InvalidCredits);
        }
        let whole: i64 = whole.parse().map_err(|_| InvalidCredits)?;
        let part: i64 = format!("{part:0<6}").parse().map_err(|_| InvalidCredits)?;
        let micros = whole
            .checked_mul(Self::MICROS)
            .and_then(|micros| micros.checked_add(part))
            .ok_or(InvalidCredits)?;
        Ok(Self(if negative { -micros } else { micros }))
    }
}

/// What a model costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Price {
    /// Micro-credits per one million prompt tokens.
    #[cfg_attr(feature = "openapi", schema(value_type = i64))]
    pub input_per_million: Credits,
    /// Micro-credits per one million completion tokens.
    #[cfg_attr(feature = "openapi", schema(value_type = i64))]
    pub output_per_million: Credits,
    /// Micro-credits per request.
    #[cfg_attr(feature = "openapi", schema(value_type = i64))]
    pub per_request: Credits,
}

impl Price {
    /// What this many tokens cost, rounded up to one micro-credit; saturates at the largest amount.
    pub fn cost(&self, prompt_tokens: u64, completion_tokens: u64) -> Credits {
        // Each product fits into 128 bits; their sum may not.
        let tokens = (i128::from(prompt_tokens) * i128::from(self.input_per_million.0))
            .saturating_add(i128::from(completion_tokens) * i128::from(self.output_per_million.0));
        let micros = tokens.saturating_add(999_999) / 1_000_000 + i128::from(self.per_request.0);
        Credits(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_fraction_of_a_micro_credit_is_rounded_up() {
        let price = Price {
            input_per_million: Credits::from_micros(1),
            output_per_million: Credits::from_micros(1_500_000),
            per_request: Credits::from_micros(10),
        };
        assert_eq!(price.cost(0, 0), Credits::from_micros(10));
        assert_eq!(price.cost(1, 0), Credits::from_micros(11));
        assert_eq!(price.cost(0, 3), Credits::from_micros(15));
        assert_eq!(price.cost(u64::MAX, u64::MAX), Credits::from_micros(i64::MAX));
        let most = Credits::from_micros(i64::MAX);
        let dearest = Price {
            input_per_million: most,
            output_per_million: most,
            per_request: most,
        };
        assert_eq!(dearest.cost(u64::MAX, u64::MAX), most);
    }

    #[test]
    fn bad_amounts_are_refused() {
        for bad in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "1e3",
            "1.0000000",
            "+1",
            " 1",
            "99999999999999999999",
            "1.2.3",
            "NaN",
        ] {
            assert_eq!(bad.parse::<Credits>(), Err(InvalidCredits), "{bad:?}");
        }
    }

    proptest! {
        /// Digits, signs and points in any order: what is read is shown in one form, which reads as the same.
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,6}|-?[0-9.]{0,24}") {
            if let Ok(amount) = text.parse::<Credits>() {
                prop_assert_eq!(amount.to_string().parse::<Credits>(), Ok(amount));
            }
        }

        #[test]
        fn what_is_shown_reads_back(micros in -i64::MAX..i64::MAX) {
            let amount = Credits::from_micros(micros);
            prop_assert_eq!(amount.to_string().parse::<Credits>().unwrap(), amount);
        }

        #[test]
        fn more_tokens_never_cost_less(input in 0i64..10_000_000_000, output in 0i64..10_000_000_000, a in 0u64..1_000_000, b in 0u64..1_000_000, more in 0u64..1000) {
            let price = Price { input_per_million: Credits(input), output_per_million: Credits(output), per_request: Credits::ZERO };
            prop_assert!(price.cost(a, b) <= price.cost(a + more, b));
            prop_assert!(price.cost(a, b) <= price.cost(a, b + more));
        }
    }
}
