//! Configuration snapshots on a node: one that is not the network's next one is refused, the last good one stays in force, and a
//! kill at any moment leaves the old one or the new one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first thing that is not as it should be"
)]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod network;

use std::path::Path;
use std::sync::Arc;

use network::{Network, NodeLink, Scripted, job, snapshot};
use resultity_core::B256;
use resultity_core::clock::Entropy as _;
use resultity_core::clock::SeededEntropy;
use resultity_core::environment::Environment;
use resultity_core::signing::{Domain, Keypair};
use resultity_core::snapshot::{SignedSnapshot, Snapshot};
use resultity_core::wire::{Ack, AckOutcome, Config, NodeFrame};
use resultity_node::agent::{Agent, AgentError, stored_snapshot};
use rstest::rstest;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const TESTNET: Environment = Environment::Testnet;

struct Node {
    cancel: CancellationToken,
    task: JoinHandle<Result<(), AgentError>>,
}

impl Node {
    fn start(network: &Network, dir: &Path) -> Self {
        let agent = Agent::builder(&network.io_url, dir)
            .runtime(Arc::new(Scripted::default()))
            .build()
            .unwrap();
        let cancel = CancellationToken::new();
        Self {
            cancel: cancel.clone(),
            task: tokio::spawn(agent.run(cancel)),
        }
    }

    /// As a kill: nothing is said any more, nothing is written any more.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

fn of_version(version: u64) -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.version = version;
    snapshot
}

fn stored(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("testnet/snapshot.json")).unwrap()
}

/// Waits for a heartbeat that names this snapshot.
async fn until_digest(link: &mut NodeLink, digest: B256) {
    while link.next_heartbeat().await.config_digest != Some(digest) {}
}

/// A job from beginning to end.
async fn works(link: &mut NodeLink) {
    let job = job("words 3", false);
    link.send(job.clone()).await;
    loop {
        match link.next().await {
            NodeFrame::Result(result) => {
                assert_eq!(result.job_id, job.job_id);
                break;
            }
            NodeFrame::Accept(_) | NodeFrame::Chunk(_) | NodeFrame::Log(_) => {}
            other => panic!("{other:?}"),
        }
    }
    link.send(Ack {
        job_id: job.job_id,
        attempt: job.attempt,
        outcome: AckOutcome::Recorded,
    })
    .await;
}

fn signed(snapshot: &Snapshot, domain: &Domain, key: &Keypair) -> Vec<u8> {
    serde_json::to_vec(&SignedSnapshot::publish(snapshot, domain, key).unwrap()).unwrap()
}

/// What somebody serves instead of the network's next snapshot.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    Unsigned,
    OtherKey,
    Older,
    SameVersion,
    OtherEnvironment,
    OtherDomain,
    Digest,
    Changed,
    Truncated,
    NoSense,
    Empty,
    Rubbish,
    Failure,
    TooLarge,
}

