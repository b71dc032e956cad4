//! Signs a subscription whose results a node delivers to a contract, and begins it.
//!
//! ```sh
//! PRIVATE_KEY=0x… COORDINATOR=0x… OWNER=0x… CHAIN_ID=31337 \
//!     cargo run -p resultity-examples --example infernet_delegated -- CONTAINER
//! ```
//!
//! The owner is the contract that gets the results; it has to let the key's address sign for it. A node without a chain says
//! `Chain not enabled`.

use std::error::Error;
use std::str::FromStr;

use resultity_client::InfernetClient;
use resultity_client::core::api::node::NodeApi;
use resultity_client::core::clock::{Clock, SystemClock};
use resultity_client::core::infernet::subscription::{CoordinatorDomain, DelegatedRequest, HashedSubscription};
use resultity_client::core::signing::Keypair;
use resultity_client::core::{Address, B256};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let container = std::env::args().nth(1).unwrap_or_else(|| "summarise".into());
    // The key is never sent: only what it signed.
    let key = Keypair::from_bytes(&variable::<B256>("PRIVATE_KEY")?.0)?;
    let domain = CoordinatorDomain {
        chain_id: variable("CHAIN_ID")?,
        coordinator: variable("COORDINATOR")?,
    };
    let owner: Address = variable("OWNER")?;

    // One result of one node, as soon as can be; the fields say when, how often, by how many, and what is paid.
    let mut subscription = HashedSubscription::once(owner, &[container.as_str()]);
    subscription.redundancy = 1;
    let (nonce, expiry) = (1, u32::try_from(SystemClock.now().as_seconds() + 3600)?);
    let data = json!({"text": "Name three rivers."});

    // `node.delegate(…)` signs and sends at once.
    let request = DelegatedRequest::sign(subscription.into(), nonce, expiry, &data, &domain, &key)?;
    println!(
        "signed by {}: {}",
        request.signer(&domain)?,
        serde_json::to_string(&request)?
    );

    let node = InfernetClient::from_env().map_err(|error| error.to_string())?;
    node.create_delegated(request).await?;
    println!("The node follows it; its results go to {owner}.");
    Ok(())
}

/// A variable of the environment. What it holds is not repeated in an error: it may be the key.
fn variable<T: FromStr>(name: &str) -> Result<T, String> {
    let text = std::env::var(name).map_err(|_| format!("{name} is not set"))?;
    text.trim()
        .parse()
        .map_err(|_| format!("{name} does not hold what it should"))
}
