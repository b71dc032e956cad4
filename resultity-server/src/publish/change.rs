//! Changes of what is offered.

use resultity_core::clock::Timestamp;
use resultity_core::credits::Price;
use resultity_core::environment::Environment;
use resultity_core::model::ModelSpec;
use resultity_core::snapshot::{Change, Offer, Snapshot, diff};

use super::{By, Outcome, Plan, PublishError, Publisher, TRIES};

impl Publisher {
    /// Publishes an offer that was made from version `base`. What is in force already is not published again.
    pub async fn publish(
        &self,
        environment: Environment,
        base: u64,
        offer: Offer,
        by: By,
    ) -> Result<Outcome, PublishError> {
        let newest = self.newest(environment).await?;
        if newest.snapshot.offer() == offer {
            return Ok(Outcome {
                published: newest,
                changes: Vec::new(),
            });
        }
        if newest.snapshot.version != base {
            return Err(PublishError::Stale {
                newest: newest.snapshot.version,
            });
        }
        let plan = Plan {
            environment,
            offer,
            rolls_back: None,
            offer_digest: None,
            action: "config.publish",
            by,
        };
        self.put(Some(&newest), plan).await
    }

    /// What publishing this offer over `from` (the newest, if nothing is said) would change, if it can be published; with the
    /// version that was compared.
    pub async fn compare(
        &self,
        environment: Environment,
        from: Option<u64>,
        offer: &Offer,
    ) -> Result<(u64, Vec<Change>), PublishError> {
        let from = match from {
            Some(version) => self.version(environment, version).await?,
            None => self.newest(environment).await?,
        };
        let version = from.snapshot.version;
        Snapshot::of(offer.clone(), environment, version + 1, self.clock.now()).validate()?;
        // Numbers that can't be signed.
        offer.digest()?;
        Ok((version, diff(&from.snapshot.offer(), offer)))
    }

    /// Publishes what an earlier version said.
    pub async fn roll_back(&self, environment: Environment, version: u64, by: By) -> Result<Outcome, PublishError> {
        let offer = self.version(environment, version).await?.snapshot.offer();
        let change = |_: &Offer| Ok(offer.clone());
        self.change(environment, "config.rollback", &by, true, change).await
    }

    /// Adds a model, or replaces the one of its name. One that was to end goes on.
    pub async fn approve(&self, environment: Environment, model: ModelSpec, by: By) -> Result<Outcome, PublishError> {
        let change = |offer: &Offer| {
            let mut offer = offer.clone();
            offer.retiring.remove(&model.name);
            offer.put_model(model.clone());
            Ok(offer)
        };
        self.change(environment, "model.approve", &by, false, change).await
    }

    /// Ends a model: at this time, or at once.
    pub async fn deprecate(
        &self,
        environment: Environment,
        name: &str,
        until: Option<Timestamp>,
        by: By,
    ) -> Result<Outcome, PublishError> {
        let now = self.clock.now();
        let change = |offer: &Offer| {
            let mut offer = offer.clone();
            known_model(&mut offer, name)?;
            match until.filter(|until| *until > now) {
                Some(until) => {
                    offer.retiring.insert(name.to_owned(), until);
                }
                None => {
                    offer.remove_model(name);
                }
            }
            Ok(offer)
        };
        self.change(environment, "model.deprecate", &by, false, change).await
    }

    /// Changes a model's price.
    pub async fn price(
        &self,
        environment: Environment,
        name: &str,
        price: Price,
        by: By,
    ) -> Result<Outcome, PublishError> {
        let change = |offer: &Offer| {
            let mut offer = offer.clone();
            known_model(&mut offer, name)?.price = price;
            Ok(offer)
        };
        self.change(environment, "model.price", &by, false, change).await
    }

    /// Takes out the models whose time is over, if there are any.
    pub async fn retire(&self, environment: Environment) -> Result<Option<Outcome>, PublishError> {
        let now = self.clock.now();
        let mut over = self.newest(environment).await?.snapshot.offer().retire(now);
        if over.is_empty() {
            return Ok(None);
        }
        over.sort();
        let by = By::network(format!("served until now: {}", over.join(", ")));
        let change = |offer: &Offer| {
            let mut offer = offer.clone();
            offer.retire(now);
            Ok(offer)
        };
        let outcome = self.change(environment, "model.retire", &by, false, change).await?;
        Ok(Some(outcome))
    }

    /// Makes an offer out of the newest one and publishes it; anew, if somebody else publishes in between.
    async fn change(
        &self,
        environment: Environment,
        action: &'static str,
        by: &By,
        rolls_back: bool,
        change: impl Fn(&Offer) -> Result<Offer, PublishError> + Send + Sync,
    ) -> Result<Outcome, PublishError> {
        let mut newest = self.newest(environment).await?;
        let mut tries = 1;
        loop {
            let before = newest.snapshot.offer();
            let offer = change(&before)?;
            if offer == before {
                return Ok(Outcome {
                    published: newest,
                    changes: Vec::new(),
                });
            }
            let plan = Plan {
                environment,
                offer,
                rolls_back: rolls_back.then_some(newest.snapshot.version),
                offer_digest: None,
                action,
                by: by.clone(),
            };
            match self.put(Some(&newest), plan).await {
                Err(PublishError::Stale { .. }) if tries < TRIES => {
                    tries += 1;
                    newest = self.newest(environment).await?;
                }
                outcome => return outcome,
            }
        }
    }
}

fn known_model<'a>(offer: &'a mut Offer, name: &str) -> Result<&'a mut ModelSpec, PublishError> {
    let known = offer.models.iter_mut().find(|model| model.name == name);
    known.ok_or_else(|| PublishError::UnknownModel(name.to_owned()))
}
