//! Whatever was acknowledged is there after the process was killed in the middle of its work, and the books are right.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test, and the child that it starts")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use resultity_core::clock::{Clock, Entropy, SeededEntropy, SystemClock, SystemEntropy};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, JobId, KeyId, LeaseToken, NamespaceId, NodeId};
use resultity_core::job::{Attempt, Endpoint, JobKind, JobState, Priority};
use resultity_core::openai::chat::Usage;
use resultity_core::signing::{Outcome, Signature};
use resultity_core::{Address, B256};
use resultity_server::store::sqlite::SqliteStore;
use resultity_server::store::{
    Admission, Grant, KeyLimits, KeyRecord, LeaseRef, NewJob, NewLease, NewTenant, Release, Settle, Store,
};

/// Names the database to the child, which is this same test started again.
const CHILD: &str = "RESULTITY_TEST_CRASH_DATABASE";
const NAME: &str = "what_was_acknowledged_survives_a_kill";
const KILLS: u8 = 10;
const HOLD: Credits = Credits::from_micros(1_000);

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    if let Some(path) = std::env::var_os(CHILD) {
        runtime.block_on(work(Path::new(&path)));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let moments = SeededEntropy::new(11);
    let mut acknowledged = HashMap::new();
    for _ in 0..KILLS {
        // Two bytes: after 1 to 800 acknowledgements.
        let mut random = [0; 2];
        moments.fill(&mut random);
        let moment = usize::from(u16::from_be_bytes(random)) % 800 + 1;
        run_and_kill(&path, moment, &mut acknowledged);
        runtime.block_on(check(&path, &mut acknowledged));
    }
    let ended = acknowledged.values().filter(|verb| verb.as_str() != "hold").count();
    assert!(ended > 0, "nothing was acknowledged: the test tests nothing");
}

/// Starts the child, waits for this many acknowledgements and kills it; keeps the last one of every job.
fn run_and_kill(path: &Path, moment: usize, acknowledged: &mut HashMap<JobId, String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let (mut line, mut count) = (String::new(), 0);
    while lines.read_line(&mut line).unwrap() > 0 {
        // A line without an end was cut by the kill: nobody has read it.
        let words: Vec<&str> = line.strip_suffix('\n').unwrap_or_default().split(' ').collect();
        if let ["ack", verb, job] = words[..] {
            acknowledged.insert(job.parse().unwrap(), verb.to_owned());
            count += 1;
            if count == moment {
                child.kill().unwrap();
            }
        }
        line.clear();
    }
    let status = child.wait().unwrap();
    assert!(
        count >= moment && !status.success(),
        "the child ended by itself: {status}"
    );
}

/// Opens what the child left, compares it with what was acknowledged, and puts it right as a server does at start.
async fn check(path: &Path, acknowledged: &mut HashMap<JobId, String>) {
    let store = SqliteStore::open(path).unwrap();
    let before = store.audit().await.unwrap();
    assert_eq!(before.problems, Vec::<String>::new());
    for (id, verb) in &*acknowledged {
        let job = store
            .job(*id)
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("the acknowledged job {id} is lost"));
        match verb.as_str() {
            "settle" => assert_eq!((job.state, job.cost), (JobState::Succeeded, Some(cost_of(*id)))),
            "release" => assert_eq!((job.state, job.cost), (JobState::Failed, Some(Credits::ZERO))),
            "running" => assert_ne!(job.state, JobState::Leased),
            // What came after it may be there without having been acknowledged.
            _ => assert_eq!(job.held, HOLD),
        }
    }
    let recovered = store.recover(SystemClock.now()).await.unwrap();
    assert_eq!(recovered.cancelled, before.open_holds);
    let after = store.audit().await.unwrap();
    assert_eq!(
        (after.problems, after.open_holds, after.jobs),
        (Vec::new(), 0, before.jobs)
    );
    let namespace = tenant(&store).await.namespace;
    assert_eq!(store.balance(namespace).await.unwrap().unwrap().held, Credits::ZERO);
    // These are cancelled now; what was settled or released has to stay so.
    acknowledged.retain(|_, verb| matches!(verb.as_str(), "settle" | "release"));
    for (id, verb) in &*acknowledged {
        let state = store.job(*id).await.unwrap().unwrap().state;
        assert_eq!(
            state,
            if verb == "settle" {
                JobState::Succeeded
            } else {
                JobState::Failed
            }
        );
    }
    tokio::time::timeout(Duration::from_mins(2), store.close())
        .await
        .unwrap();
}

