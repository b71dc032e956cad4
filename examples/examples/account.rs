//! Manage an account from a program: a namespace, the day's credits of the testnet, and a key that may spend little.
//!
//! `RESULTITY_TOKEN=rt_… cargo run -p resultity-examples --example account`
//! A token of its own: `resultity tokens create example --scope read --scope keys --scope credits`

use std::error::Error;

use resultity_client::GateClient;
use resultity_client::core::api::gate::{
    AskFaucet, CreateKey, CreateNamespace, CreditsApi, KeysApi, NamespaceQuery, NamespacesApi,
};
use resultity_client::core::environment::Environment;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Where `resultity-server dev` listens; `.base_url("https://HOST/gate/v1")` for another one.
    let gate = GateClient::builder()
        .api_key(std::env::var("RESULTITY_TOKEN")?)
        .build()?;
    let known = gate.namespaces(NamespaceQuery::of(Environment::Testnet)).await?;
    let lab = match known.data.into_iter().find(|namespace| namespace.name == "lab") {
        Some(lab) => lab,
        None => {
            gate.create_namespace(CreateNamespace::new("lab").environment(Environment::Testnet))
                .await?
        }
    };
    match gate.ask_faucet(AskFaucet::new(lab.id)).await {
        Ok(received) => println!("{} may spend {} credits", lab.name, received.balance),
        Err(error) => println!("{error}"),
    }
    let made = gate
        .create_key(CreateKey::of(lab.id).label("example").spend_limit("0.5".parse()?))
        .await?;
    // The one time that the secret is there: keep it where only the program that needs it can read it.
    println!("key {} ({}) may spend half a credit", made.key.id, made.key.hint);
    gate.revoke_key(made.key.id, Environment::Testnet.into()).await?;
    Ok(())
}
