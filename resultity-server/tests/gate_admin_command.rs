//! Administrators: made from the shell while the server runs, and by `dev`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::path::Path;
use std::process::Stdio;

use harness::gate::{account, client_with, door_client};
use harness::{TestServer, soon};
use resultity_core::api::gate::{AccountApi, CreditGrant, GrantApi, LoginsApi, Role, SignIn, SignInApi};
use resultity_core::credits::Credits;
use resultity_core::error::ErrorCode;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const PASSWORD: &str = "correct horse battery";

/// Runs `admin create` with this on its standard input; what it said, on which stream.
async fn admin_create(data_dir: &Path, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_resultity-server"))
        .args(["admin", "create", "--data-dir"])
        .arg(data_dir)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that needs no password reads none.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = soon("the command", child.wait_with_output()).await.unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(!out.contains(PASSWORD) && !err.contains(PASSWORD));
    if output.status.success() { Ok(out) } else { Err(err) }
}

#[tokio::test]
async fn an_administrator_is_made_from_the_shell_while_the_server_runs() {
    let server = TestServer::start().await;
    let (data_dir, door) = (server.data_dir.path(), door_client(&server));
    let email = ["--email", "Root@Example.org"];
    let refused = admin_create(data_dir, &email, "short\n").await.unwrap_err();
    assert!(refused.contains("10 to 256 characters"), "{refused}");
    let refused = admin_create(data_dir, &["--email", "root"], PASSWORD)
        .await
        .unwrap_err();
    assert!(refused.contains("e-mail address"), "{refused}");
    let elsewhere = tempfile::tempdir().unwrap();
    assert!(admin_create(elsewhere.path(), &email, PASSWORD).await.is_err());

    let made = admin_create(data_dir, &email, &format!("{PASSWORD}\r\n"))
        .await
        .unwrap();
    assert!(made.contains("root@example.org is an administrator"), "{made}");
    let signed_in = door.sign_in(SignIn::new("root@example.org", PASSWORD)).await.unwrap();
    let root = client_with(&server, &signed_in.token.unwrap());
    assert_eq!(root.own_account().await.unwrap().role, Role::Admin);
    let grant = || CreditGrant::to_namespace(server.principal.namespace, Credits::from_whole(1));
    root.grant_credits(grant()).await.unwrap();

    // An account that is there is promoted, and counts as such at once in its session.
    let (_, _, ada) = account(&server, "ada").await;
    let refused = ada.grant_credits(grant()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PermissionDenied);
    let file = elsewhere.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let arguments = ["--email", "ada@example.org", "--password-file", file.to_str().unwrap()];
    let promoted = admin_create(data_dir, &arguments, "").await.unwrap();
    assert!(promoted.contains("a new password"), "{promoted}");
    ada.grant_credits(grant()).await.unwrap();
    door.sign_in(SignIn::new("ada@example.org", PASSWORD)).await.unwrap();
    let again = admin_create(data_dir, &["--email", "ada@example.org"], "")
        .await
        .unwrap();
    assert!(again.contains("its old password"), "{again}");
    door.sign_in(SignIn::new("ada@example.org", PASSWORD)).await.unwrap();
}

#[cfg(feature = "dev")]
#[tokio::test]
async fn dev_has_an_administrator_and_both_environments() {
    use resultity_client::GateClient;
    use resultity_core::environment::Environment;

    let data_dir = tempfile::tempdir().unwrap();
    let arguments = ["--model", "m"];
    let process = harness::process::Process::start_with(data_dir.path(), &arguments).await;
    let client = |token: Option<String>| {
        let builder = GateClient::builder().base_url(&process.description.gate).max_retries(0);
        match token {
            Some(token) => builder.api_key(token),
            None => builder,
        }
        .build()
        .unwrap()
    };
    let (email, password) = (&process.description.admin_email, &process.description.admin_password);
    let signed_in = client(None).sign_in(SignIn::new(email, password)).await.unwrap();
    let session = client(signed_in.token).session().await.unwrap();
    assert_eq!(session.role, Role::Admin);
    assert_eq!(session.environments, [Environment::Testnet, Environment::Mainnet]);

    // The next start has the same password.
    let before = process.description.admin_password.clone();
    process.kill().await;
    let again = harness::process::Process::start_with(data_dir.path(), &arguments).await;
    assert_eq!(again.description.admin_password, before);
}
