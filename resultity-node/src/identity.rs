//! Who a node is: its key in an encrypted file, and the network that it trusts.
//!
//! ```text
//! DATA_DIR/node-key.json          the key, an Ethereum version 3 keystore, mode 0600
//! DATA_DIR/keystore-password      only where no passphrase is given: a random one, mode 0600
//! DATA_DIR/testnet/network.json   the network's key, pinned at first contact
//! ```

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use resultity_core::Address;
use resultity_core::clock::Entropy;
use resultity_core::environment::Environment;
use resultity_core::signing::keystore::{self, ScryptCost};
use resultity_core::signing::{BrokenChain, Domain, KeyChain, Keypair};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// The environment variable that holds the passphrase of the keystore.
pub const PASSWORD_VARIABLE: &str = "RESULTITY_KEYSTORE_PASSWORD";

const KEY_FILE: &str = "node-key.json";
const PASSWORD_FILE: &str = "keystore-password";
const PIN_FILE: &str = "network.json";

/// Why a node's identity, or the network that it trusts, cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file or directory cannot be used.
    #[error("cannot {action} {}: {source}. Check that the directory exists, is writable and has space", .path.display())]
    File {
        /// What was tried, such as `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The passphrase does not fit, or the file is damaged.
    #[error("cannot unlock the node's key in {}: {reason}. Give the passphrase that it was made with, in {PASSWORD_VARIABLE} or with --keystore-password-file", .path.display())]
    Locked {
        /// The keystore.
        path: PathBuf,
        /// What the keystore says.
        reason: String,
    },
    /// The passphrase is empty.
    #[error("the keystore passphrase is empty: give one, or none at all to have one made")]
    EmptyPassword,
    /// The pinned network is another one than was asked for.
    #[error("this node trusts the network with the key {pinned}, not {offered}. To join another network, use another --data-dir; if the network has really changed its key, delete {} and start again", .path.display())]
    OtherNetwork {
        /// The key that was pinned.
        pinned: Address,
        /// The key that was asked for, or that the server shows.
        offered: Address,
        /// Where it is pinned.
        path: PathBuf,
    },
    /// `network.json` is damaged.
    #[error("{} is damaged: {reason}. Delete it to pin the network again at the next contact", .path.display())]
    Pin {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_owned();
    move |source| IdentityError::File { action, path, source }
}

/// Where the passphrase of the keystore comes from.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum PasswordSource {
    /// A random one, kept in a file of mode 0600 beside the keystore.
    #[default]
    Generated,
    /// This one.
    Given(SecretString),
    /// The first line of this file.
    File(PathBuf),
}

impl PasswordSource {
    /// The file if there is one, else [`PASSWORD_VARIABLE`] if it is set, else a generated one.
    pub fn from_file_or_environment(file: Option<PathBuf>) -> Self {
        match (file, std::env::var(PASSWORD_VARIABLE)) {
            (Some(file), _) => Self::File(file),
            (None, Ok(password)) => Self::Given(password.into()),
            (None, Err(_)) => Self::Generated,
        }
    }
}

/// The key of a node.
#[derive(Clone)]
pub struct Identity {
    key: Keypair,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("address", &self.key.address())
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the key in `data_dir`, or makes one on the first start. It unlocks a keystore, which takes up to half a
    /// second of CPU: not for a thread that others wait for.
    pub fn open(data_dir: &Path, password: &PasswordSource, entropy: &dyn Entropy) -> Result<Self, IdentityError> {
        create_private_dir(data_dir)?;
        let path = data_dir.join(KEY_FILE);
        match fs::read_to_string(&path) {
            Ok(json) => Self::unlock(&path, &json, &password.read(data_dir, None)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let password_text = password.read(data_dir, Some(entropy))?;
                let key = Keypair::generate(entropy);
                // The cost protects passphrases that people think of. A generated one has 256 bits: guessing it is hopeless
                // at any cost, so that a start need not pay for it.
                let cost = match password {
                    PasswordSource::Generated => ScryptCost::light(),
                    _ => ScryptCost::standard(),
                };
                let json = keystore::encrypt(&key, password_text.expose_secret().as_bytes(), cost, entropy);
                match create_private(&path, json.as_bytes()) {
                    Ok(()) => Ok(Self { key }),
                    // Another process was faster: its key is the node's.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        let json = fs::read_to_string(&path).map_err(file_error("read", &path))?;
                        Self::unlock(&path, &json, &password.read(data_dir, None)?)
                    }
                    Err(error) => Err(file_error("write", &path)(error)),
                }
            }
            Err(error) => Err(file_error("read", &path)(error)),
        }
    }

    fn unlock(path: &Path, json: &str, password: &SecretString) -> Result<Self, IdentityError> {
        keystore::decrypt(json, password.expose_secret().as_bytes())
            .map(|key| Self { key })
            .map_err(|error| IdentityError::Locked {
                path: path.to_owned(),
                reason: error.to_string(),
            })
    }

    /// The key.
    pub const fn key(&self) -> &Keypair {
        &self.key
    }
}

