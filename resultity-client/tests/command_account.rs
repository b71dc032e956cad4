//! The commands `usage`, `credits`, `receipt` and `webhooks`.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::path::PathBuf;

use mockito::{Matcher, Server};
use resultity_client::core::clock::{SeededEntropy, Timestamp};
use resultity_client::core::credits::Credits;
use resultity_client::core::environment::Environment;
use resultity_client::core::receipt::{Receipt, SignedReceipt};
use resultity_client::core::signing::{Domain, KeyChain, Keypair};
use resultity_client::core::wire::output_hash;
use resultity_client::core::{Address, B256};
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::command::{age, assert_success, at, resultity, resultity_beside, text, words};
use crate::support::{JOB, completion, page};

const WEBHOOK: &str = "wh_0190a6f6000070008000000000000003";
const DELIVERY: &str = "whd_0190a6f6000070008000000000000004";

fn counts(requests: u64, cost: &str) -> Value {
    json!({
        "requests": requests, "failed": 0, "prompt_tokens": 9, "completion_tokens": 5, "duration_ms": 12, "cost": cost,
    })
}

#[test]
fn usage_is_a_table_with_a_sum() {
    let mut server = Server::new();
    let (mut row, total) = (counts(2, "0.5"), counts(2, "0.5"));
    row["model"] = json!("m");
    row["day"] = json!("2026-11-22");
    let report = json!({"object": "usage", "start": "2026-11-01", "end": "2026-11-22", "data": [row], "total": total});
    let mock = server
        .mock("GET", "/v1/usage")
        .match_query(Matcher::Exact(
            "group_by=model%2Cday&scope=namespace&start=2026-11-01".into(),
        ))
        .with_body(report.to_string())
        .create();
    let output = at(&server)
        .args(["usage", "--by", "model,day", "--start", "2026-11-01", "--namespace"])
        .output()
        .unwrap();
    assert_eq!(
        words(&output),
        [
            vec!["MODEL", "DAY", "REQUESTS", "FAILED", "IN", "OUT", "CREDITS"],
            vec!["m", "2026-11-22", "2", "0", "9", "5", "0.5"],
            vec!["total", "2", "0", "9", "5", "0.5"],
        ]
    );
    mock.assert();
}

#[test]
fn usage_and_credits_can_be_read_by_programs() {
    let mut server = Server::new();
    server
        .mock("GET", "/v1/usage")
        .match_query(Matcher::Exact("group_by=day&format=csv".into()))
        .with_body("day,requests\n2026-11-22,2\n")
        .create();
    let csv = at(&server).args(["usage", "--by", "day", "--csv"]).output().unwrap();
    assert_success(&csv, "day,requests\n2026-11-22,2\n");
    let credits = json!({"object": "credits", "available": "12.5", "held": "0", "spend_limit": "20", "spent": "7.5"});
    server
        .mock("GET", "/v1/credits")
        .with_body(credits.to_string())
        .expect(2)
        .create();
    let told = at(&server).arg("credits").output().unwrap();
    assert_eq!(words(&told)[0], ["available", "12.5"]);
    let as_json = at(&server).args(["credits", "--json"]).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&as_json.stdout).unwrap(), credits);
}

/// A receipt for the answer `fine`, and who signed it.
fn receipt() -> (SignedReceipt, Address) {
    let key = Keypair::generate(&SeededEntropy::new(1));
    let receipt = Receipt {
        job_id: JOB.parse().unwrap(),
        environment: Environment::Testnet,
        model: "m".into(),
        model_version: "1".into(),
        request_hash: B256::ZERO,
        output_hash: output_hash([(0, "fine")]),
        prompt_tokens: 3,
        completion_tokens: 2,
        finish_reason: "stop".into(),
        cost: Credits::from_micros(13),
        finished_at: Timestamp::from_millis(1_700_000_000_000),
        node: Some(B256::repeat_byte(7)),
    };
    let domain = Domain::new(Environment::Testnet, key.address());
    (SignedReceipt::sign(receipt, &domain, &key), key.address())
}

