//! What receipts call the node that answered: known to its owner, to an administrator who asks and is written down, and to
//! nobody else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use harness::node::TestNode;
use harness::{TestServer, gate};
use resultity_core::B256;
use resultity_core::api::cloud::ChatApi;
use resultity_core::api::gate::{AdminNodesApi, InEnvironment, NodesApi, ResolvePseudonym};
use resultity_core::api::jobs::JobsApi;
use resultity_core::environment::Environment;
use resultity_core::error::ErrorCode;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::receipt::SignedReceipt;
use resultity_server::store::admin::AuditFilter;

const TESTNET: InEnvironment = InEnvironment {
    environment: Some(Environment::Testnet),
};

/// The receipt of a job that this node answered.
async fn receipt(server: &TestServer, node: &mut TestNode) -> SignedReceipt {
    let client = server.client();
    let asking = {
        let client = client.clone();
        tokio::spawn(async move {
            client
                .chat(ChatRequest::new("m", [Message::user("hi")]).max_tokens(10))
                .await
        })
    };
    let job = node.next_job().await;
    node.answer(&job, "hello").await;
    let reply = asking.await.unwrap().unwrap();
    client.receipt(reply.meta.job_id.unwrap()).await.unwrap().body
}

/// How often somebody found out whose a pseudonym is.
async fn resolved(server: &TestServer) -> usize {
    let filter = AuditFilter {
        action: Some("node.resolve".into()),
        limit: 10,
        ..AuditFilter::default()
    };
    server.store.audit_lines(filter).await.unwrap().len()
}

#[tokio::test]
async fn a_receipt_names_a_pseudonym_that_its_owner_knows_and_an_administrator_finds_out() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let first = receipt(&server, &mut node).await;
    let flow = server.running.app().flow();
    assert_eq!(first.verify(&flow.domain, flow.network_key().address()), Ok(()));
    let pseudonym = first.receipt.node.unwrap();
    let second = receipt(&server, &mut node).await;
    // A week may have begun between the two.
    let token = gate::sign_in(&server, server.principal.account).await;
    let owner = gate::client_with(&server, &token);
    let shown = owner.node(node.id(), TESTNET).await.unwrap().pseudonyms;
    for receipt in [&first, &second] {
        assert!(
            shown.iter().any(|one| Some(one.pseudonym) == receipt.receipt.node),
            "{shown:?}"
        );
    }

    let request = |pseudonym| ResolvePseudonym::new(Environment::Testnet, pseudonym, "a complaint");
    let refused = owner.resolve_pseudonym(request(pseudonym)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PermissionDenied);
    let (_, _, admin) = gate::administrator(&server, "root").await;
    let unknown = admin
        .resolve_pseudonym(request(B256::repeat_byte(1)))
        .await
        .unwrap_err();
    assert_eq!(
        (unknown.code, unknown.param.as_deref()),
        (ErrorCode::NotFound, Some("pseudonym"))
    );
    let mut silent = request(pseudonym);
    silent.reason = " ".into();
    let refused = admin.resolve_pseudonym(silent).await.unwrap_err();
    assert_eq!(refused.param.as_deref(), Some("reason"));
    assert_eq!(resolved(&server).await, 0);
    let found = admin.resolve_pseudonym(request(pseudonym)).await.unwrap();
    assert_eq!((found.node, found.pseudonym), (node.id(), pseudonym));
    assert_eq!(resolved(&server).await, 1);
    let mut of_its_time = request(pseudonym);
    of_its_time.finished_at = Some(first.receipt.finished_at.as_millis());
    assert_eq!(admin.resolve_pseudonym(of_its_time.clone()).await.unwrap(), found);
    of_its_time.finished_at = Some(0);
    assert_eq!(
        admin.resolve_pseudonym(of_its_time).await.unwrap_err().code,
        ErrorCode::NotFound
    );
}