impl PasswordSource {
    /// The passphrase. A missing generated one is made if there is entropy for it.
    fn read(&self, data_dir: &Path, entropy: Option<&dyn Entropy>) -> Result<SecretString, IdentityError> {
        let text = match self {
            Self::Given(password) => password.clone(),
            Self::File(path) => read_line(path)?,
            Self::Generated => {
                let path = data_dir.join(PASSWORD_FILE);
                if let Some(entropy) = entropy {
                    let mut bytes = [0; 32];
                    entropy.fill(&mut bytes);
                    let password = hexadecimal(&bytes);
                    match create_private(&path, password.as_bytes()) {
                        Ok(()) => return Ok(password.into()),
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                        Err(error) => return Err(file_error("write", &path)(error)),
                    }
                }
                read_line(&path)?
            }
        };
        if text.expose_secret().is_empty() {
            Err(IdentityError::EmptyPassword)
        } else {
            Ok(text)
        }
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn read_line(path: &Path) -> Result<SecretString, IdentityError> {
    let text = fs::read_to_string(path).map_err(file_error("read the keystore passphrase in", path))?;
    Ok(text.lines().next().unwrap_or_default().to_owned().into())
}

/// The network that a node trusts, per environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPin {
    /// The address of the network's key.
    pub network_key: Address,
    /// The address of its first key, which every signature's domain holds.
    pub genesis: Address,
    /// The keys that the network had before, as far as this node has followed them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Address>,
}

impl NetworkPin {
    /// A network that was met with this key.
    pub const fn new(network_key: Address, genesis: Address) -> Self {
        Self {
            network_key,
            genesis,
            former: Vec::new(),
        }
    }

    /// The network with this first key, at the end of a chain that leads from the key that is trusted to the current one.
    ///
    /// # Errors
    /// The chain is another network's, or does not lead there.
    pub fn follow(
        chain: &KeyChain,
        trusted: Address,
        genesis: Address,
        environment: Environment,
    ) -> Result<Self, BrokenChain> {
        if chain.genesis != genesis || chain.environment != environment {
            return Err(BrokenChain::OtherNetwork(chain.genesis));
        }
        let network_key = chain.follow(trusted)?;
        Ok(Self {
            former: chain.keys().filter(|key| *key != network_key).collect(),
            ..Self::new(network_key, genesis)
        })
    }

    /// Whether this is one of the network's keys, the current one or one before it.
    pub fn knows(&self, key: Address) -> bool {
        key == self.network_key || key == self.genesis || self.former.contains(&key)
    }

    /// The pin in this directory, if the network was met before.
    pub fn load(environment_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = environment_dir.join(PIN_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| IdentityError::Pin {
                    path,
                    reason: error.to_string(),
                }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file_error("read", &path)(error)),
        }
    }

    /// Writes it down.
    pub fn store(&self, environment_dir: &Path) -> Result<(), IdentityError> {
        let path = Self::path(environment_dir);
        let text = serde_json::to_string(self).expect("addresses are JSON");
        replace_private(&path, text.as_bytes(), Durable::Yes).map_err(file_error("write", &path))
    }

