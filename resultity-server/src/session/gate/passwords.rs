//! Passwords: what one has to be like, Argon2id, and how many are hashed at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use resultity_core::clock::Entropy;
use resultity_core::error::{ApiError, ErrorCode};
use tokio::sync::Semaphore;

use crate::store::identity::PasswordHash;

/// The shortest and the longest password, in characters.
const SHORTEST: usize = 10;
const LONGEST: usize = 256;

/// How many may be hashed or wait for it. Beyond that whoever comes is asked to come again.
const ROOM: usize = 64;

/// What is compared with where there is no account, so that this takes as long: the same parameters, and a hash that no
/// password has.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and compares passwords, a few at once: each takes 19 MiB and some hundredths of a second of a core.
#[derive(Clone)]
pub struct Passwords {
    room: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            room: Arc::new(Semaphore::new(ROOM)),
            // The other half is for jobs.
            running: Arc::new(Semaphore::new((cores / 2).clamp(1, 8))),
        }
    }
}

impl Passwords {
    /// Whether it can be a password; `param` is the field that it came in.
    ///
    /// # Errors
    /// It is too short or too long.
    pub fn check(password: &str, param: &str) -> Result<(), ApiError> {
        if (SHORTEST..=LONGEST).contains(&password.chars().count()) {
            return Ok(());
        }
        let message = format!("{param} must have {SHORTEST} to {LONGEST} characters");
        Err(ApiError::new(ErrorCode::InvalidValue, message).with_param(param))
    }

    /// The hash of a password, with a new salt.
    ///
    /// # Errors
    /// Too many wait.
    pub async fn hash(&self, password: &str, entropy: &dyn Entropy) -> Result<PasswordHash, ApiError> {
        let mut salt = [0; 16];
        entropy.fill(&mut salt);
        let password = password.to_owned();
        let hashed = self.work(move || argon2().hash_password_with_salt(password.as_bytes(), &salt));
        let hash = hashed.await?.map_err(|error| {
            tracing::error!(%error, "a password could not be hashed");
            ApiError::new(ErrorCode::Internal, "the password could not be hashed")
        })?;
        Ok(PasswordHash(hash.to_string()))
    }

    /// Whether this is the password; takes as long where there is none.
    ///
    /// # Errors
    /// Too many wait.
    pub async fn verify(&self, password: &str, hash: Option<&PasswordHash>) -> Result<bool, ApiError> {
        if password.chars().count() > LONGEST {
            return Ok(false);
        }
        let is_there = hash.is_some();
        let hash = hash.map_or_else(|| NOBODY.to_owned(), |hash| hash.0.clone());
        let password = password.to_owned();
        let verified = self.work(move || {
            Phc::new(&hash).is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok())
        });
        Ok(verified.await? && is_there)
    }

    /// Does it on a thread that may block, when there is room.
    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        let busy = || {
            ApiError::new(ErrorCode::NoCapacity, "too many are signing in: try again in a moment")
                .with_retry_after(Duration::from_secs(1))
        };
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| busy())?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| busy())?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((running, room));
            done
        });
        done.await
            .map_err(|_| ApiError::new(ErrorCode::Internal, "the password could not be looked at"))
    }
}

/// Argon2id with what OWASP recommends: 19 MiB, two passes, one lane.
fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::SeededEntropy;

    #[tokio::test]
    async fn a_password_fits_its_hash_alone() {
        let (passwords, entropy) = (Passwords::default(), SeededEntropy::new(1));
        let hash = passwords.hash("correct horse battery", &entropy).await.unwrap();
        let again = passwords.hash("correct horse battery", &entropy).await.unwrap();
        assert_ne!(hash, again, "the salt is another one");
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.0);
        assert!(passwords.verify("correct horse battery", Some(&hash)).await.unwrap());
        for wrong in ["correct horse batterY", "", &"x".repeat(1000)] {
            assert!(!passwords.verify(wrong, Some(&hash)).await.unwrap());
        }
        assert!(!passwords.verify("correct horse battery", None).await.unwrap());
        assert!(!format!("{hash:?}").contains("argon2"));
    }

    #[test]
    fn the_hash_of_nobody_takes_as_long_as_any() {
        let nobody = Phc::new(NOBODY).unwrap();
        assert_eq!(nobody.params.get_str("m"), Some("19456"));
        assert_eq!(Params::try_from(&nobody).unwrap().m_cost(), Params::DEFAULT.m_cost());
        assert_eq!(Params::try_from(&nobody).unwrap().t_cost(), Params::DEFAULT.t_cost());
    }

    #[tokio::test]
    async fn those_that_find_no_room_are_told_to_come_again() {
        let passwords = Passwords {
            room: Arc::new(Semaphore::new(0)),
            running: Arc::new(Semaphore::new(1)),
        };
        let error = passwords.verify("x", None).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::NoCapacity);
        assert!(error.retry_after.is_some());
    }

    #[test]
    fn a_password_has_ten_to_256_characters() {
        for (password, good) in [
            ("x".repeat(9), false),
            ("x".repeat(10), true),
            ("ü".repeat(256), true),
            ("ü".repeat(257), false),
        ] {
            assert_eq!(
                Passwords::check(&password, "password").is_ok(),
                good,
                "{}",
                password.len()
            );
        }
    }
}
