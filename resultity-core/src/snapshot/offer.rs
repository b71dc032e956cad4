//! What the operators of a network decide: all of a snapshot but its number and its time.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::canonical::{CanonicalError, sha256, to_canonical_json};
use crate::clock::Timestamp;
use crate::environment::Environment;
use crate::model::ModelSpec;
use crate::snapshot::{JobParameters, Snapshot};

/// What a network offers in one environment: the part of a [`Snapshot`] that its operators decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// What is served.
    pub models: Vec<ModelSpec>,
    /// Limits and timeouts of jobs.
    #[serde(default)]
    pub jobs: JobParameters,
    /// How often nodes report: milliseconds.
    pub heartbeat_interval_ms: u64,
    /// The oldest Agent that may connect.
    pub min_agent_version: String,
    /// The oldest Runtimes that get work: by name, such as `llama-server`, `vllm`, `ollama` or `embedded`, the version.
    /// Others may be of any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub min_runtime_versions: BTreeMap<String, String>,
    /// Models that are served for the last time: by name, until when (milliseconds since the Unix epoch). Then a snapshot
    /// without them is published.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, i64>))]
    pub retiring: BTreeMap<String, Timestamp>,
}

impl Offer {
    /// These models, with defaults for all else.
    pub fn new(models: Vec<ModelSpec>) -> Self {
        Self {
            models,
            jobs: JobParameters::default(),
            heartbeat_interval_ms: 10_000,
            min_agent_version: "0.1.0".into(),
            min_runtime_versions: BTreeMap::new(),
            retiring: BTreeMap::new(),
        }
    }

    /// SHA-256 over its canonical form: two offers with the same are the same. Fails for numbers beyond 2^53 − 1.
    pub fn digest(&self) -> Result<B256, CanonicalError> {
        Ok(sha256(to_canonical_json(self)?))
    }

    /// The same with this model in the place of the one of its name, or behind all others if there is none.
    pub fn put_model(&mut self, model: ModelSpec) {
        match self.models.iter_mut().find(|known| known.name == model.name) {
            Some(known) => *known = model,
            None => self.models.push(model),
        }
    }

    /// Takes a model out; whether it was there.
    pub fn remove_model(&mut self, name: &str) -> bool {
        self.retiring.remove(name);
        let before = self.models.len();
        self.models.retain(|model| model.name != name);
        self.models.len() < before
    }

    /// Takes out the models whose time is over; their names.
    pub fn retire(&mut self, now: Timestamp) -> Vec<String> {
        let over = self.retiring.iter().filter(|(_, until)| **until <= now);
        let over: Vec<String> = over.map(|(name, _)| name.clone()).collect();
        for name in &over {
            self.remove_model(name);
        }
        over
    }
}

impl Snapshot {
    /// A snapshot that says this.
    pub fn of(offer: Offer, environment: Environment, version: u64, issued_at: Timestamp) -> Self {
        let Offer {
            models,
            jobs,
            heartbeat_interval_ms,
            min_agent_version,
            min_runtime_versions,
            retiring,
        } = offer;
        Self {
            environment,
            version,
            issued_at,
            rolls_back: None,
            models,
            jobs,
            heartbeat_interval_ms,
            min_agent_version,
            min_runtime_versions,
            retiring,
            next_network_key: None,
        }
    }

    /// What it offers.
    pub fn offer(&self) -> Offer {
        Offer {
            models: self.models.clone(),
            jobs: self.jobs,
            heartbeat_interval_ms: self.heartbeat_interval_ms,
            min_agent_version: self.min_agent_version.clone(),
            min_runtime_versions: self.min_runtime_versions.clone(),
            retiring: self.retiring.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::signed::tests::snapshot;

    #[test]
    fn a_snapshot_is_its_offer_with_a_number_and_a_time() {
        let snapshot = snapshot(3);
        let again = Snapshot::of(snapshot.offer(), snapshot.environment, 3, snapshot.issued_at);
        assert_eq!(again, snapshot);
        assert_eq!(snapshot.offer().digest().unwrap(), again.offer().digest().unwrap());
        let mut other = snapshot.offer();
        other.heartbeat_interval_ms += 1;
        assert_ne!(other.digest().unwrap(), snapshot.offer().digest().unwrap());
    }

    #[test]
    fn a_model_is_replaced_by_its_name_and_retired_at_its_time() {
        let mut offer = snapshot(1).offer();
        let mut changed = offer.models[0].clone();
        changed.version = "2".into();
        offer.put_model(changed.clone());
        assert_eq!((offer.models.len(), &offer.models[0]), (2, &changed));
        changed.name = "new".into();
        offer.put_model(changed);
        assert_eq!(offer.models.len(), 3);
        offer.retiring.insert("demo".into(), Timestamp::from_millis(5));
        assert_eq!(offer.retire(Timestamp::from_millis(4)), Vec::<String>::new());
        assert_eq!(offer.retire(Timestamp::from_millis(5)), ["demo"]);
        assert_eq!((offer.models.len(), offer.retiring.len()), (2, 0));
        assert!(!offer.remove_model("demo"));
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        let mut json = serde_json::to_value(Offer::new(vec![])).unwrap();
        json["min_agent_versoin"] = "1".into();
        let error = serde_json::from_value::<Offer>(json).unwrap_err().to_string();
        assert!(error.contains("min_agent_versoin"), "{error}");
    }
}