fn wrong(kind: Wrong, network: &Network) -> (u16, Vec<u8>) {
    let (domain, key) = (&network.domain, &network.key);
    let right = signed(&of_version(6), domain, key);
    let mut value: serde_json::Value = serde_json::from_slice(&right).unwrap();
    let body = match kind {
        Wrong::Unsigned => {
            value["signature"] = format!("0x{}", "00".repeat(65)).into();
            serde_json::to_vec(&value).unwrap()
        }
        Wrong::OtherKey => signed(&of_version(6), domain, &Keypair::generate(&SeededEntropy::new(2))),
        Wrong::Older => signed(&of_version(4), domain, key),
        Wrong::SameVersion => {
            let mut other = of_version(5);
            other.models[0].test_prompt = "words 2".into();
            signed(&other, domain, key)
        }
        Wrong::OtherEnvironment => {
            let mut other = of_version(6);
            other.environment = Environment::Mainnet;
            signed(&other, domain, key)
        }
        Wrong::OtherDomain => {
            let domain = Domain::new(Environment::Mainnet, key.address());
            signed(&of_version(6), &domain, key)
        }
        Wrong::Digest => {
            value["digest"] = format!("0x{}", "07".repeat(32)).into();
            serde_json::to_vec(&value).unwrap()
        }
        Wrong::Changed => String::from_utf8(right)
            .unwrap()
            .replace("words 1", "words 9")
            .into_bytes(),
        Wrong::Truncated => right[..right.len() / 2].to_vec(),
        Wrong::NoSense => {
            let mut other = of_version(6);
            other.models[0].name = "../demo".into();
            other.models.push(other.models[0].clone());
            signed(&other, domain, key)
        }
        Wrong::Empty => Vec::new(),
        Wrong::Rubbish => b"<html>Please log in</html>".to_vec(),
        Wrong::Failure => return (500, right),
        Wrong::TooLarge => vec![b' '; 17 << 20],
    };
    (200, body)
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_networks_next_snapshot_is_refused(
    #[values(
        Wrong::Unsigned,
        Wrong::OtherKey,
        Wrong::Older,
        Wrong::SameVersion,
        Wrong::OtherEnvironment,
        Wrong::OtherDomain,
        Wrong::Digest,
        Wrong::Changed,
        Wrong::Truncated,
        Wrong::NoSense,
        Wrong::Empty,
        Wrong::Rubbish,
        Wrong::Failure,
        Wrong::TooLarge
    )]
    kind: Wrong,
) {
    let (mut network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let good = network.publish(&of_version(5));
    let node = Node::start(&network, dir.path());
    let mut link = network.ready_link().await;
    until_digest(&mut link, good).await;
    let before = stored(dir.path());

    let (status, body) = wrong(kind, &network);
    network.serve_config(status, body);
    // It asks anew only once it has dealt with the answer before.
    let asked = network.asked();
    while network.asked() < asked + 2 {
        link.send(Config {
            digest: B256::repeat_byte(9),
        })
        .await;
        assert_eq!(link.next_heartbeat().await.config_digest, Some(good));
    }
    works(&mut link).await;
    assert_eq!(stored(dir.path()), before);

    // Also after a restart, while the same is served.
    drop(link);
    node.kill().await;
    let node = Node::start(&network, dir.path());
    let mut link = network.link().await;
    assert_eq!(link.handshake(&[]).await.config_digest, Some(good));
    works(&mut link).await;

    // And the right one is taken when it comes.
    let next = network.publish(&of_version(6));
    link.send(Config { digest: next }).await;
    until_digest(&mut link, next).await;
    assert_eq!(stored_snapshot(dir.path(), TESTNET).unwrap().version, 6);
    node.cancel.cancel();
    node.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_snapshot_that_was_tampered_with_counts_as_none() {
    let (mut network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let good = network.publish(&of_version(5));
    let node = Node::start(&network, dir.path());
    let mut link = network.ready_link().await;
    until_digest(&mut link, good).await;
    node.kill().await;
    let path = dir.path().join("testnet/snapshot.json");
    let text = String::from_utf8(stored(dir.path())).unwrap();
    std::fs::write(&path, text.replace("words 1", "words 9")).unwrap();
    assert!(stored_snapshot(dir.path(), TESTNET).is_none());
    let node = Node::start(&network, dir.path());
    let mut link = network.link().await;
    assert_eq!(link.handshake(&[]).await.config_digest, None);
    until_digest(&mut link, good).await;
    node.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_snapshot_leaves_no_trace_of_jobs_that_are_over() {
    let (mut network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let node = Node::start(&network, dir.path());
    let mut link = network.ready_link().await;
    works(&mut link).await;
    // One whose result the network has not acknowledged is none of those.
    let kept = job("words 5", false);
    link.send(kept.clone()).await;
    while !matches!(link.next().await, NodeFrame::Result(_)) {}
    let journal = || std::fs::read_to_string(dir.path().join("testnet/journal.jsonl")).unwrap();
    assert_eq!(journal().matches("w0 w1").count(), 2, "{}", journal());
    let next = network.publish(&of_version(2));
    link.send(Config { digest: next }).await;
    until_digest(&mut link, next).await;
    let left = journal();
    assert_eq!(left.matches("w0 w1").count(), 1, "{left}");
    assert!(left.contains(&kept.job_id.to_string()));
    node.kill().await;
}

/// A program that is killed while snapshots come one after the other, each larger than a disk writes at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_leaves_the_old_snapshot_or_the_new_one() {
    let (mut network, dir) = (Network::start().await, tempfile::tempdir().unwrap());
    let mut version = 1;
    let mut last = None;
    let io_url = network.io_url.clone();
    let start = || {
        Command::new(env!("CARGO_BIN_EXE_resultity-node"))
            .args(["run", "--log-level", "off", "--io", &io_url, "--data-dir"])
            .arg(dir.path())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    };
    // When each is killed; where that finds it is up to the machine.
    let moments = SeededEntropy::new(7);
    for _ in 0..8 {
        let mut program = start();
        let mut link = network.link().await;
        link.handshake(&[]).await;
        let mut random = [0; 2];
        moments.fill(&mut random);
        let lives = std::time::Duration::from_millis(u64::from(u16::from_le_bytes(random) % 400));
        let publish = async {
            loop {
                version += 1;
                let mut large = of_version(version);
                large.models[0].test_prompt = format!("words 1 {}", "x".repeat(300_000));
                let digest = network.publish(&large);
                link.send(Config { digest }).await;
                while link.next_heartbeat().await.config_digest != Some(digest) {}
            }
        };
        let _ = tokio::time::timeout(lives, publish).await;
        program.kill().await.unwrap();
        let found = stored_snapshot(dir.path(), TESTNET).map(|snapshot| snapshot.version);
        // Never less than before, and nothing is lost once there was one.
        assert!(
            found >= last && found.is_none_or(|found| found <= version),
            "{found:?} {last:?}"
        );
        assert!(found.is_some() || !dir.path().join("testnet/snapshot.json").exists());
        last = found;
    }
    // Whatever was left, it goes on from there.
    version += 1;
    let newest = network.publish(&of_version(version));
    let mut program = start();
    let mut link = network.link().await;
    link.handshake(&[]).await;
    until_digest(&mut link, newest).await;
    program.kill().await.unwrap();
    assert_eq!(stored_snapshot(dir.path(), TESTNET).unwrap().version, version);
}
