//! Encrypted key files: the Web3 Secret Storage definition, version 3, as Ethereum wallets write it.
//!
//! Here is only the text; whoever writes it to disk gives the file mode 0600. Deriving the key from the password takes
//! some tenths of a second of pure computing: call it off the async threads.

use aes::Aes128;
use alloy_primitives::{Address, keccak256};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::clock::Entropy;
use crate::signing::Keypair;

/// The most memory that unlocking a file may take: 512 MiB. Wallets use 256.
const MAX_MEMORY: u64 = 512 << 20;
/// The most memory times passes, so that a file cannot keep us busy for minutes.
const MAX_WORK: u64 = 4 * MAX_MEMORY;
/// Bytes of the key that is derived: half of it encrypts, half of it authenticates.
const DERIVED: usize = 32;
const CIPHER: &str = "aes-128-ctr";
const KDF: &str = "scrypt";

/// What it costs to try one password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScryptCost {
    log_n: u8,
    r: u32,
    p: u32,
}

impl ScryptCost {
    /// For real keys: n = 2^14, r = 8, p = 5, which OWASP rates as strong as n = 2^17 with p = 1. It takes 16 MiB
    /// instead of 128, and less than half a second in an optimised build, because a node and `dev` unlock their key at
    /// every start and have to be quick and small.
    pub const fn standard() -> Self {
        Self { log_n: 14, r: 8, p: 5 }
    }

    /// For tests: a few milliseconds even unoptimised, and no protection worth the name.
    pub const fn light() -> Self {
        Self { log_n: 4, r: 8, p: 1 }
    }
}

/// A keystore that cannot be unlocked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// Not JSON, or a field is missing.
    #[error("not an Ethereum keystore of version 3: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A keystore, but of another version.
    #[error("keystore version {0} is not supported: only version 3 is")]
    UnsupportedVersion(u64),
    /// Encrypted with another cipher.
    #[error("keystore cipher {0:?} is not supported: only aes-128-ctr is")]
    UnsupportedCipher(String),
    /// The key comes from the password by another function.
    #[error("keystore kdf {0:?} is not supported: only scrypt is")]
    UnsupportedKdf(String),
    /// scrypt parameters that make no sense or ask for too much memory or time.
    #[error("the keystore's scrypt parameters are invalid or ask for more than 512 MiB of memory")]
    Parameters,
    /// A field does not hold the bytes that it should.
    #[error("the keystore's {0} is not valid hexadecimal of the right length")]
    InvalidField(&'static str),
    /// The password does not fit, or the file was damaged: the two cannot be told apart.
    #[error("wrong password, or the keystore is damaged")]
    WrongPassword,
    /// What was unlocked is not the key that the file names.
    #[error("the keystore does not hold the key of the address that it names")]
    WrongKey,
}

#[derive(Serialize, Deserialize)]
struct Keystore {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    // Old wallets wrote it with a capital letter.
    #[serde(alias = "Crypto")]
    crypto: Crypto,
    #[serde(default)]
    id: String,
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    kdf: String,
    // Its fields depend on `kdf`.
    kdfparams: Box<RawValue>,
    mac: String,
}

#[derive(Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Serialize, Deserialize)]
struct ScryptParams {
    dklen: u64,
    n: u64,
    p: u32,
    r: u32,
    salt: String,
}

/// Encrypts a key under a password, as the JSON text of a version 3 keystore.
///
/// ```
/// use resultity_core::clock::{SeededEntropy, SystemEntropy};
/// use resultity_core::signing::{Keypair, keystore};
///
/// let key = Keypair::generate(&SystemEntropy);
/// let file = keystore::encrypt(&key, b"a long passphrase", keystore::ScryptCost::light(), &SystemEntropy);
/// assert_eq!(keystore::decrypt(&file, b"a long passphrase")?.address(), key.address());
/// assert!(keystore::decrypt(&file, b"another").is_err());
/// # Ok::<(), keystore::KeystoreError>(())
/// ```
pub fn encrypt(key: &Keypair, password: &[u8], cost: ScryptCost, entropy: &dyn Entropy) -> String {
    let (mut salt, mut iv, mut id) = ([0; 32], [0; 16], [0; 16]);
    entropy.fill(&mut salt);
    entropy.fill(&mut iv);
    entropy.fill(&mut id);
    let params = scrypt::Params::new(cost.log_n, cost.r, cost.p).expect("the costs above are in range");
    let derived = derive(password, &salt, &params);
    let mut ciphertext = key.to_bytes();
    apply_cipher(&derived, &iv, ciphertext.as_mut());
    let kdfparams = ScryptParams {
        dklen: DERIVED as u64,
        n: 1 << cost.log_n,
        p: cost.p,
        r: cost.r,
        salt: hex::encode(salt),
    };
    let keystore = Keystore {
        address: Some(hex::encode(key.address())),
        crypto: Crypto {
            cipher: CIPHER.to_owned(),
            cipherparams: CipherParams { iv: hex::encode(iv) },
            ciphertext: hex::encode(&ciphertext[..]),
            kdf: KDF.to_owned(),
            kdfparams: serde_json::value::to_raw_value(&kdfparams).expect("plain fields"),
            mac: hex::encode(mac(&derived, &ciphertext[..])),
        },
        id: uuid::Builder::from_random_bytes(id).into_uuid().to_string(),
        version: 3,
    };
    serde_json::to_string_pretty(&keystore).expect("plain fields")
}

