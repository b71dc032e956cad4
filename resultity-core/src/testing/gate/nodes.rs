//! The contract of [`NodesApi`]: what holds without a node on the line.

use std::fmt::Debug;

use super::GateSetting;
use crate::api::gate::{
    AppealPenalty, AskBinding, BindNode, ControlNode, CreateJoinCode, InEnvironment, NodeAction, NodeJobsQuery,
    NodeLogsQuery, NodeWorkQuery, NodesApi, NodesQuery, PayOutNode, PenaltiesQuery, UpdateNode, join_code_hash,
};
use crate::environment::Environment;
use crate::error::{ApiError, ErrorCode};
use crate::id::{NamespaceId, PenaltyId};
use crate::signing::Keypair;

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails. The account has no nodes.
pub async fn all<A: NodesApi + ?Sized>(api: &A, setting: &GateSetting<'_>) {
    macro_rules! run {
        ($($scenario:ident)*) => {$(
            eprintln!("contract: nodes: {}", stringify!($scenario));
            $scenario(api, setting).await;
        )*};
    }
    run! {
        a_code_is_made_for_a_node
        what_a_wallet_signs_names_the_node
        a_node_of_nobody_is_not_found
        what_is_wrong_is_named
    }
}

fn refused<T: Debug>(result: Result<T, ApiError>) -> ApiError {
    result.expect_err("it should have been refused")
}

/// A code is readable, and ends. Panics if not.
pub async fn a_code_is_made_for_a_node<A: NodesApi + ?Sized>(api: &A, setting: &GateSetting<'_>) {
    let request = CreateJoinCode::new(Environment::Testnet).name("attic");
    let [first, second] = [
        api.create_join_code(request.clone()).await.expect("a code"),
        api.create_join_code(request).await.expect("another code"),
    ];
    assert_ne!(first.code, second.code);
    assert!(join_code_hash(&first.code).is_some(), "{}", first.code);
    assert!(!format!("{first:?}").contains(&first.code), "a code is a secret");
    assert_eq!(first.name.as_deref(), Some("attic"));
    let now = setting.clock.now().as_seconds();
    assert!((now..=now + 15 * 60 + 1).contains(&first.expires_at));
    let listed = api.nodes(NodesQuery::default()).await.expect("a list");
    assert_eq!(listed.data, [], "a code is no node");
}

/// A message is for one node and one account; a signature of no wallet of the account is worth nothing. Panics if not.
pub async fn what_a_wallet_signs_names_the_node<A: NodesApi + ?Sized>(api: &A, setting: &GateSetting<'_>) {
    let node = Keypair::generate(setting.entropy).node_id();
    let asked = AskBinding::new(node, Environment::Testnet);
    let message = api.ask_binding(asked).await.expect("a message").message;
    assert!(
        message.contains(&node.to_string()) && message.contains("testnet"),
        "{message}"
    );
    let signature = Keypair::generate(setting.entropy).sign_text(&message).to_string();
    let error = refused(api.bind_node(BindNode::new(message, signature)).await);
    assert_eq!(
        (error.code, error.param.as_deref()),
        (ErrorCode::PermissionDenied, Some("signature"))
    );
}

/// Whatever is asked of a node that the account does not have. Panics if it is found.
pub async fn a_node_of_nobody_is_not_found<A: NodesApi + ?Sized>(api: &A, setting: &GateSetting<'_>) {
    let node = Keypair::generate(setting.entropy).node_id();
    let place = InEnvironment::from(Environment::Testnet);
    let namespace = NamespaceId::new(setting.clock, setting.entropy);
    let penalty = PenaltyId::new(setting.clock, setting.entropy);
    let pause = ControlNode::new(NodeAction::Pause);
    let appeal = AppealPenalty::new("no");
    let errors = [
        refused(api.node(node, place).await),
        refused(api.update_node(node, place, UpdateNode::name("x")).await),
        refused(api.unbind_node(node, place).await),
        refused(api.control_node(node, place, pause).await),
        refused(api.why_node(node, place).await),
        refused(api.node_jobs(node, NodeJobsQuery::default()).await),
        refused(api.node_logs(node, NodeLogsQuery::default()).await),
        refused(api.node_earnings(node, NodeWorkQuery::default()).await),
        refused(api.pay_out_node(node, place, PayOutNode::all(namespace)).await),
        refused(api.node_penalties(node, PenaltiesQuery::default()).await),
        refused(api.appeal_penalty(node, penalty, place, appeal).await),
    ];
    for error in errors {
        assert_eq!(error.code, ErrorCode::NotFound, "{error}");
    }
}

/// Panics if what is wrong is taken, or not named.
pub async fn what_is_wrong_is_named<A: NodesApi + ?Sized>(api: &A, setting: &GateSetting<'_>) {
    let node = Keypair::generate(setting.entropy).node_id();
    let place = InEnvironment::from(Environment::Testnet);
    let long_name = CreateJoinCode::new(Environment::Testnet).name("x".repeat(101));
    let control = CreateJoinCode::new(Environment::Testnet).name("a\u{1b}[2Jb");
    let jobs = NodeJobsQuery {
        after: Some("x".into()),
        ..NodeJobsQuery::default()
    };
    let page = NodesQuery {
        limit: Some(0),
        ..NodesQuery::default()
    };
    let penalty = PenaltyId::new(setting.clock, setting.entropy);
    let cases = [
        (refused(api.create_join_code(long_name).await), "name"),
        (refused(api.create_join_code(control).await), "name"),
        (
            refused(api.bind_node(BindNode::new("hello", "0x00")).await),
            "signature",
        ),
        (
            refused(api.bind_node(BindNode::new("x".repeat(2000), "0x00")).await),
            "message",
        ),
        (refused(api.node_jobs(node, jobs).await), "after"),
        (refused(api.nodes(page).await), "limit"),
        (
            refused(
                api.appeal_penalty(node, penalty, place, AppealPenalty::new("x".repeat(2001)))
                    .await,
            ),
            "text",
        ),
    ];
    for (error, param) in cases {
        assert_eq!(
            (error.code, error.param.as_deref()),
            (ErrorCode::InvalidValue, Some(param)),
            "{error}"
        );
    }
}
