//! The command `resultity-node models`, as people and scripts call it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first thing that is not as it should be"
)]

use std::path::Path;
use std::process::{Command, Output};

fn models(data: &Path, cache: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_resultity-node"))
        .arg("models")
        .args(arguments)
        .arg("--data-dir")
        .arg(data)
        .env("RESULTITY_CACHE_DIR", cache)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_node_that_has_met_no_network_has_none_and_says_so() {
    let (data, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shown = models(data.path(), cache.path(), &[]);
    assert!(shown.status.success());
    assert!(text(&shown.stdout).contains("once it runs"), "{}", text(&shown.stdout));
    let json = models(data.path(), cache.path(), &["list", "--json"]);
    assert_eq!(text(&json.stdout).trim(), "[]");
    assert_eq!(
        std::fs::read_dir(data.path()).unwrap().count(),
        0,
        "looking writes nothing"
    );
}

#[test]
fn a_name_that_is_none_is_an_error_that_says_which_there_are() {
    let (data, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for verb in ["fetch", "remove"] {
        let failed = models(data.path(), cache.path(), &[verb, "no-such-model"]);
        assert!(!failed.status.success());
        let said = text(&failed.stderr);
        assert!(
            said.contains("no-such-model") && said.contains("smollm2-135m"),
            "{said}"
        );
    }
}

#[test]
fn what_this_node_did_not_fetch_stays_on_the_disk() {
    let (data, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = cache.path().join("SmolLM2-135M-Instruct.Q4_1.gguf");
    std::fs::write(&file, "somebody's").unwrap();
    let removed = models(data.path(), cache.path(), &["remove", "smollm2-135m", "--json"]);
    let removed: serde_json::Value = serde_json::from_slice(&removed.stdout).unwrap();
    assert_eq!(removed["name"], "smollm2-135m");
    assert_eq!(removed["left"][0], file.to_str().unwrap());
    assert!(removed["gone"].as_array().unwrap().is_empty() && file.exists());
}