/// Unlocks a version 3 keystore: AES-128-CTR with scrypt, by this crate or any Ethereum wallet.
pub fn decrypt(json: &str, password: &[u8]) -> Result<Keypair, KeystoreError> {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    let Version { version } = serde_json::from_str(json)?;
    if version != 3 {
        return Err(KeystoreError::UnsupportedVersion(version));
    }
    let Keystore { address, crypto, .. } = serde_json::from_str(json)?;
    if crypto.cipher != CIPHER {
        return Err(KeystoreError::UnsupportedCipher(shown(&crypto.cipher)));
    }
    if crypto.kdf != KDF {
        return Err(KeystoreError::UnsupportedKdf(shown(&crypto.kdf)));
    }
    let kdf: ScryptParams = serde_json::from_str(crypto.kdfparams.get())?;
    let params = checked(&kdf)?;
    let salt = hex::decode(&kdf.salt).map_err(|_| KeystoreError::InvalidField("salt"))?;
    let iv: [u8; 16] = bytes(&crypto.cipherparams.iv, "iv")?;
    let mut secret = Zeroizing::new(bytes::<32>(&crypto.ciphertext, "ciphertext")?);
    let expected: [u8; 32] = bytes(&crypto.mac, "mac")?;

    let derived = derive(password, &salt, &params);
    if !bool::from(mac(&derived, secret.as_ref()).ct_eq(&expected)) {
        return Err(KeystoreError::WrongPassword);
    }
    apply_cipher(&derived, &iv, secret.as_mut());
    let key = Keypair::from_bytes(&secret).map_err(|_| KeystoreError::WrongKey)?;
    if let Some(address) = address {
        let named: [u8; 20] = bytes(address.strip_prefix("0x").unwrap_or(&address), "address")?;
        if Address::from(named) != key.address() {
            return Err(KeystoreError::WrongKey);
        }
    }
    Ok(key)
}

/// The parameters of a file, if they are within bounds.
fn checked(kdf: &ScryptParams) -> Result<scrypt::Params, KeystoreError> {
    let memory = kdf
        .n
        .checked_mul(u64::from(kdf.r))
        .and_then(|blocks| blocks.checked_mul(128));
    let work = memory.and_then(|memory| memory.checked_mul(u64::from(kdf.p)));
    let bounded = memory.is_some_and(|memory| memory <= MAX_MEMORY) && work.is_some_and(|work| work <= MAX_WORK);
    if !bounded || !kdf.n.is_power_of_two() || kdf.n < 2 || kdf.dklen != DERIVED as u64 {
        return Err(KeystoreError::Parameters);
    }
    scrypt::Params::new(kdf.n.trailing_zeros() as u8, kdf.r, kdf.p).map_err(|_| KeystoreError::Parameters)
}

fn derive(password: &[u8], salt: &[u8], params: &scrypt::Params) -> Zeroizing<[u8; DERIVED]> {
    let mut derived = Zeroizing::new([0; DERIVED]);
    scrypt::scrypt(password, salt, params, derived.as_mut()).expect("scrypt gives keys of 32 bytes");
    derived
}

/// In counter mode, encrypting and decrypting are the same.
fn apply_cipher(derived: &[u8; DERIVED], iv: &[u8; 16], data: &mut [u8]) {
    let mut cipher = Ctr128BE::<Aes128>::new_from_slices(&derived[..16], iv).expect("both are 16 bytes");
    cipher.apply_keystream(data);
}

fn mac(derived: &[u8; DERIVED], ciphertext: &[u8]) -> [u8; 32] {
    keccak256([&derived[16..], ciphertext].concat()).0
}

fn bytes<const N: usize>(text: &str, field: &'static str) -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| KeystoreError::InvalidField(field))?;
    Ok(bytes)
}

