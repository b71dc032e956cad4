//! Nodes that are killed at every step of a job, alone and together with the server.

use std::path::Path;
use std::sync::Arc;

use resultity_client::CloudClient;
use resultity_core::api::jobs::{JobRequest, JobsApi};
use resultity_core::credits::Credits;
use resultity_core::error::ErrorCode;
use resultity_core::id::JobId;
use resultity_core::job::JobState;
use resultity_server::assemble::open_store;
use resultity_server::store::Store;
use rstest::rstest;

use crate::harness::invariants::{invariants, invariants_of};
use crate::harness::process::Process;
use crate::harness::{CREDITS, TestServer, soon};
use crate::node::{Node, Parrot, Step};
use crate::{is_ours, request, text_of};

/// What was charged in all.
async fn charged(server: &TestServer) -> Credits {
    server.until_idle().await;
    let balance = server.balance().await;
    Credits::from_micros(CREDITS.micros() - balance.available.micros())
}

#[rstest]
#[case(Step::Begun)]
#[case(Step::Middle)]
#[case(Step::Made)]
#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_killed_at_a_step_and_comes_back(#[case] step: Step, #[values(false, true)] stream: bool) {
    let server = TestServer::start().await;
    let runtime = Parrot::stopping_at(step);
    let (doomed, dir) = Node::ready(&server, runtime.clone()).await;
    let asked = text_of(&server, request("hello"), stream);
    let told = async {
        runtime.until_stopped().await;
        let (second, second_dir) = Node::ready(&server, Parrot::default()).await;
        doomed.kill().await;
        (second, second_dir)
    };
    let (answer, (second, _second_dir)) = soon("an end", async { tokio::join!(asked, told) }).await;
    let had_output = stream && step != Step::Begun;
    match answer {
        Ok(text) => assert_eq!((text, had_output), (Parrot::says("hello"), false)),
        Err(error) => assert_eq!((error.code, had_output), (ErrorCode::NodeFailed, true), "{error:?}"),
    }
    let before = charged(&server).await;
    assert_eq!(before == Credits::ZERO, had_output);
    invariants(&server).await;

    // It comes back as itself; what its journal says changes nothing.
    let again = Node::start(&server.io_url(), dir.path(), Parrot::default());
    again.until_in_rotation(&server).await;
    assert_eq!(charged(&server).await, before);
    invariants(&server).await;
    again.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_are_killed_and_nothing_is_charged() {
    let server = TestServer::start().await;
    let runtime = Parrot::stopping_at(Step::Made);
    let (node, _dir) = Node::ready(&server, runtime.clone()).await;
    let killed = async {
        runtime.until_stopped().await;
        node.kill().await;
    };
    let (answer, ()) = soon("an end", async {
        tokio::join!(text_of(&server, request("hello"), false), killed)
    })
    .await;
    let error = answer.unwrap_err();
    assert!(is_ours(&error), "{error:?}");
    assert_eq!(charged(&server).await, Credits::ZERO);
    invariants(&server).await;
}

async fn until_final(client: &CloudClient, id: JobId) -> JobState {
    soon("the end of the job", async {
        loop {
            let job = client.job(id).await.unwrap();
            if job.status.is_final() {
                return job.status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
}

fn client_of(server: &Process) -> CloudClient {
    let description = &server.description;
    let builder = CloudClient::builder()
        .base_url(&description.cloud)
        .api_key(description.api_key.clone());
    builder.max_retries(0).build().unwrap()
}

async fn process(data_dir: &Path) -> Process {
    Process::start_with(data_dir, &["--model", "m"]).await
}

#[rstest]
#[case(Step::Begun)]
#[case(Step::Middle)]
#[case(Step::Made)]
#[tokio::test(flavor = "multi_thread")]
async fn server_and_node_are_killed_at_once_and_a_job_in_the_background_is_answered_once(#[case] step: Step) {
    let (data_dir, node_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = process(data_dir.path()).await;
    let runtime = Parrot::stopping_at(step);
    let node = Node::start(&server.description.io, node_dir.path(), runtime.clone());
    let job = JobRequest::chat(&request("hello")).unwrap();
    let id = client_of(&server).create_job(job).await.unwrap().id;
    runtime.until_stopped().await;
    tokio::join!(server.kill(), node.kill());

    let server = process(data_dir.path()).await;
    let node = Node::start(&server.description.io, node_dir.path(), Parrot::default());
    let client = client_of(&server);
    assert_eq!(until_final(&client, id).await, JobState::Succeeded);
    let job = client.job(id).await.unwrap();
    assert!(job.result.as_ref().unwrap().get().contains(&Parrot::says("hello")));
    node.stop().await;
    server.kill().await;
    let store: Arc<dyn Store> = Arc::new(open_store(data_dir.path(), None).unwrap());
    assert_eq!(store.audit().await.unwrap().jobs, 1);
    invariants_of(&*store, data_dir.path()).await;
}
