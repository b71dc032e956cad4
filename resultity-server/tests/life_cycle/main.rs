//! A whole life, with the programs that people run: an operator starts a network, one account asks, another one answers with
//! a node of its own, prices change, a key is replaced; in the end the books are right and no log holds a secret.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![allow(unreachable_pub, reason = "the modules of this test are for it alone")]

mod engine;
mod programs;

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use programs::{Background, Programs, outbox_code};
use resultity_client::{CloudClient, GateClient, StatusClient};
use resultity_core::api::cloud::ChatApi;
use resultity_core::api::gate::{AskWallet, InEnvironment, LinkWallet, SignIn, SignInApi, WalletsApi};
use resultity_core::api::status::{StatusApi, StatusEvent};
use resultity_core::clock::SystemEntropy;
use resultity_core::credits::Credits;
use resultity_core::error::ErrorCode;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::signing::keystore::{self, ScryptCost};
use resultity_core::signing::{Keypair, eip191_hash};
use serde_json::Value;

/// How long anything may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_mins(1);

const ADA: &str = "ada@example.org";
const ADMIN: &str = "admin@example.org";

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, future).await;
    ended.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

fn credits(value: &Value) -> Credits {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no amount: {value}"))
        .parse()
        .unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn configuration(folder: &Path, port: u16) -> String {
    let path = |name: &str| {
        folder
            .join(name)
            .to_str()
            .expect("a temporary folder is text")
            .to_owned()
    };
    let (data, outbox) = (path("server"), path("outbox"));
    format!(
        r#"
listen = "127.0.0.1:{port}"
metrics_listen = "127.0.0.1:0"
data_dir = "{data}"
environments = ["testnet", "mainnet"]
drain_seconds = 5

[mail]
directory = "{outbox}"

[[models]]
name = "m"
version = "1"
kind = "external"
context_length = 4096
default_max_tokens = 16
capabilities = ["chat", "completions", "n", "stop"]
test_prompt = "Say yes."

[models.price]
input_per_million = 1000000
output_per_million = 2000000
per_request = 10
"#
    )
}

/// What a chat costs, by this key.
async fn chat(server: &str, key: &str) -> Result<Credits, ErrorCode> {
    let client = CloudClient::builder()
        .base_url(format!("{server}/v1"))
        .api_key(key.to_owned())
        .max_retries(0);
    let request = ChatRequest::new("m", [Message::user("Is it?")]);
    let answer = soon("an answer", client.build().unwrap().chat(request)).await;
    let answer = answer.map_err(|error| error.code)?;
    assert_eq!(answer.text(), "Yes, it is.");
    Ok(answer.meta.cost.unwrap())
}

async fn until_served(server: &str) {
    let status = StatusClient::builder()
        .base_url(format!("{server}/status/v1"))
        .build()
        .unwrap();
    soon("a node that serves the model", async {
        let mut events = status.events(InEnvironment::default()).await.unwrap();
        while let Some(event) = events.next().await {
            if let StatusEvent::Network(network) = event.unwrap()
                && network.body.models == 1
            {
                return;
            }
        }
        panic!("the events ended");
    })
    .await;
}

#[tokio::test]
async fn from_sign_up_to_a_clean_audit() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let programs = Programs::find();
    let port = programs::free_port();
    let server = format!("http://127.0.0.1:{port}");
    let (ada_password, admin_password) = (programs::secret(), programs::secret());

    // The operator: a configuration, a server, an administrator.
    std::fs::write(at("server.toml"), configuration(folder.path(), port)).unwrap();
    let config = at("server.toml");
    let serve = ["serve".as_ref(), "--config".as_ref(), config.as_os_str()];
    let running = Background::start(&programs.server, &serve, &at("server.log"));
    soon("the server", programs::until_ready(&server)).await;
    std::fs::write(at("password.txt"), &admin_password).unwrap();
    let (data, password) = (at("server"), at("password.txt"));
    let create = [
        "admin".as_ref(),
        "create".as_ref(),
        "--email".as_ref(),
        ADMIN.as_ref(),
        "--data-dir".as_ref(),
        data.as_os_str(),
        "--password-file".as_ref(),
        password.as_os_str(),
    ];
    programs.run(&programs.server, &create).await;

    // Ada signs up by mail, links a wallet, and gets a key and credits.
    let ada = programs.user(&server, &at("ada"));
    let mut sign_up = ada.start(&["login", "--sign-up", "--email", ADA, "--password-stdin", "--json"]);
    sign_up.say(&ada_password).await;
    let code = soon("a code by mail", outbox_code(&at("outbox"), ADA)).await;
    sign_up.say(&code).await;
    let signed_up = sign_up.json().await;
    assert_eq!(signed_up["gate"], format!("{server}/gate/v1"));
    let door = GateClient::builder().base_url(format!("{server}/gate/v1"));
    let signed_in = door
        .build()
        .unwrap()
        .sign_in(SignIn::new(ADA, &ada_password))
        .await
        .unwrap();
    let ada_token = signed_in.token.unwrap();
    let gate = GateClient::builder()
        .base_url(format!("{server}/gate/v1"))
        .api_key(ada_token.clone());
    let gate = gate.build().unwrap();
    let wallet = Keypair::generate(&SystemEntropy);
    let challenge = gate
        .wallet_link_challenge(AskWallet::new(wallet.address().to_string()))
        .await
        .unwrap();
    let signature = wallet.sign(eip191_hash(&challenge.message)).to_string();
    gate.link_wallet(LinkWallet::new(challenge.message, signature))
        .await
        .unwrap();
    assert_eq!(ada.json(&["whoami"]).await["account"]["wallets"], 1);
    ada.json(&["namespaces", "create", "lab"]).await;
    let made = ada
        .json(&["keys", "create", "--namespace", "lab", "--label", "laptop"])
        .await;
    let key = text(&made["secret"]).to_owned();
    let received = credits(&ada.json(&["credits", "faucet", "lab"]).await["received"]);
    assert!(received > Credits::ZERO);
    assert_eq!(chat(&server, &key).await, Err(ErrorCode::NoCapacity));

    // Bob signs up by wallet and binds a node by a code.
    let bob_wallet = Keypair::generate(&SystemEntropy);
    let passphrase = programs::secret();
    let sealed = keystore::encrypt(&bob_wallet, passphrase.as_bytes(), ScryptCost::light(), &SystemEntropy);
    std::fs::write(at("wallet.json"), sealed).unwrap();
    std::fs::write(at("passphrase.txt"), &passphrase).unwrap();
    let bob = programs.user(&server, &at("bob"));
    let (wallet_file, passphrase_file) = (at("wallet.json"), at("passphrase.txt"));
    let login = [
        "login",
        "--keystore",
        wallet_file.to_str().unwrap(),
        "--passphrase-file",
        passphrase_file.to_str().unwrap(),
    ];
    bob.json(&login).await;
    let code = bob.json(&["nodes", "code", "--name", "attic"]).await;
    let (io, node_data) = (format!("ws://127.0.0.1:{port}/io/v1/ws"), at("node"));
    let join = [
        "join".as_ref(),
        text(&code["code"]).as_ref(),
        "--io".as_ref(),
        io.as_ref(),
        "--data-dir".as_ref(),
        node_data.as_os_str(),
    ];
    programs.run(&programs.node, &join).await;
    let engine = engine::start().await;
    let run = [
        "run".as_ref(),
        "--io".as_ref(),
        io.as_ref(),
        "--engine".as_ref(),
        engine.as_ref(),
        "--data-dir".as_ref(),
        node_data.as_os_str(),
    ];
    let node = Background::start(&programs.node, &run, &at("node.log"));
    until_served(&server).await;
    let nodes = bob.json(&["nodes"]).await;
    assert_eq!(
        (&nodes[0]["name"], &nodes[0]["in_rotation"]),
        (&"attic".into(), &true.into()),
        "{nodes}"
    );

    // Ada asks, pays, and sees what it cost; Bob earns, and is paid out.
    let first = chat(&server, &key).await.unwrap();
    let usage = ada.json(&["credits", "usage", "--by", "key"]).await;
    assert_eq!(
        (&usage["data"][0]["key_label"], credits(&usage["total"]["cost"])),
        (&"laptop".into(), first),
        "{usage}"
    );
    let earnings = bob.json(&["nodes", "earnings", "attic"]).await;
    let available = credits(&earnings["available"]);
    assert!(available > Credits::ZERO && available < first, "{earnings}");
    bob.json(&["namespaces", "create", "default"]).await;
    let paid = bob.json(&["nodes", "payout", "attic"]).await;
    assert_eq!(
        (credits(&paid["amount"]), credits(&paid["remaining"])),
        (available, Credits::ZERO)
    );

    // A snapshot with another price changes what it costs.
    let admin = programs.user(&server, &at("admin"));
    let mut login = admin.start(&["login", "--email", ADMIN, "--password-stdin", "--json"]);
    login.say(&admin_password).await;
    login.json().await;
    let dearer = ["snapshots", "price", "m", "--request", "1", "--reason", "dearer"];
    let published = admin.json(&dearer).await;
    assert_eq!(published["snapshot"]["version"], 2, "{published}");
    let second = chat(&server, &key).await.unwrap();
    assert_eq!(second.micros() - first.micros(), 1_000_000 - 10);
    let audit = admin.json(&["snapshots"]).await;
    assert_eq!(audit["data"][0]["reason"], "dearer", "{audit}");

    // The key gets a new secret; the old one is dead.
    let rotated = ada.json(&["keys", "rotate", "laptop", "--overlap", "0s"]).await;
    let new_key = text(&rotated["secret"]).to_owned();
    assert_eq!(chat(&server, &key).await, Err(ErrorCode::InvalidApiKey));
    let third = chat(&server, &new_key).await.unwrap();
    let left = ada.json(&["credits", "balances"]).await;
    let spent = first.micros() + second.micros() + third.micros();
    assert_eq!(credits(&left["total"]).micros(), received.micros() - spent, "{left}");
    ada.run(&["logout"]).await;

    // All stop in order, and the books are right.
    node.stop().await;
    running.stop().await;
    let books = programs
        .run(
            &programs.server,
            &["audit".as_ref(), "--data-dir".as_ref(), data.as_os_str()],
        )
        .await;
    assert!(books.contains("The books are right."), "{books}");

    let secrets = [
        ("Ada's password", ada_password.as_str()),
        ("the administrator's password", &admin_password),
        ("Ada's code", text(&code["code"])),
        ("Ada's session", &ada_token),
        ("the first key", &key),
        ("the second key", &new_key),
        ("the wallet's passphrase", &passphrase),
        ("what was asked", "Is it?"),
        ("what was answered", "Yes, it is."),
    ];
    for log in ["server.log", "node.log"] {
        let said = std::fs::read_to_string(at(log)).unwrap();
        assert!(said.contains("DEBUG"), "{log} does not tell of all levels:\n{said}");
        for (what, secret) in secrets {
            let place = said.find(secret).map(|place| {
                let line = said[..place].rfind('\n').map_or(0, |start| start + 1);
                said[line..].lines().next().unwrap_or_default().replace(secret, "[…]")
            });
            assert!(place.is_none(), "{log} holds {what}: {place:?}");
        }
    }
}
