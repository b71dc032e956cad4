//! Accounts of the Gate API, made without asking anybody's password or mail.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use resultity_client::GateClient;
use resultity_core::api::gate::{LoginKind, Role, SignInMethod};
use resultity_core::clock::{Clock as _, SystemClock, SystemEntropy};
use resultity_core::id::AccountId;
use resultity_server::mail::MailOptions;
use resultity_server::session::{Gate, GateDoor, GateSession};
use resultity_server::store::identity::{AccountMade, NewAccount};

use super::{TestServer, soon};

/// Where the sessions of tests come from.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A new account with the address `<name>@example.org`, signed in: in-process and over HTTP.
pub async fn account(server: &TestServer, name: &str) -> (AccountId, GateSession, GateClient) {
    account_of(server, name, Role::User).await
}

/// The same of an administrator.
pub async fn administrator(server: &TestServer, name: &str) -> (AccountId, GateSession, GateClient) {
    account_of(server, name, Role::Admin).await
}

async fn account_of(server: &TestServer, name: &str, role: Role) -> (AccountId, GateSession, GateClient) {
    let id = new_account(server, name, role).await;
    let token = sign_in(server, id).await;
    (id, session_of(server, &token).await, client_with(server, &token))
}

/// A new account with the address `<name>@example.org` and without a password.
pub async fn new_account(server: &TestServer, name: &str, role: Role) -> AccountId {
    let account = NewAccount {
        id: AccountId::new(&SystemClock, &SystemEntropy),
        name: name.to_owned(),
        role,
        email: Some(format!("{name}@example.org")),
        password: None,
        now: SystemClock.now(),
    };
    let id = account.id;
    assert_eq!(server.store.create_account(account).await.unwrap(), AccountMade::Made);
    id
}

pub fn gate(server: &TestServer) -> Arc<Gate> {
    Arc::clone(&server.running.app().gate)
}

/// Signs an account in, as a command does; gives the token.
pub async fn sign_in(server: &TestServer, account: AccountId) -> String {
    let signed_in = gate(server)
        .open_login(account, SignInMethod::Password, LoginKind::Command, ADDRESS, "test")
        .await
        .unwrap();
    signed_in.token.unwrap()
}

/// The session of whoever shows this token.
pub async fn session_of(server: &TestServer, token: &str) -> GateSession {
    let gate = gate(server);
    let caller = gate.caller(token, LoginKind::Command, ADDRESS).await.unwrap();
    GateSession::new(gate, caller)
}

/// The way in, in-process.
pub fn door(server: &TestServer) -> GateDoor {
    GateDoor::new(gate(server), ADDRESS, "test".into())
}

/// A client that shows this token and does not try again by itself.
pub fn client_with(server: &TestServer, token: &str) -> GateClient {
    GateClient::builder()
        .base_url(format!("{}/gate/v1", server.base_url()))
        .api_key(token.to_owned())
        .max_retries(0)
        .build()
        .unwrap()
}

/// A client that shows nothing.
pub fn door_client(server: &TestServer) -> GateClient {
    GateClient::builder()
        .base_url(format!("{}/gate/v1", server.base_url()))
        .max_retries(0)
        .build()
        .unwrap()
}

/// Letters that a server leaves in a directory.
pub struct Outbox(pub PathBuf);

impl Outbox {
    /// One for the letters of a server whose options name it.
    pub fn options(directory: &Path) -> (Self, MailOptions) {
        (Self(directory.to_owned()), MailOptions::Directory(directory.to_owned()))
    }

    /// All letters to this address so far, oldest first.
    pub fn letters(&self, to: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(&self.0) else {
            return Vec::new();
        };
        // What is still being written has another ending.
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "eml"));
        paths.sort();
        let letters = paths.iter().filter_map(|path| std::fs::read_to_string(path).ok());
        letters.filter(|letter| letter.contains(&format!("To: {to}"))).collect()
    }

    /// Letter number `number` to this address, once it is there.
    pub async fn letter(&self, to: &str, number: usize) -> String {
        soon("a letter", async {
            loop {
                if let Some(letter) = self.letters(to).into_iter().nth(number) {
                    return letter;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// The code in it.
    pub async fn code(&self, to: &str, number: usize) -> String {
        let letter = self.letter(to, number).await;
        let digits = letter.split(|c: char| !c.is_ascii_digit());
        let mut codes = digits.filter(|digits| digits.len() == 8);
        codes.next_back().expect("a code of eight digits").to_owned()
    }
}
