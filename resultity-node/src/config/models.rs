//! The models of a node from outside: listed, fetched and removed by hand, whether it runs or not.

use std::collections::BTreeSet;
use std::path::PathBuf;

use resultity_core::environment::Environment;
use resultity_core::model::{ModelSpec, ModelState};

use crate::agent::stored_snapshot;
use crate::models::{
    FetchError, Fetcher, LeftOut, ModelStanding, Progress, Records, cache_dir, demo_model, embedding_model, place,
};

/// Why nothing was done about a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelsError {
    /// The network does not list it.
    #[error("the network lists no model {name:?} that has files; it lists {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// It can't be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What the node remembers of its files can't be written, or a file can't be removed.
    #[error("the node's records of its models, or their files, cannot be changed: {0}")]
    Records(#[from] std::io::Error),
}

/// What became of the files of a model that was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Removed {
    /// The model.
    pub name: String,
    /// Files that are gone.
    pub gone: Vec<PathBuf>,
    /// Files that stay, since this node did not fetch them or another model needs them.
    pub left: Vec<PathBuf>,
}

/// The models of the node with this data directory.
#[derive(Debug)]
pub struct ModelsAt {
    data_dir: PathBuf,
    cache: PathBuf,
    environment: Environment,
    records: Records,
}

impl ModelsAt {
    /// Those of one network.
    pub fn new(data_dir: impl Into<PathBuf>, environment: Environment) -> Self {
        let data_dir = data_dir.into();
        Self {
            records: Records::of(&data_dir),
            cache: cache_dir(),
            data_dir,
            environment,
        }
    }

    /// Sets where files of models are kept, instead of [`cache_dir`].
    #[must_use]
    pub fn cache(mut self, cache: impl Into<PathBuf>) -> Self {
        self.cache = cache.into();
        self
    }

    /// Whether an Agent runs with this data directory.
    pub fn is_running(&self) -> bool {
        let lock = std::fs::File::open(self.data_dir.join(self.environment.as_str()).join("lock"));
        // An Agent holds it for as long as it lives.
        lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
    }

    /// Where the models stand: as the running node says, else by what is on the disk.
    pub fn list(&self) -> Vec<ModelStanding> {
        let said = self.records.state();
        if self.is_running() {
            return said;
        }
        let removed = self.records.removed();
        let at_rest = |spec: &ModelSpec| {
            let before = said
                .iter()
                .find(|before| (&before.name, &before.version) == (&spec.name, &spec.version));
            let paths = spec.files.iter().map(|file| place::seen(&self.cache, file));
            let paths: Vec<_> = paths.flatten().collect();
            let is_whole = paths.len() == spec.files.len();
            let state = if is_whole {
                ModelState::Inactive
            } else {
                ModelState::Pending
            };
            ModelStanding {
                size: spec.files.iter().map(|file| file.size).sum(),
                paths,
                left_out: removed.contains(&spec.name).then_some(LeftOut::Removed),
                trouble: before.and_then(|before| before.trouble.clone()),
                ..ModelStanding::new(&spec.name, &spec.version, state)
            }
        };
        self.listed().iter().map(at_rest).collect()
    }

    /// Fetches a model's files, whichever the node is to serve; a removed one is wanted again.
    pub async fn fetch(&self, name: &str, progress: impl Progress + 'static) -> Result<ModelStanding, ModelsError> {
        let spec = self.find(name)?;
        self.records.set_removed(&spec.name, false)?;
        let missing = place::missing(&spec, &self.cache).await?;
        self.records.about_to_fetch(&missing, &self.cache)?;
        let fetcher = Fetcher::new()?.with_progress(progress);
        let paths = fetcher.fetch_model(&spec, &self.cache).await?;
        Ok(ModelStanding {
            size: spec.files.iter().map(|file| file.size).sum(),
            paths,
            ..ModelStanding::new(&spec.name, &spec.version, ModelState::Inactive)
        })
    }

    /// Takes a model out of service, at once where the node runs and in all networks, and removes its files. It is not fetched
    /// again until it is asked for by [`ModelsAt::fetch`].
    pub fn remove(&self, name: &str) -> Result<Removed, ModelsError> {
        let spec = self.find(name)?;
        self.records.set_removed(&spec.name, true)?;
        // The files of all networks lie in one folder.
        let listed = Environment::ALL.into_iter().flat_map(|network| self.listed_in(network));
        let (same, others): (Vec<_>, Vec<_>) = listed.partition(|other| other.name == spec.name);
        let names = |models: &[ModelSpec]| -> BTreeSet<String> {
            models.iter().flat_map(|model| &model.files).map(place::name).collect()
        };
        let (mut goes, needed) = (names(&same), names(&others));
        goes.extend(names(std::slice::from_ref(&spec)));
        let gone = self
            .records
            .sweep(|file| !goes.contains(file) || needed.contains(file))?;
        let places = spec.files.iter().flat_map(|file| place::places(&self.cache, file));
        let left = places.filter(|path| path.exists()).collect();
        let name = spec.name;
        Ok(Removed { name, gone, left })
    }

    /// The models with files that the network lists, as far as the node knows.
    fn listed(&self) -> Vec<ModelSpec> {
        self.listed_in(self.environment)
    }

    fn listed_in(&self, environment: Environment) -> Vec<ModelSpec> {
        let snapshot = stored_snapshot(&self.data_dir, environment);
        let models = snapshot.map(|snapshot| snapshot.models).unwrap_or_default();
        models.into_iter().filter(|spec| !spec.files.is_empty()).collect()
    }

