//! Delegated subscriptions: signed here, sent to the node.

use resultity_core::api::node::NodeApi;
use resultity_core::infernet::NodeError;
use resultity_core::infernet::subscription::{CoordinatorDomain, DelegatedRequest, Subscription};
use resultity_core::signing::Keypair;
use serde::Serialize;

use super::InfernetClient;

impl InfernetClient {
    /// Signs a subscription and begins it: its results go to the chain. `nonce` numbers the subscriptions of one owner;
    /// `expiry`, in seconds since the Unix epoch, is until when it may be created; `data`, a JSON object, is what the first
    /// container gets at the first interval. [`DelegatedRequest::sign`] signs without sending.
    ///
    /// ```no_run
    /// use resultity_client::InfernetClient;
    /// use resultity_client::core::infernet::subscription::{CoordinatorDomain, HashedSubscription};
    /// use resultity_client::core::signing::Keypair;
    ///
    /// # async fn subscribe(node: InfernetClient, key: Keypair) -> Result<(), Box<dyn std::error::Error>> {
    /// let coordinator = "0x5FbDB2315678afecb367f032d93F642f64180aa3".parse()?;
    /// let domain = CoordinatorDomain { chain_id: 31337, coordinator };
    /// let owner = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512".parse()?;
    /// let subscription = HashedSubscription::once(owner, &["summarise"]);
    /// let data = serde_json::json!({"text": "…"});
    /// node.delegate(subscription, 1, 1_800_000_000, &data, &domain, &key).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `data` can't be written as JSON, or what the node says: `Chain not enabled`, `Signature expired`, a container that
    /// it does not have, a signer that may not do this.
    pub async fn delegate(
        &self,
        subscription: impl Into<Subscription> + Send,
        nonce: u32,
        expiry: u32,
        data: &(impl Serialize + Sync),
        domain: &CoordinatorDomain,
        key: &Keypair,
    ) -> Result<(), NodeError> {
        let request = DelegatedRequest::sign(subscription.into(), nonce, expiry, data, domain, key);
        let request = request.map_err(|error| NodeError::invalid(format!("data: it cannot be written: {error}")))?;
        self.create_delegated(request).await
    }
}