/// The child: works on many jobs at once until it is killed.
async fn work(path: &Path) {
    let store = Arc::new(SqliteStore::open(path).unwrap());
    let key = tenant(&store).await;
    let grant = Grant {
        idempotency_key: "start".to_owned(),
        namespace: key.namespace,
        amount: Credits::from_whole(1_000_000),
        reason: "test".to_owned(),
        now: SystemClock.now(),
    };
    store.grant(grant).await.unwrap();
    let tasks: Vec<_> = (0..16)
        .map(|number: usize| {
            let (store, key) = (Arc::clone(&store), key.clone());
            tokio::spawn(async move {
                for round in number.. {
                    one_job(&store, &key, round % 3 == 0).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn one_job(store: &SqliteStore, key: &KeyRecord, fails: bool) {
    let (clock, entropy) = (SystemClock, SystemEntropy);
    let (now, node) = (clock.now(), NodeId::from_address(Address::repeat_byte(1)));
    let deadline = now.after(Duration::from_mins(1));
    let job = NewJob {
        id: JobId::new(&clock, &entropy),
        environment: key.environment,
        namespace: key.namespace,
        key: key.id,
        kind: JobKind::ChatCompletion,
        model: "test-model".to_owned(),
        model_version: "1".to_owned(),
        stream: false,
        hold: HOLD,
        request_hash: B256::ZERO,
        now,
        deadline,
        endpoint: Endpoint::ChatCompletions,
        asked_model: "test-model".to_owned(),
        priority: Priority::Normal,
        payload: None,
    };
    let lease = NewLease {
        node,
        token: LeaseToken::new(&clock, &entropy),
        deadline,
    };
    let lease_ref = LeaseRef {
        job: job.id,
        attempt: Attempt::FIRST,
        token: lease.token,
    };
    let id = job.id;
    assert_eq!(
        store.reserve_and_enqueue(job, Some(lease)).await.unwrap(),
        Admission::Admitted
    );
    println!("ack hold {id}");
    assert!(store.mark_running(lease_ref, now).await.unwrap());
    println!("ack running {id}");
    if fails {
        store
            .release(Release {
                job: id,
                state: JobState::Failed,
                error_code: "node_failed",
                error_message: String::new(),
                error_param: None,
                repeatable: true,
                now,
            })
            .await
            .unwrap();
        println!("ack release {id}");
        return;
    }
    let settle = Settle {
        lease: lease_ref,
        node,
        cost: cost_of(id),
        node_share: 8_000,
        usage: Usage::new(3, 4),
        finish_reason: "stop".to_owned(),
        outcome: Outcome::Complete,
        request_hash: B256::ZERO,
        transcript_hash: B256::ZERO,
        output_hash: B256::ZERO,
        signature: Signature::from_bytes([0; 65]),
        answer: None,
        now,
    };
    store.settle(settle).await.unwrap();
    println!("ack settle {id}");
}

/// A cost that both processes know from the job's id.
fn cost_of(job: JobId) -> Credits {
    Credits::from_micros(i64::from(job.as_uuid().as_bytes()[15]))
}

/// The same one in every run.
async fn tenant(store: &SqliteStore) -> KeyRecord {
    let (clock, entropy) = (SystemClock, SystemEntropy);
    let tenant = NewTenant {
        account: AccountId::new(&clock, &entropy),
        account_name: "test".to_owned(),
        namespace: NamespaceId::new(&clock, &entropy),
        namespace_name: "test".to_owned(),
        environment: Environment::Testnet,
        key: KeyId::new(&clock, &entropy),
        key_hash: B256::repeat_byte(1),
        key_label: "test".to_owned(),
        key_hint: String::new(),
        key_limits: KeyLimits::default(),
        now: clock.now(),
    };
    store.ensure_tenant(tenant).await.unwrap()
}
