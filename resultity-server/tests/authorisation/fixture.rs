//! Accounts, tokens, and an object of every kind that a path can name.

use std::collections::HashMap;

use reqwest::Method;
use resultity_core::clock::{Clock as _, SystemClock, SystemEntropy};
use resultity_core::environment::Environment;
use resultity_core::signing::{Keypair, eip191_hash};
use resultity_server::session::new_key;
use resultity_server::store::KeyLimits;
use resultity_server::tenant::{self, Tenant};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::harness::{self, TestServer, soon};
use crate::table::Route;

/// All scopes but that of administration.
const USER_SCOPES: [&str; 5] = ["read", "keys", "credits", "nodes", "account"];

pub struct Fixture {
    /// Signed in as whoever owns the objects.
    pub owner: String,
    /// Signed in as somebody else.
    pub stranger: String,
    pub administrator: String,
    pub administrator_without_scope: String,
    /// A token for administration, of an account that is no administrator any more.
    pub demoted: String,
    /// Two tokens of the owner that have no scope in common.
    pub only_keys: String,
    pub only_nodes: String,
    pub reader: String,
    pub owner_in_mainnet: String,
    pub administrator_in_mainnet: String,
    /// A key of another account.
    pub strange_key: String,
    /// A key of the same account in the other environment.
    pub mainnet_key: String,
    gate: HashMap<&'static str, String>,
    cloud: HashMap<&'static str, String>,
}

struct Calls<'a> {
    http: reqwest::Client,
    server: &'a TestServer,
}

