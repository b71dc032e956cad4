//! What an access token can't make of itself: a session, another environment, a life after its account's password.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use harness::gate::{account, administrator, client_with};
use harness::wallet::TestWallet;
use harness::{TestServer, model};
use resultity_core::api::gate::{
    AccountApi, AdminAccountsApi, AskBinding, BindNode, ChangeAccount, ChangeEmail, CorrectionsApi, CreateNamespace,
    CreateToken, CreditGrant, GrantApi, NamespacesApi, NewCorrection, NodesApi, Role, Scope, SecondFactorApi,
    WalletsApi,
};
use resultity_core::clock::{Clock, SystemClock, SystemEntropy};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::signing::Keypair;
use resultity_server::assemble::Offer;

fn code<T: std::fmt::Debug>(result: Result<T, ApiError>) -> ErrorCode {
    result.expect_err("it should have been refused").code
}

async fn both() -> TestServer {
    let offer = Offer::new(vec![model("m")]);
    TestServer::with_options(offer.clone(), |options| {
        options.networks.push((Environment::Mainnet, offer));
    })
    .await
}

#[tokio::test]
async fn no_token_changes_how_its_account_is_signed_in_to() {
    let server = both().await;
    let (_, _, ada) = account(&server, "ada").await;
    let wanted = CreateToken::new("all", Scope::ALL.into_iter().filter(|scope| *scope != Scope::Admin));
    let token = resultity_core::api::gate::TokensApi::create_token(&ada, wanted)
        .await
        .unwrap();
    let token = client_with(&server, &token.secret);
    let wallet = TestWallet::new();
    // What a session may link is no way from a token to a session.
    let link = wallet.to_link(&ada).await;
    assert_eq!(code(token.link_wallet(link.clone()).await), ErrorCode::PermissionDenied);
    ada.link_wallet(link).await.unwrap();
    assert_eq!(code(token.remove_email().await), ErrorCode::PermissionDenied);
    let email = ChangeEmail::new("other@example.org", "any password at all");
    assert_eq!(code(token.change_email(email).await), ErrorCode::PermissionDenied);
    assert_eq!(code(token.set_up_totp().await), ErrorCode::PermissionDenied);
    // It may still see and do the rest.
    assert_eq!(token.own_account().await.unwrap().wallets, 1);
}

#[tokio::test]
async fn a_token_of_another_environment_uses_no_message_up() {
    let server = both().await;
    let (_, _, ada) = account(&server, "ada").await;
    let wallet = TestWallet::new();
    ada.link_wallet(wallet.to_link(&ada).await).await.unwrap();
    let node = Keypair::generate(&SystemEntropy).node_id();
    let now = SystemClock.now();
    server
        .store
        .register_node(node, Environment::Testnet, now)
        .await
        .unwrap();
    let asked = ada.ask_binding(AskBinding::new(node, Environment::Testnet)).await;
    let message = asked.unwrap().message;
    let signed = || BindNode::new(&message, wallet.key.sign_text(&message).to_string());
    let wanted = CreateToken::new("mainnet", [Scope::Nodes]).environment(Environment::Mainnet);
    let token = resultity_core::api::gate::TokensApi::create_token(&ada, wanted)
        .await
        .unwrap();
    let token = client_with(&server, &token.secret);
    assert_eq!(code(token.bind_node(signed()).await), ErrorCode::InvalidValue);
    assert_eq!(
        server
            .store
            .fleet_node(node, Environment::Testnet, now)
            .await
            .unwrap()
            .unwrap()
            .standing
            .account,
        None
    );
    assert_eq!(ada.bind_node(signed()).await.unwrap().id, node);
}

#[tokio::test]
async fn an_administrators_token_stays_in_its_environment() {
    let server = both().await;
    let (_, _, root) = administrator(&server, "root").await;
    let (ada_id, _, ada) = account(&server, "ada").await;
    let request = CreateNamespace::new("real").environment(Environment::Mainnet);
    let namespace = ada.create_namespace(request).await.unwrap();
    let granted = CreditGrant::to_namespace(namespace.id, Credits::from_whole(5));
    root.grant_credits(granted).await.unwrap();
    let wanted = CreateToken::new("testnet", Scope::ALL).environment(Environment::Testnet);
    let token = resultity_core::api::gate::TokensApi::create_token(&root, wanted)
        .await
        .unwrap();
    let token = client_with(&server, &token.secret);
    for transaction in 1..20 {
        let undo = NewCorrection::of_transaction(transaction.to_string(), "mine now");
        // Those of testnet it may undo.
        let _ = token.correct(undo).await;
    }
    let balance = server.store.balance(namespace.id).await.unwrap().unwrap();
    assert_eq!(balance.available, Credits::from_whole(5));
    // An account is in both environments.
    let promoted = ChangeAccount::role(Role::Admin, "mine now");
    assert_eq!(
        code(token.change_account(ada_id, promoted.clone()).await),
        ErrorCode::PermissionDenied
    );
    assert_eq!(root.change_account(ada_id, promoted).await.unwrap().role, Role::Admin);
}
