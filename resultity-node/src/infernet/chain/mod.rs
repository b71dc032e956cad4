//! Delegated subscriptions: checked here, delivered by a [`Chain`]. None comes with this crate yet: without one, every delegated
//! subscription is refused with `Chain not enabled`.
//!
//! # What a chain has to provide
//!
//! An implementation is given to the node as [`Parts::chain`](crate::infernet::node::Parts), and once the node has started, its
//! [pipeline](crate::infernet::node::InfernetNode::pipeline) to the implementation. From then on it is to
//!
//! - know the coordinator contract and the chain's id before it is built: [`domain`](Chain::domain) is asked for every request;
//! - write a subscription down, by owner and nonce, before [`track`](Chain::track) returns, so that a restart takes it up again.
//!   The same one again is no error. Another one with a used owner and nonce is: the contract would silently take the existing
//!   one for it (`delegateCreatedIds(keccak256(abi.encode(owner, nonce)))`, then compare with `getSubscription`);
//! - ask the owner's contract who may sign (`getSigner()`, in the older form `signer()`) and compare with
//!   [`Delegated::signer`], and see that it is not too late ([`SubscriptionSignature::expiry`]) until the subscription exists:
//!   the contract refuses at `expiry` itself already;
//! - wait until `active_at`; the interval is 1 if `period` is 0, else `(now − active_at) / period + 1` with the time of the
//!   latest block; past `frequency` it is over;
//! - run [`Delegated::containers`] with the request's `data` for the first interval: [`Location::OffChain`] to
//!   [`Location::OnChain`], in [`Lane::Local`]. Later ones get what `getContainerInputs` answers, as a JSON text of hexadecimal
//!   digits, from [`Location::OnChain`];
//! - gate by `accepted_payments` of every container's settings, which is not checked here;
//! - deliver with `deliverComputeDelegatee`, later intervals with `deliverCompute`: simulated first, one transaction at a time
//!   per wallet, its hash written down before it is sent, so that a crash never sends twice;
//! - count what has not ended in [`pending`](Chain::pending).
//!
//! Subscriptions that were created on the chain itself come by its events; they are checked against `allowed_addresses`, and an
//! unknown hash of containers is left alone.
//!
//! [`SubscriptionSignature::expiry`]: resultity_core::infernet::subscription::SubscriptionSignature::expiry
//! [`Location::OffChain`]: crate::infernet::pipeline::Location::OffChain
//! [`Location::OnChain`]: crate::infernet::pipeline::Location::OnChain
//! [`Lane::Local`]: crate::infernet::pipeline::Lane::Local

mod lookup;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use resultity_core::Address;
use resultity_core::clock::Timestamp;
pub use resultity_core::infernet::subscription::CoordinatorDomain;
use resultity_core::infernet::subscription::{DelegatedRequest, Subscription};
use resultity_core::infernet::{NodeError, NodeErrorKind};

use crate::infernet::config::settings::Settings;
use crate::infernet::guardian::Guardian;
use lookup::Lookup;

/// The longest pipeline of a subscription.
const MAX_CONTAINERS: usize = 256;

/// What delivers results of delegated subscriptions. The module says what it has to do.
#[async_trait]
pub trait Chain: Send + Sync {
    /// The contract that signatures are for.
    fn domain(&self) -> CoordinatorDomain;

    /// The address of the node's wallet.
    fn address(&self) -> Address;

    /// How many subscriptions have not ended.
    fn pending(&self) -> u64;

    /// Takes over a subscription that passed all checks. It is written down once this returns.
    ///
    /// # Errors
    ///
    /// It can't be taken: the caller is told so.
    async fn track(&self, subscription: Delegated) -> Result<(), NodeError>;
}

/// A delegated subscription that this node may serve.
#[derive(Debug, Clone)]
pub struct Delegated {
    /// As it came.
    pub request: DelegatedRequest,
    /// Who signed it. Whether the owner lets them is for the chain to say.
    pub signer: Address,
    /// The containers to run, in their order: each is one of this node.
    pub containers: Vec<String>,
}

/// Checks delegated subscriptions.
#[derive(Debug)]
pub struct Delegations {
    lookup: Lookup,
}

impl Delegations {
    /// For the containers of this node.
    pub fn new(settings: &Settings) -> Self {
        Self {
            lookup: Lookup::new(settings.containers.iter().map(|container| container.id.clone())),
        }
    }

    /// Checks a subscription, in the original node's order: that there is a chain, that it is not too late, the rules of the
    /// containers. Then, which the original leaves to the contract, that somebody signed it.
    ///
    /// The newer form names its containers by a hash. It is looked for among the pipelines of this node's containers, the short
    /// ones first, none with a container twice, up to a bound of about 100 000 of them: with 8 containers that is all there are,
    /// with 48 all of up to three. A hash that is not found gets `Container-set not supported`, the original's words for the same
    /// on the chain; here the original fails with an internal error.
    ///
    /// # Errors
    ///
    /// [`NodeErrorKind::Refused`]: the first rule that it breaks. [`NodeErrorKind::Invalid`]: more containers than anybody needs.
    pub async fn check(
        &self,
        request: DelegatedRequest,
        chain: Option<&dyn Chain>,
        now: Timestamp,
        guardian: &Guardian,
    ) -> Result<Delegated, NodeError> {
        let chain = chain.ok_or_else(|| NodeError::refused("Chain not enabled"))?;
        if request.signature.has_expired(now) {
            return Err(NodeError::refused("Signature expired"));
        }
        let subscription = &request.subscription;
        let containers = self.containers(subscription).await?;
        guardian.check_delegated(&containers, subscription.requires_proof(), subscription.owner())?;
        // Recovery takes a tenth of a millisecond: a batch of them lets others go first.
        tokio::task::yield_now().await;
        let signer = request
            .signer(&chain.domain())
            .map_err(|error| NodeError::refused("Signature invalid").with("reason", error.to_string()))?;
        Ok(Delegated {
            request,
            signer,
            containers,
        })
    }

    async fn containers(&self, subscription: &Subscription) -> Result<Vec<String>, NodeError> {
        match subscription {
            Subscription::Named(subscription) => {
                let ids = subscription.container_id.split(',');
                let containers: Vec<_> = ids.take(MAX_CONTAINERS + 1).map(str::to_owned).collect();
                if containers.len() > MAX_CONTAINERS {
                    return Err(NodeError::invalid(format!(
                        "subscription.container_id: expected at most {MAX_CONTAINERS} containers"
                    )));
                }
                Ok(containers)
            }
            Subscription::Hashed(subscription) => {
                let found = self.lookup.pipeline(subscription.containers).await;
                // The search ends without an answer when the process does.
                let found = found.map_err(|_| NodeError::new(NodeErrorKind::Busy, "The node is about to stop"))?;
                found.ok_or_else(|| {
                    NodeError::refused("Container-set not supported")
                        .with("containers_hash", subscription.containers.to_string())
                })
            }
        }
    }
}