impl Calls<'_> {
    async fn call(&self, method: Method, path: &str, bearer: &str, body: Option<Value>) -> Value {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.server.base_url()))
            .bearer_auth(bearer);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = soon("an answer", request.send()).await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    async fn post(&self, path: &str, bearer: &str, body: Value) -> Value {
        self.call(Method::POST, path, bearer, Some(body)).await
    }

    async fn get(&self, path: &str, bearer: &str) -> Value {
        self.call(Method::GET, path, bearer, None).await
    }

    async fn token(&self, bearer: &str, scopes: &[&str], environment: Option<&str>) -> String {
        let mut body = json!({"name": "test", "scopes": scopes});
        if let Some(environment) = environment {
            body["environment"] = environment.into();
        }
        text(&self.post("/gate/v1/tokens", bearer, body).await["secret"])
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Fixture {
    pub async fn new(server: &TestServer) -> Self {
        let calls = Calls {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            server,
        };
        let role = resultity_core::api::gate::Role::User;
        let owner_account = harness::gate::new_account(server, "owner", role).await;
        let owner = harness::gate::sign_in(server, owner_account).await;
        let stranger_account = harness::gate::new_account(server, "stranger", role).await;
        let stranger = harness::gate::sign_in(server, stranger_account).await;
        let admin_account = harness::gate::new_account(server, "admin", resultity_core::api::gate::Role::Admin).await;
        let administrator = harness::gate::sign_in(server, admin_account).await;
        let all_scopes: Vec<&str> = USER_SCOPES.into_iter().chain(["admin"]).collect();

        let mut gate = HashMap::new();
        let namespace = calls
            .post(
                "/gate/v1/namespaces",
                &owner,
                json!({"name": "own", "environment": "testnet"}),
            )
            .await;
        gate.insert("namespace", text(&namespace["id"]));
        let key = json!({"namespace": namespace["id"], "label": "own"});
        gate.insert("key", text(&calls.post("/gate/v1/keys", &owner, key).await["id"]));
        let sessions = calls.get("/gate/v1/sessions", &owner).await;
        gate.insert("session", text(&sessions["data"][0]["id"]));
        let token = json!({"name": "own", "scopes": ["read"]});
        gate.insert("token", text(&calls.post("/gate/v1/tokens", &owner, token).await["id"]));
        let wallet = Keypair::generate(&SystemEntropy);
        let address = wallet.address().to_string();
        let challenge = calls
            .post(
                "/gate/v1/account/wallets/challenge",
                &owner,
                json!({"address": address}),
            )
            .await;
        let message = text(&challenge["message"]);
        let signature = wallet.sign(eip191_hash(&message)).to_string();
        calls
            .post(
                "/gate/v1/account/wallets",
                &owner,
                json!({"message": message, "signature": signature}),
            )
            .await;
        gate.insert("address", address);
        let (node, now) = (Keypair::generate(&SystemEntropy).node_id(), SystemClock.now());
        server
            .store
            .register_node(node, Environment::Testnet, now)
            .await
            .unwrap();
        server
            .store
            .bind_node(node, Environment::Testnet, owner_account, now)
            .await
            .unwrap();
        gate.insert("node", node.to_string());
        let subcloud = json!({"name": "own", "environment": "testnet", "join": "closed"});
        let subcloud = calls.post("/gate/v1/subclouds", &owner, subcloud).await;
        gate.insert("subcloud", text(&subcloud["id"]));
        let path = format!("/gate/v1/nodes/{node}/subclouds?environment=testnet");
        calls.post(&path, &owner, json!({"subcloud": "own"})).await;
        let path = format!("/gate/v1/admin/nodes/{node}/penalties?environment=testnet");
        let penalty = calls.post(&path, &administrator, json!({"reason": "a test"})).await;
        gate.insert("penalty", text(&penalty["id"]));
        gate.insert("account", owner_account.to_string());
        gate.insert("version", "1".into());
        gate.insert("model", "m".into());
        gate.insert("flag", "pause".into());
        gate.insert("plan", "none".into());
        let voucher = json!({"credits": "1", "environment": "testnet", "reason": "a test"});
        let voucher = calls.post("/gate/v1/admin/vouchers", &administrator, voucher).await;
        gate.insert("voucher", text(&voucher["id"]));

        let demoted_account =
            harness::gate::new_account(server, "demoted", resultity_core::api::gate::Role::Admin).await;
        let demoted = harness::gate::sign_in(server, demoted_account).await;
        let demoted = calls.token(&demoted, &["admin"], None).await;
        let path = format!("/gate/v1/admin/accounts/{demoted_account}");
        calls
            .post(&path, &administrator, json!({"role": "user", "reason": "a test"}))
            .await;

        let mainnet = new_key(Environment::Mainnet, &SystemEntropy);
        let tenant = Tenant {
            account: "tester",
            namespace: "default",
            key_label: "",
            environment: Environment::Mainnet,
        };
        tenant::ensure(&*server.store, tenant, &mainnet, &SystemClock, &SystemEntropy)
            .await
            .unwrap();
        let strange: SecretString = server.another_key("other", KeyLimits::default()).await;
        let cloud = Self::cloud_objects(&calls, server.api_key.expose_secret()).await;
        gate.insert("job", cloud["job"].clone());
        Self {
            stranger,
            strange_key: strange.expose_secret().to_owned(),
            mainnet_key: mainnet.expose_secret().to_owned(),
            administrator_without_scope: calls.token(&administrator, &USER_SCOPES, None).await,
            only_keys: calls.token(&owner, &["keys"], None).await,
            only_nodes: calls.token(&owner, &["nodes"], None).await,
            demoted,
            reader: calls.token(&owner, &["read"], None).await,
            owner_in_mainnet: calls.token(&owner, &USER_SCOPES, Some("mainnet")).await,
            administrator_in_mainnet: calls.token(&administrator, &all_scopes, Some("mainnet")).await,
            owner,
            administrator,
            gate,
            cloud,
        }
    }

    async fn cloud_objects(calls: &Calls<'_>, key: &str) -> HashMap<&'static str, String> {
        let mut cloud = HashMap::new();
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "Is it?"}]});
        let job = json!({"endpoint": "/v1/chat/completions", "body": body});
        cloud.insert("job", text(&calls.post("/v1/jobs", key, job).await["id"]));
        let response = json!({"model": "m", "input": "Is it?", "background": true});
        cloud.insert(
            "response",
            text(&calls.post("/v1/responses", key, response).await["id"]),
        );
        let webhook = calls
            .post("/v1/webhooks", key, json!({"url": "https://example.org/hook"}))
            .await;
        let webhook = text(&webhook["id"]);
        let delivery = calls
            .post(&format!("/v1/webhooks/{webhook}/test"), key, json!({}))
            .await;
        cloud.insert("delivery", text(&delivery["id"]));
        cloud.insert("webhook", webhook);
        let line = json!({"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body});
        let part = reqwest::multipart::Part::text(format!("{line}\n")).file_name("lines.jsonl");
        let form = reqwest::multipart::Form::new()
            .text("purpose", "batch")
            .part("file", part);
        let url = format!("{}/v1/files", calls.server.base_url());
        let file = calls
            .http
            .post(url)
            .bearer_auth(key)
            .multipart(form)
            .send()
            .await
            .unwrap();
        let file: Value = file.json().await.unwrap();
        let batch = json!({
            "input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h",
        });
        cloud.insert("batch", text(&calls.post("/v1/batches", key, batch).await["id"]));
        cloud.insert("file", text(&file["id"]));
        cloud.insert("id", "m".into());
        cloud
    }

    /// The route with objects of the owner in the place of its parameters.
    pub fn path(&self, route: &Route) -> String {
        let objects = if route.is_gate() { &self.gate } else { &self.cloud };
        let segments = route.path.split('/').map(|segment| {
            let Some(name) = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) else {
                return segment.to_owned();
            };
            let known = objects.get(name);
            known
                .unwrap_or_else(|| panic!("{}: no object for {{{name}}} yet", route.name()))
                .clone()
        });
        segments.collect::<Vec<_>>().join("/")
    }

    /// Requests of a stranger that name the owner's objects in their bodies.
    pub fn foreign_bodies(&self) -> Vec<(String, Value)> {
        let (namespace, node) = (&self.gate["namespace"], &self.gate["node"]);
        vec![
            ("/gate/v1/keys".into(), json!({"namespace": namespace})),
            ("/gate/v1/faucet".into(), json!({"namespace": namespace})),
            (
                "/gate/v1/transfers".into(),
                json!({"from": namespace, "to": namespace, "amount": "1"}),
            ),
            (
                "/gate/v1/vouchers/redeem".into(),
                json!({"code": "none", "namespace": namespace}),
            ),
            (format!("/gate/v1/nodes/{node}/payout"), json!({"namespace": namespace})),
        ]
    }
}
