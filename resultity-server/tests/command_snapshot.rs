//! `resultity-server snapshot` as people call it, beside a server that runs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use harness::{TestServer, model, soon};
use resultity_core::credits::Credits;
use resultity_core::signing::KeyChain;
use serde_json::{Value, json};

fn snapshot(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resultity-server"));
    command.env_remove("RESULTITY_KEYSTORE_PASSWORD");
    command.arg("snapshot").arg(arguments[0]).arg("--data-dir").arg(dir);
    command.args(&arguments[1..]).stdin(Stdio::null());
    command.output().unwrap()
}

/// What a call prints that has to go well.
fn said(dir: &Path, arguments: &[&str]) -> String {
    let output = snapshot(dir, arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(dir: &Path, arguments: &[&str]) -> String {
    let output = snapshot(dir, arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_seen_changed_and_taken_back_from_the_shell() {
    let server = TestServer::start().await;
    let dir = server.data_dir.path();
    let shown = said(dir, &["show"]);
    let mut config: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&config["version"], &config["offer"]["models"][0]["name"]),
        (&json!(1), &json!("m"))
    );

    // Edit what `show` prints, compare, publish.
    config["offer"]["min_agent_version"] = json!("0.0.9");
    let file = dir.join("config.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(said(dir, &["diff", file]), "min_agent_version: \"0.1.0\" → \"0.0.9\"\n");
    let published = said(dir, &["publish", file, "--reason", "older nodes may come"]);
    assert!(published.ends_with("version 2 is in force\n"), "{published}");
    assert!(said(dir, &["publish", file, "--reason", "again"]).contains("says that already"));
    config["offer"]["heartbeat_interval_ms"] = json!(9000);
    std::fs::write(file, config.to_string()).unwrap();
    let stale = refused(dir, &["publish", file, "--reason", "made from version 1"]);
    assert!(stale.contains("version 2 is in force by now"), "{stale}");
    config["offer"]["heartbeat_intervall"] = json!(1);
    std::fs::write(file, config.to_string()).unwrap();
    assert!(refused(dir, &["diff", file]).contains("heartbeat_intervall"));

    // The short ways.
    said(
        dir,
        &[
            "price", "m", "--input", "0.5", "--output", "1.25", "--reason", "cheaper",
        ],
    );
    let block = dir.join("model.toml");
    let toml = "name = \"n\"\nversion = \"1\"\nkind = \"external\"\ncontext_length = 8\ndefault_max_tokens = 8\n\
        capabilities = [\"chat\"]\ntest_prompt = \"x\"\n\n[price]\ninput_per_million = 1\noutput_per_million = 2\nper_request = 3\n";
    std::fs::write(&block, toml).unwrap();
    said(dir, &["approve", block.to_str().unwrap(), "--reason", "new"]);
    said(dir, &["deprecate", "n", "--until", "30d", "--reason", "not for long"]);
    assert!(refused(dir, &["deprecate", "x", "--reason", "no such model"]).contains("no model of this name"));
    assert!(refused(dir, &["price", "m", "--reason", " "]).contains("--reason"));
    assert!(refused(dir, &["price", "m", "--input=-1", "--reason", "free"]).contains("must not be negative"));
    let flow = server.running.app().flow();
    let mut configurations = flow.configurations();
    soon("the server to take it up", async {
        while flow.snapshot().version < 5 {
            configurations.changed().await.unwrap();
        }
    })
    .await;
    assert_eq!(
        flow.model("m").unwrap().price.output_per_million,
        Credits::from_micros(1_250_000)
    );
    assert!(flow.snapshot().retiring.contains_key("n"));

    said(dir, &["rollback", "1", "--reason", "as it was"]);
    assert_eq!(
        said(dir, &["diff", "--from", "1", "--to", "6"]),
        "nothing is different\n"
    );
    let history = said(dir, &["history"]);
    assert!(
        history.contains("rolls back 5") && history.contains("operator: cheaper"),
        "{history}"
    );
    assert_eq!(history.lines().count(), 6);
    let shown: Value = serde_json::from_str(&said(dir, &["show"])).unwrap();
    assert_eq!(shown["offer"]["models"], json!([model("m")]));

    let rotated: Value = serde_json::from_str(&said(dir, &["rotate-key", "--reason", "yearly", "--json"])).unwrap();
    let chain: KeyChain = serde_json::from_str(&said(dir, &["keys"])).unwrap();
    assert_eq!(chain.verify(), Ok(()));
    assert_eq!(json!(chain.current()), rotated["network_key"]);
    soon("the server to take the key up", async {
        while flow.network_key().address() != chain.current() {
            configurations.changed().await.unwrap();
        }
    })
    .await;
    let report = server.store.audit().await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

#[test]
fn a_mistyped_directory_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let error = refused(&dir.path().join("nowhere"), &["show"]);
    assert!(error.contains("there is no database"), "{error}");
    assert!(!dir.path().join("nowhere").exists());
}