    /// The file that holds it.
    pub fn path(environment_dir: &Path) -> PathBuf {
        environment_dir.join(PIN_FILE)
    }

    /// Where signatures count.
    pub fn domain(&self, environment: Environment) -> Domain {
        Domain::new(environment, self.genesis)
    }
}

/// Makes a directory that only its owner can look into; one that is there stays as it is.
pub(crate) fn create_private_dir(path: &Path) -> Result<(), IdentityError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(file_error("create", path))
}

/// Options for a file that only its owner can read.
pub(crate) fn private_options() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a file of mode 0600 that is either whole or not there; fails if it is there already. It is written under a
/// name of its own and linked, so that a crash in the middle never leaves half a key.
fn create_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = write_beside(path, content, Durable::Yes)?;
    let linked = fs::hard_link(&temporary, path);
    let removed = fs::remove_file(&temporary);
    linked.and(removed)
}

/// Whether a file has to survive the machine, not just this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    /// Wait for the disk.
    Yes,
    /// The kernel's page cache will do.
    No,
}

/// Replaces a file by one of mode 0600, in one step.
pub(crate) fn replace_private(path: &Path, content: &[u8], durable: Durable) -> io::Result<()> {
    let temporary = write_beside(path, content, durable)?;
    fs::rename(temporary, path)
}

fn write_beside(path: &Path, content: &[u8], durable: Durable) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    // What a crash of a process with the same number left behind.
    if let Err(error) = fs::remove_file(&temporary)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = private_options().write(true).create_new(true).open(&temporary)?;
    file.write_all(content)?;
    if durable == Durable::Yes {
        file.sync_all()?;
    }
    Ok(temporary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::{SeededEntropy, SystemEntropy};

    #[test]
    fn the_second_start_finds_the_same_key_and_files_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("node");
        let first = Identity::open(&data_dir, &PasswordSource::Generated, &SystemEntropy).unwrap();
        let second = Identity::open(&data_dir, &PasswordSource::Generated, &SystemEntropy).unwrap();
        assert_eq!(first.key().address(), second.key().address());
        let names: Vec<_> = fs::read_dir(&data_dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 2, "no temporary file is left: {names:?}");
        #[cfg(unix)]
        for name in [KEY_FILE, PASSWORD_FILE] {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(data_dir.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_wrong_passphrase_is_an_error_that_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let given = |text: &str| PasswordSource::Given(text.to_owned().into());
        Identity::open(dir.path(), &given("one"), &SeededEntropy::new(1)).unwrap();
        let error = Identity::open(dir.path(), &given("two"), &SeededEntropy::new(1))
            .unwrap_err()
            .to_string();
        assert!(error.contains(PASSWORD_VARIABLE) && !error.contains("two"), "{error}");
        let file = dir.path().join("password");
        fs::write(&file, "one\n").unwrap();
        assert!(Identity::open(dir.path(), &PasswordSource::File(file), &SeededEntropy::new(1)).is_ok());
        assert!(matches!(
            Identity::open(dir.path(), &given(""), &SeededEntropy::new(1)),
            Err(IdentityError::EmptyPassword)
        ));
    }

    #[test]
    fn a_pin_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(NetworkPin::load(dir.path()).unwrap(), None);
        let mut pin = NetworkPin::new(Address::repeat_byte(1), Address::repeat_byte(2));
        pin.store(dir.path()).unwrap();
        assert_eq!(NetworkPin::load(dir.path()).unwrap().as_ref(), Some(&pin));
        pin.former.push(Address::repeat_byte(3));
        let known = [1, 2, 3, 4].map(|byte| pin.knows(Address::repeat_byte(byte)));
        assert_eq!(known, [true, true, true, false]);
        pin.store(dir.path()).unwrap();
        assert_eq!(NetworkPin::load(dir.path()).unwrap(), Some(pin));
        fs::write(NetworkPin::path(dir.path()), "{").unwrap();
        assert!(matches!(NetworkPin::load(dir.path()), Err(IdentityError::Pin { .. })));
    }
}