fn written(directory: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_receipt_is_fetched_and_checked_without_asking_anybody() {
    let mut server = Server::new();
    let (signed, network) = receipt();
    server
        .mock("GET", format!("/v1/jobs/{JOB}/receipt").as_str())
        .with_body(serde_json::to_string(&signed).unwrap())
        .create();
    let fetched = at(&server).args(["receipt", "get", JOB]).output().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = written(&directory, "receipt.json", text(&fetched.stdout));

    let verified = resultity()
        .args(["receipt", "verify", "--network", &format!("{network:#x}")])
        .arg(&path)
        .output()
        .unwrap();
    assert_eq!(text(&verified.stderr), "The receipt is genuine.\n");
    assert!(words(&verified).contains(&vec!["cost", "0.000013", "credits"]));
    let node = B256::repeat_byte(7).to_string();
    assert!(words(&verified).contains(&vec!["node", &node, "(its", "pseudonym", "of", "that", "week)"]));
    let by_variable = resultity()
        .env("RESULTITY_NETWORK", network.to_string())
        .args(["receipt", "verify", "--json"])
        .arg(&path)
        .output()
        .unwrap();
    let shown: Value = serde_json::from_slice(&by_variable.stdout).unwrap();
    assert_eq!((&shown["job_id"], &shown["cost"]), (&json!(JOB), &json!(13)));
}

#[test]
fn a_running_dev_names_the_network() {
    let (signed, network) = receipt();
    let directory = tempfile::tempdir().unwrap();
    let path = written(&directory, "receipt.json", &serde_json::to_string(&signed).unwrap());
    let dev = json!({"cloud": "x", "api_key": "k", "model": "m", "network_key": format!("{network:#x}")});
    written(&directory, "dev.json", &dev.to_string());
    let output = resultity_beside(directory.path())
        .args(["receipt", "verify"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let unnamed = resultity().args(["receipt", "verify"]).arg(&path).output().unwrap();
    assert_eq!(unnamed.status.code(), Some(2));
    assert!(text(&unnamed.stderr).contains("--network or RESULTITY_NETWORK"));
}

#[rstest]
#[case::completion(completion("fine").to_string(), true)]
#[case::text("fine".to_owned(), true)]
#[case::text_with_an_end("fine\n".to_owned(), true)]
#[case::other_completion(completion("Fine").to_string(), false)]
#[case::other_text("fine.".to_owned(), false)]
fn a_receipt_is_held_against_an_answer(#[case] answer: String, #[case] matches: bool) {
    let (signed, network) = receipt();
    let directory = tempfile::tempdir().unwrap();
    let path = written(&directory, "receipt.json", &serde_json::to_string(&signed).unwrap());
    let answer = written(&directory, "answer", &answer);
    let output = resultity()
        .args(["receipt", "verify", "--network", &network.to_string(), "--answer"])
        .args([&answer, &path])
        .output()
        .unwrap();
    assert_eq!(output.status.success(), matches, "{}", text(&output.stderr));
    let expected = if matches {
        "The receipt is genuine, and for this answer."
    } else {
        "error: the receipt is genuine, but not for the answer in"
    };
    assert!(text(&output.stderr).starts_with(expected), "{}", text(&output.stderr));
}

#[test]
fn a_receipt_counts_by_the_key_of_its_time() {
    let (signed, network) = receipt();
    let directory = tempfile::tempdir().unwrap();
    let [first, next] = [1, 2].map(|seed| Keypair::generate(&SeededEntropy::new(seed)));
    let mut chain = KeyChain::new(signed.receipt.environment, network);
    chain
        .rotations
        .push(chain.rotation(next.address(), signed.receipt.finished_at, &first));
    let keys = written(&directory, "keys.json", &serde_json::to_string(&chain).unwrap());
    let resigned = SignedReceipt::sign(signed.receipt.clone(), &chain.domain(), &next);
    let verify = |receipt: &SignedReceipt, with_keys: bool| {
        let path = written(&directory, "receipt.json", &serde_json::to_string(receipt).unwrap());
        let mut command = resultity();
        command
            .args(["receipt", "verify", "--network", &network.to_string()])
            .arg(path);
        if with_keys {
            command.arg("--keys").arg(&keys);
        }
        command.output().unwrap()
    };
    assert!(verify(&signed, true).status.success());
    assert!(verify(&resigned, true).status.success());
    let without = verify(&resigned, false);
    assert!(text(&without.stderr).contains("--keys"), "{}", text(&without.stderr));
    let mut later = signed.receipt.clone();
    later.finished_at = later.finished_at.after(std::time::Duration::from_hours(1));
    let forged = verify(&SignedReceipt::sign(later, &chain.domain(), &first), true);
    assert!(text(&forged.stderr).contains("not genuine"), "{}", text(&forged.stderr));
    // Somebody else's chain.
    chain.genesis = next.address();
    written(&directory, "keys.json", &serde_json::to_string(&chain).unwrap());
    let foreign = verify(&resigned, true);
    assert!(
        text(&foreign.stderr).contains("it begins with"),
        "{}",
        text(&foreign.stderr)
    );
}

#[test]
fn what_is_not_genuine_is_a_failure() {
    let (signed, network) = receipt();
    let directory = tempfile::tempdir().unwrap();
    let mut changed = serde_json::to_value(&signed).unwrap();
    changed["cost"] = json!(1);
    let changed = written(&directory, "changed.json", &changed.to_string());
    let other = Keypair::generate(&SeededEntropy::new(2)).address();
    let genuine = written(&directory, "genuine.json", &serde_json::to_string(&signed).unwrap());
    let junk = written(&directory, "junk.json", "{}");
    for (path, network, hint) in [
        (&changed, network, "It was changed"),
        (&genuine, other, "Check --network"),
        (&junk, network, "`resultity receipt get JOB` prints one."),
    ] {
        let output = resultity()
            .args(["receipt", "verify", "--network", &network.to_string()])
            .arg(path)
            .output()
            .unwrap();
        assert!(text(&output.stderr).contains(hint), "{}", text(&output.stderr));
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    }
}

fn webhook() -> Value {
    json!({
        "id": WEBHOOK, "object": "webhook", "url": "https://example.org/hook", "description": "", "enabled": true,
        "events": ["batch.completed"], "created_at": 1_700_000_000,
    })
}

fn delivery(state: &str) -> Value {
    json!({
        "id": DELIVERY, "object": "webhook.delivery", "webhook": WEBHOOK, "state": state, "attempts": 1,
        "event": {"id": "evt_0190a6f6000070008000000000000005", "object": "event", "type": "batch.completed",
                  "created_at": 1_700_000_000, "data": {"id": "batch_1"}},
        "last_status": 500, "last_error": null, "last_attempt_at": 1, "next_attempt_at": null,
        "created_at": 1_700_000_000,
    })
}

#[test]
fn a_webhook_is_added_and_its_secret_shown_once() {
    let mut server = Server::new();
    let mut added = webhook();
    added["secret"] = json!("whsec_x");
    let mock = server
        .mock("POST", "/v1/webhooks")
        .match_body(Matcher::Json(
            json!({"url": "https://example.org/hook", "events": ["batch.completed", "job.failed"]}),
        ))
        .with_body(added.to_string())
        .create();
    let output = at(&server)
        .args(["webhooks", "add", "https://example.org/hook"])
        .args(["--event", "batch.completed", "--event", "job.failed"])
        .output()
        .unwrap();
    assert!(words(&output).contains(&vec!["secret", "whsec_x"]));
    assert_eq!(text(&output.stderr), "Keep the secret: it is not shown again.\n");
    mock.assert();
    let rotate = server
        .mock("POST", format!("/v1/webhooks/{WEBHOOK}/rotate").as_str())
        .match_body(Matcher::Json(json!({"overlap_seconds": 60})))
        .with_body(added.to_string())
        .create();
    let output = at(&server)
        .args(["webhooks", "rotate", WEBHOOK, "--overlap", "60", "--json"])
        .output()
        .unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["secret"],
        "whsec_x"
    );
    rotate.assert();
}

#[test]
fn webhooks_and_deliveries_are_listed() {
    let mut server = Server::new();
    server
        .mock("GET", "/v1/webhooks")
        .with_body(page(&[webhook()], false).to_string())
        .create();
    let list = at(&server).args(["webhooks", "list"]).output().unwrap();
    assert_eq!(
        words(&list)[1],
        [WEBHOOK, "on", "batch.completed", "https://example.org/hook"]
    );
    server
        .mock("GET", format!("/v1/webhooks/{WEBHOOK}/deliveries").as_str())
        .with_body(page(&[delivery("delivered"), delivery("failed")], false).to_string())
        .create();
    let failed = at(&server)
        .args(["webhooks", "deliveries", WEBHOOK, "--failed"])
        .output()
        .unwrap();
    assert_eq!(
        words(&failed)[1..],
        [vec![DELIVERY, "failed", "batch.completed", &age(), "500"]]
    );
}

#[test]
fn a_webhook_is_tried_replayed_and_deleted() {
    let mut server = Server::new();
    let test = server
        .mock("POST", format!("/v1/webhooks/{WEBHOOK}/test").as_str())
        .match_body(Matcher::Json(json!({"type": "job.failed"})))
        .with_body(delivery("pending").to_string())
        .create();
    let replay = server
        .mock(
            "POST",
            format!("/v1/webhooks/{WEBHOOK}/deliveries/{DELIVERY}/replay").as_str(),
        )
        .with_body(delivery("pending").to_string())
        .create();
    let delete = server
        .mock("DELETE", format!("/v1/webhooks/{WEBHOOK}").as_str())
        .with_body(json!({"id": WEBHOOK, "object": "webhook.deleted", "deleted": true}).to_string())
        .create();
    for arguments in [
        vec!["test", WEBHOOK, "--like", "job.failed"],
        vec!["replay", WEBHOOK, DELIVERY],
        vec!["delete", WEBHOOK],
    ] {
        let output = at(&server).arg("webhooks").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    for mock in [test, replay, delete] {
        mock.assert();
    }
}
