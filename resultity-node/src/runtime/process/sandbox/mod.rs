//! What shuts an engine in: a program that gives up its rights, one after the other, and then becomes the engine.
//!
//! ```text
//! Agent ──stdin──▶ outer: own namespaces; passes a socket on; waits ──▶ inner: limits, Landlock ──exec──▶ engine
//! ```
//! The outer one ends the engine when its standard input ends, which it does when the Agent is gone, however it went. The
//! inner one asks the kernel to be killed when the outer one is. Both are our own binary, called anew, because nothing of
//! this can be done between `fork` and `exec` without unsafe code.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

mod inner;
#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod namespaces;
mod outer;
mod pass_on;

/// The word that makes a program the sandbox.
pub const COMMAND: &str = "engine-sandbox";

/// The word for its second stage.
const INNER: &str = "--inner";

/// Folders where programs of all users keep temporary files, and share memory.
#[cfg(target_os = "linux")]
const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// It could not shut the engine in as was required, or could not start it.
const REFUSED: u8 = 78;

/// The sandbox, if this process was called as one; else nothing.
///
/// Call it first of all in `main`, before anything has started a thread, and end with what it gives.
pub fn take_over(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != COMMAND {
        return None;
    }
    let rest: Vec<String> = arguments.filter_map(|argument| argument.into_string().ok()).collect();
    let ended = match rest.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [INNER, held, policy] => read(held).and_then(|held| inner::run(&read(policy)?, held)),
        [policy] => read(policy).and_then(|policy| outer::run(&policy, policy_text(&rest))),
        _ => Err("it is called by an Agent, with a policy".to_owned()),
    };
    Some(ended.unwrap_or_else(|reason| {
        eprintln!("engine-sandbox: {reason}");
        ExitCode::from(REFUSED)
    }))
}

fn policy_text(rest: &[String]) -> &str {
    rest.first().map_or("", String::as_str)
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("its policy can't be read: {error}"))
}

/// What an engine may do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Policy {
    /// The program and its arguments.
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// What it may read, and run.
    pub(super) readable: Vec<PathBuf>,
    /// What it may write to as well.
    pub(super) writable: Vec<PathBuf>,
    /// Where it begins.
    pub(super) folder: PathBuf,
    /// Where to write down which protections hold.
    pub(super) report: PathBuf,
    /// Whether it must not start without them.
    pub(super) required: bool,
    /// Whether it opens connections to itself.
    pub(super) uses_loopback: bool,
    /// A Unix socket that is passed on to a port of loopback.
    pub(super) pass_on: Option<(PathBuf, u16)>,
    /// The largest file that it may write.
    pub(super) max_file_bytes: Option<u64>,
}

/// What an engine can reach over networks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Network {
    /// Whatever this machine can.
    #[default]
    Open,
    /// It can't open TCP connections, nor listen on a port; other protocols are open.
    NoTcp,
    /// Itself alone, in a network namespace of its own.
    Itself,
}

/// What keeps an engine from doing harm, as far as this system allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Protections {
    /// What it can reach over networks.
    pub network: Network,
    /// It sees its model and programs alone, can change neither, and writes to one folder.
    pub files: bool,
    /// It can't connect to Unix sockets of other programs.
    pub sockets: bool,
    /// Folders for temporary files are its own, or closed to it: it meets no other program there, and nothing that it leaves
    /// there outlives it.
    pub temporary: bool,
    /// It can signal no processes but its own.
    pub processes: bool,
    /// It can't gain rights by what it runs.
    pub privileges: bool,
    /// It ends with the Agent, and so does all that it has started, also if the Agent is killed.
    pub ends_with_agent: bool,
}

impl Protections {
    /// What does not hold, in words.
    pub fn missing(self) -> Vec<&'static str> {
        let network = match self.network {
            Network::Open => "it can reach the network",
            Network::NoTcp => "it can reach the network by other protocols than TCP",
            Network::Itself => "",
        };
        let all = [
            (self.network == Network::Itself, network),
            (self.files, "it can read and change all files of this user"),
            (self.sockets, "it can connect to Unix sockets of this user"),
            (
                self.temporary,
                "it shares folders for temporary files with other programs",
            ),
            (self.processes, "it can signal other processes of this user"),
            (self.privileges, "it may gain rights by set-user-id programs"),
            (
                self.ends_with_agent,
                "what it has started may outlive an Agent that is killed, until the next start",
            ),
        ];
        all.into_iter()
            .filter_map(|(holds, words)| (!holds).then_some(words))
            .collect()
    }

    /// Whether it has no way to the network but itself, no files but its own, and no way to other programs.
    pub const fn is_shut_in(self) -> bool {
        self.files
            && self.sockets
            && self.temporary
            && self.processes
            && self.privileges
            && matches!(self.network, Network::Itself)
    }
}

impl fmt::Display for Protections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = match self.network {
            Network::Open => "",
            Network::NoTcp => "no TCP",
            Network::Itself => "no network",
        };
        let all = [
            (self.network != Network::Open, network),
            (self.files, "its own files alone"),
            (self.sockets, "no sockets of others"),
            (self.temporary, "temporary files of its own"),
            (self.processes, "no signals to others"),
            (self.privileges, "no new privileges"),
            (self.ends_with_agent, "ends with the Agent"),
        ];
        let held: Vec<_> = all
            .into_iter()
            .filter_map(|(holds, words)| holds.then_some(words))
            .collect();
        f.write_str(&if held.is_empty() {
            "none".to_owned()
        } else {
            held.join(", ")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_makes_a_program_the_sandbox() {
        let call = |arguments: &[&str]| take_over(arguments.iter().map(OsString::from)).is_some();
        assert!(!call(&[]) && !call(&["node"]) && !call(&["node", "run", COMMAND]));
        assert!(
            call(&["node", COMMAND]) && call(&["node", COMMAND, "{}"]) && call(&["node", COMMAND, INNER, "{}", "{}"])
        );
    }

    #[test]
    fn protections_are_told_in_words() {
        let none = Protections::default();
        assert_eq!((none.to_string(), none.missing().len()), ("none".to_owned(), 7));
        let all = Protections {
            network: Network::Itself,
            files: true,
            sockets: true,
            temporary: true,
            processes: true,
            privileges: true,
            ends_with_agent: true,
        };
        assert!(all.missing().is_empty() && all.is_shut_in());
        assert!(all.to_string().starts_with("no network, its own files alone"), "{all}");
        let without: [fn(&mut Protections); 6] = [
            |held| held.network = Network::NoTcp,
            |held| held.files = false,
            |held| held.sockets = false,
            |held| held.temporary = false,
            |held| held.processes = false,
            |held| held.privileges = false,
        ];
        for take in without {
            let mut held = all;
            take(&mut held);
            assert!(!held.is_shut_in(), "{held:?}");
        }
    }
}
