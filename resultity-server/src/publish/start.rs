//! What is published when a server starts.

use resultity_core::environment::Environment;
use resultity_core::snapshot::Offer;

use super::{By, Plan, PublishError, Published, Publisher};

impl Publisher {
    /// What is in force once the server starts with this offer in its configuration file. The offer is published only if it
    /// is another one than at the last start: what was published since then stays.
    pub async fn at_start(&self, environment: Environment, offer: Offer) -> Result<Published, PublishError> {
        let digest = offer.digest()?;
        let latest = match self.store.latest_snapshot(environment).await? {
            Some(record) => Some(Published::read(record)?),
            None => None,
        };
        let keys = self.keys();
        // One that this key did not sign (its file was lost, and another made) is followed by one that it did.
        let opens = |published: &Published| {
            let opened = published
                .signed
                .open(&keys.domain(environment), keys.current().address());
            opened.is_ok()
        };
        if let Some(latest) = latest.as_ref().filter(|latest| opens(latest)) {
            let known = self.store.offer_digest(environment).await?;
            if known == Some(digest) {
                return Ok(latest.clone());
            }
            if latest.snapshot.offer() == offer {
                self.store.keep_offer_digest(environment, digest).await?;
                return Ok(latest.clone());
            }
        }
        let plan = Plan {
            environment,
            offer,
            rolls_back: None,
            offer_digest: Some(digest),
            action: "config.publish",
            by: By::operator("the configuration file"),
        };
        Ok(self.put(latest.as_ref(), plan).await?.published)
    }
}