    fn find(&self, name: &str) -> Result<ModelSpec, ModelsError> {
        let mut listed = self.listed();
        if listed.is_empty() {
            // It has met no network yet: most list these.
            listed = vec![demo_model(), embedding_model()];
        }
        let names: Vec<_> = listed.iter().map(|spec| spec.name.clone()).collect();
        let found = listed.into_iter().find(|spec| spec.answers_to(name));
        found.ok_or_else(|| ModelsError::Unknown {
            name: name.to_owned(),
            known: names.join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NetworkPin;
    use crate::models::Silent;
    use resultity_core::clock::{SeededEntropy, Timestamp};
    use resultity_core::model::ModelSource;
    use resultity_core::signing::Keypair;
    use resultity_core::snapshot::{JobParameters, SignedSnapshot, Snapshot};
    use sha2::{Digest as _, Sha256};
    use std::path::Path;

    const TESTNET: Environment = Environment::Testnet;

    /// What a node has stored that has met its network.
    fn store(data_dir: &Path, models: Vec<ModelSpec>) {
        store_in(TESTNET, data_dir, models);
    }

    fn store_in(environment: Environment, data_dir: &Path, models: Vec<ModelSpec>) {
        let key = Keypair::generate(&SeededEntropy::new(1));
        let pin = NetworkPin::new(key.address(), key.address());
        let dir = data_dir.join(environment.as_str());
        std::fs::create_dir_all(&dir).unwrap();
        pin.store(&dir).unwrap();
        let snapshot = Snapshot {
            environment,
            version: 1,
            issued_at: Timestamp::from_millis(1_700_000_000_000),
            rolls_back: None,
            models,
            jobs: JobParameters::default(),
            heartbeat_interval_ms: 500,
            min_agent_version: "0.1.0".into(),
            min_runtime_versions: std::collections::BTreeMap::new(),
            retiring: std::collections::BTreeMap::new(),
            next_network_key: None,
        };
        let signed = SignedSnapshot::publish(&snapshot, &pin.domain(environment), &key).unwrap();
        std::fs::write(dir.join("snapshot.json"), serde_json::to_vec(&signed).unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_model_is_fetched_shown_and_removed_by_hand() {
        let (data, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut server = mockito::Server::new_async().await;
        let _file = server.mock("GET", "/a").with_body("weights").create_async().await;
        let mut model = demo_model();
        model.files[0].sha256 = hex::encode(Sha256::digest("weights"));
        model.files[0].size = 7;
        model.files[0].sources = vec![ModelSource::Url((server.url() + "/a").parse().unwrap())];
        store(data.path(), vec![model.clone()]);
        let at = ModelsAt::new(data.path(), TESTNET).cache(cache.path());
        assert!(!at.is_running());
        let only = || {
            let all = at.list();
            assert_eq!(all.len(), 1);
            all.into_iter().next().unwrap()
        };
        assert_eq!((only().state, only().paths.len()), (ModelState::Pending, 0));
        let alias = &model.aliases[0];
        let fetched = at.fetch(alias, Silent).await.unwrap();
        assert_eq!(std::fs::read(&fetched.paths[0]).unwrap(), b"weights");
        assert_eq!(
            (only().state, only().paths),
            (ModelState::Inactive, fetched.paths.clone())
        );

        let removed = at.remove(&model.name).unwrap();
        assert_eq!((removed.gone, removed.left), (fetched.paths.clone(), Vec::new()));
        assert_eq!(only().left_out, Some(LeftOut::Removed));
        // What somebody else has put there stays.
        std::fs::write(&fetched.paths[0], "weights").unwrap();
        let removed = at.remove(&model.name).unwrap();
        assert_eq!((removed.gone, removed.left), (Vec::new(), fetched.paths));
        at.fetch(alias, Silent).await.unwrap();
        assert_eq!(only().left_out, None);
        let unknown = at.fetch("other", Silent).await.unwrap_err().to_string();
        assert!(unknown.contains("other") && unknown.contains(&model.name), "{unknown}");
    }

    #[tokio::test]
    async fn what_another_network_needs_stays() {
        let (data, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut server = mockito::Server::new_async().await;
        let _file = server.mock("GET", "/a").with_body("weights").create_async().await;
        let mut model = demo_model();
        model.files[0].sha256 = hex::encode(Sha256::digest("weights"));
        model.files[0].size = 7;
        model.files[0].sources = vec![ModelSource::Url((server.url() + "/a").parse().unwrap())];
        // The same file by another name.
        let mut other = model.clone();
        other.name = "other".to_owned();
        store(data.path(), vec![model.clone()]);
        store_in(Environment::Mainnet, data.path(), vec![other]);
        let at = ModelsAt::new(data.path(), TESTNET).cache(cache.path());
        let fetched = at.fetch(&model.name, Silent).await.unwrap();
        let removed = at.remove(&model.name).unwrap();
        assert_eq!((removed.gone, removed.left), (Vec::new(), fetched.paths.clone()));
        // Once both are removed it goes, whichever it is asked of.
        let at = ModelsAt::new(data.path(), Environment::Mainnet).cache(cache.path());
        store(data.path(), Vec::new());
        assert_eq!(at.remove("other").unwrap().gone, fetched.paths);
    }
}