/// A name out of a file, short enough for a message.
fn shown(name: &str) -> String {
    name.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SeededEntropy;
    use rstest::rstest;
    use serde_json::{Value, json};

    /// The scrypt vector of the Web3 Secret Storage definition; its password is `testpassword`.
    const VECTOR: &str = r#"{
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
            "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
            "kdf": "scrypt",
            "kdfparams": {
                "dklen": 32, "n": 262144, "r": 1, "p": 8,
                "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"
            },
            "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"
        },
        "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
        "version": 3
    }"#;

    fn locked() -> (Keypair, Value) {
        let entropy = SeededEntropy::new(5);
        let key = Keypair::generate(&entropy);
        let json = encrypt(&key, b"pass", ScryptCost::light(), &entropy);
        (key, serde_json::from_str(&json).unwrap())
    }

    #[test]
    fn the_vector_of_the_definition_unlocks() {
        let key = decrypt(VECTOR, b"testpassword").unwrap();
        assert_eq!(
            hex::encode(*key.to_bytes()),
            "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
        );
        assert_eq!(key.node_id().to_string(), "0x008aeeda4d805471df9b2a5b0f38a0c3bcba786b");
    }

    #[rstest]
    #[case::light(ScryptCost::light())]
    #[case::standard(ScryptCost::standard())]
    fn what_was_locked_unlocks_with_its_password_alone(#[case] cost: ScryptCost) {
        let entropy = SeededEntropy::new(6);
        let key = Keypair::generate(&entropy);
        let json = encrypt(&key, "pässword".as_bytes(), cost, &entropy);
        assert_eq!(
            decrypt(&json, "pässword".as_bytes()).unwrap().to_bytes(),
            key.to_bytes()
        );
        assert!(matches!(decrypt(&json, b"password"), Err(KeystoreError::WrongPassword)));
        assert!(!json.contains(&hex::encode(*key.to_bytes())));
        assert_ne!(
            encrypt(&key, b"x", ScryptCost::light(), &entropy),
            encrypt(&key, b"x", ScryptCost::light(), &entropy)
        );
    }

    #[test]
    fn the_file_is_what_wallets_expect() {
        let (key, file) = locked();
        assert_eq!(file["version"], 3);
        assert_eq!(file["address"], hex::encode(key.address()));
        assert_eq!(file["crypto"]["cipher"], "aes-128-ctr");
        assert_eq!(file["crypto"]["kdf"], "scrypt");
        assert_eq!(file["crypto"]["kdfparams"]["dklen"], 32);
        assert_eq!(
            uuid::Uuid::parse_str(file["id"].as_str().unwrap())
                .unwrap()
                .get_version_num(),
            4
        );
    }

    #[rstest]
    #[case("/version", json!(1), "version 1 is not supported")]
    #[case("/version", json!("3"), "not an Ethereum keystore")]
    #[case("/crypto", json!(null), "not an Ethereum keystore")]
    #[case("/crypto/cipher", json!("aes-256-gcm"), "cipher \"aes-256-gcm\" is not supported")]
    #[case("/crypto/kdf", json!("pbkdf2"), "kdf \"pbkdf2\" is not supported")]
    #[case("/crypto/kdfparams/n", json!(0), "parameters")]
    #[case("/crypto/kdfparams/n", json!(1), "parameters")]
    #[case("/crypto/kdfparams/n", json!(48), "parameters")]
    #[case("/crypto/kdfparams/n", json!(1u64 << 40), "parameters")]
    #[case("/crypto/kdfparams/n", json!(1u64 << 63), "parameters")]
    #[case("/crypto/kdfparams/r", json!(0), "parameters")]
    #[case("/crypto/kdfparams/r", json!(u32::MAX), "parameters")]
    #[case("/crypto/kdfparams/p", json!(0), "parameters")]
    #[case("/crypto/kdfparams/p", json!(u32::MAX), "parameters")]
    #[case("/crypto/kdfparams/dklen", json!(16), "parameters")]
    #[case("/crypto/kdfparams/salt", json!("xyz"), "salt")]
    #[case("/crypto/cipherparams/iv", json!("00"), "iv")]
    #[case("/crypto/ciphertext", json!("00"), "ciphertext")]
    #[case("/crypto/mac", json!("0x"), "mac")]
    #[case("/crypto/mac", json!("00".repeat(32)), "wrong password")]
    #[case("/crypto/ciphertext", json!("00".repeat(32)), "wrong password")]
    #[case("/address", json!("00".repeat(20)), "does not hold the key")]
    #[case("/address", json!("nonsense"), "address")]
    fn a_bad_file_says_what_is_wrong(#[case] field: &str, #[case] value: Value, #[case] problem: &str) {
        let (_, mut file) = locked();
        *file.pointer_mut(field).unwrap() = value;
        let error = decrypt(&file.to_string(), b"pass").unwrap_err().to_string();
        assert!(error.contains(problem), "{field}: {error}");
    }
}
