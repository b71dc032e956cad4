//! The manager with real files and a real source; what runs the models is played by the test.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _};
use resultity_core::clock::{ManualClock, Timestamp};
use resultity_core::environment::Environment;
use resultity_core::model::{ModelSource, ModelState};
use resultity_core::openai::chat::{ChatRequest, ChunkChoice, Message, Usage};
use resultity_core::snapshot::{JobParameters, Snapshot};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::*;
use crate::models::{demo_model, verify};
use crate::runtime::{EngineModel, RuntimeError, RuntimeEvent, RuntimeStream};

const PATIENCE: Duration = Duration::from_mins(2);

/// What runs all models: says the content of the file. It can be told to be broken, and to wait before its last word.
#[derive(Clone)]
struct Reader {
    is_broken: Arc<AtomicBool>,
    last_words: Arc<Semaphore>,
    waits: Arc<AtomicBool>,
    /// Loads nothing.
    refuses: Arc<AtomicBool>,
    alive: Arc<AtomicUsize>,
}

struct Read {
    reader: Reader,
    name: String,
    content: String,
}

impl Drop for Read {
    fn drop(&mut self) {
        self.reader.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Loader for Reader {
    fn kind(&self) -> &'static str {
        "reader"
    }

    fn slots(&self) -> u32 {
        4
    }

    fn knows(&self, model: &ModelSpec) -> bool {
        model.files.len() == 1
    }

    async fn load(&self, model: &ModelSpec, files: &[PathBuf]) -> Result<Arc<dyn Runtime>, String> {
        let content = std::fs::read_to_string(&files[0]).map_err(|error| error.to_string())?;
        if content.starts_with("unloadable") || self.refuses.load(Ordering::SeqCst) {
            return Err("it has no head".to_owned());
        }
        self.alive.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(Read {
            reader: self.clone(),
            name: model.name.clone(),
            content,
        }))
    }
}

#[async_trait]
impl Runtime for Read {
    fn kind(&self) -> &'static str {
        "reader"
    }

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        Ok(vec![EngineModel::new(&self.name)])
    }

    /// Whoever is broken and was not asked says so at once.
    async fn changed(&self) {
        if !self.reader.is_broken.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    async fn chat(&self, _: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        if self.reader.is_broken.load(Ordering::SeqCst) {
            return Err(RuntimeError::Failed("broken".to_owned()));
        }
        let words = vec![ChunkChoice::text(0, self.content.as_str())];
        let head = futures::stream::iter([Ok(RuntimeEvent::Delta(words))]);
        let reader = self.reader.clone();
        let end = async move {
            if reader.waits.load(Ordering::SeqCst) {
                reader.last_words.acquire().await.unwrap().forget();
            }
            Ok(RuntimeEvent::Done(Usage::new(1, 1)))
        };
        Ok(head.chain(futures::stream::once(end)).boxed())
    }
}

struct World {
    server: mockito::ServerGuard,
    data: tempfile::TempDir,
    cache: tempfile::TempDir,
    clock: Arc<ManualClock>,
    reader: Reader,
}

impl World {
    async fn new() -> Self {
        Self {
            server: mockito::Server::new_async().await,
            data: tempfile::tempdir().unwrap(),
            cache: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000))),
            reader: Reader {
                is_broken: Arc::default(),
                last_words: Arc::new(Semaphore::new(0)),
                waits: Arc::default(),
                refuses: Arc::default(),
                alive: Arc::default(),
            },
        }
    }

    fn start(&self) -> ModelManager {
        let mut options = ManagerOptions::new(self.data.path());
        options.cache = self.cache.path().to_owned();
        options.shows_progress = false;
        options.clock = self.clock.clone();
        ModelManager::start(options, Arc::new(self.reader.clone())).unwrap()
    }

    /// A model whose file has this content.
    fn model(&self, name: &str, content: &str) -> ModelSpec {
        let mut model = demo_model();
        model.name = name.to_owned();
        model.version = content.to_owned();
        model.files[0].name = format!("{name}.txt");
        model.files[0].sha256 = hex::encode(Sha256::digest(content));
        model.files[0].size = content.len() as u64;
        model.files[0].sources = vec![ModelSource::Url((self.server.url() + "/" + name).parse().unwrap())];
        model
    }

    async fn gives(&mut self, name: &str, content: &str) -> mockito::Mock {
        let path = format!("/{name}");
        self.server
            .mock("GET", path.as_str())
            .with_body(content)
            .create_async()
            .await
    }

    fn files(&self) -> BTreeSet<String> {
        let names = std::fs::read_dir(self.cache.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let ends = |name: &String| Path::new(name).extension().is_some_and(|extension| extension == "txt");
        // Without the beginning of their checksums.
        let plain = |name: String| name.split_once('-').map_or(name.clone(), |(_, plain)| plain.to_owned());
        names.filter(ends).map(plain).collect()
    }
}

fn snapshot(models: &[&ModelSpec]) -> Snapshot {
    Snapshot {
        environment: Environment::Testnet,
        version: 1,
        issued_at: Timestamp::from_millis(1_700_000_000_000),
        rolls_back: None,
        models: models.iter().map(|model| (*model).clone()).collect(),
        jobs: JobParameters::default(),
        heartbeat_interval_ms: 500,
        min_agent_version: "0.1.0".into(),
        min_runtime_versions: std::collections::BTreeMap::new(),
        retiring: std::collections::BTreeMap::new(),
        next_network_key: None,
    }
}

fn configure(manager: &ModelManager, models: &[&ModelSpec]) {
    manager.configure(Environment::Testnet, &snapshot(models));
}

/// Waits until the model of this name stands like this.
async fn until(manager: &ModelManager, name: &str, state: ModelState) -> ModelStanding {
    let mut changes = manager.changes();
    let wait = async {
        loop {
            changes.borrow_and_update();
            let mut all = manager.standings().into_iter();
            if let Some(found) = all.find(|model| model.name == name && model.state == state) {
                return found;
            }
            changes.changed().await.unwrap();
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("{name} should be {state:?}: {:?}", manager.standings()))
}

async fn stream(manager: &ModelManager, model: &str) -> Result<RuntimeStream, RuntimeError> {
    manager.chat(ChatRequest::new(model, [Message::user("Well?")])).await
}

async fn says(manager: &ModelManager, model: &str) -> Result<String, RuntimeError> {
    match stream(manager, model).await?.next().await.unwrap()? {
        RuntimeEvent::Delta(pieces) => Ok(pieces[0].delta.content.clone().unwrap()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_listed_is_fetched_and_answers_and_what_is_not_any_more_is_gone() {
    let mut world = World::new().await;
    let (a, b) = (world.model("a", "alpha"), world.model("b", "beta"));
    let _gives = (world.gives("a", "alpha").await, world.gives("b", "beta").await);
    std::fs::write(world.cache.path().join("theirs.txt"), "not ours").unwrap();
    let manager = world.start();
    assert!(manager.models().await.unwrap().is_empty());
    configure(&manager, &[&a, &b]);
    for name in ["a", "b"] {
        until(&manager, name, ModelState::Active).await;
    }
    assert_eq!(
        (says(&manager, "a").await.unwrap(), says(&manager, "b").await.unwrap()),
        ("alpha".into(), "beta".into())
    );
    let offered = manager.models().await.unwrap();
    assert!(
        offered
            .iter()
            .all(|model| model.state == ModelState::Active && model.digest.is_some())
    );
    assert_eq!(Records::of(world.data.path()).state(), manager.standings());

    configure(&manager, &[&b]);
    assert!(matches!(says(&manager, "a").await, Err(RuntimeError::ModelMissing(_))));
    assert_eq!(world.files(), BTreeSet::from(["b.txt".into(), "theirs.txt".into()]));
    assert_eq!(says(&manager, "b").await.unwrap(), "beta");
    drop(manager);

    // What was unlisted while the node was away goes too.
    let manager = world.start();
    configure(&manager, &[]);
    assert_eq!(world.files(), BTreeSet::from(["theirs.txt".into()]));
}

#[tokio::test]
async fn answers_of_an_old_version_go_on_to_their_end_while_the_new_one_comes() {
    let mut world = World::new().await;
    let (old, new) = (world.model("a", "old"), world.model("a", "new"));
    let first = world.gives("a", "old").await;
    let manager = world.start();
    configure(&manager, &[&old]);
    until(&manager, "a", ModelState::Active).await;
    world.reader.waits.store(true, Ordering::SeqCst);
    let mut running = stream(&manager, "a").await.unwrap();
    running.next().await.unwrap().unwrap();

    world.reader.waits.store(false, Ordering::SeqCst);
    first.remove_async().await;
    let _second = world.gives("a", "new").await;
    configure(&manager, &[&new]);
    until(&manager, "a", ModelState::Active).await;
    assert_eq!(says(&manager, "a").await.unwrap(), "new");
    assert_eq!(
        world.reader.alive.load(Ordering::SeqCst),
        2,
        "the old one still answers"
    );
    world.reader.waits.store(false, Ordering::SeqCst);
    world.reader.last_words.add_permits(1);
    assert!(matches!(running.next().await, Some(Ok(RuntimeEvent::Done(_)))));
    drop(running);
    assert_eq!(world.reader.alive.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_comes_and_is_something_else_is_kept_apart_and_tried_again() {
    let mut world = World::new().await;
    let model = world.model("a", "right");
    let wrong = world.gives("a", "wrong").await;
    let manager = world.start();
    configure(&manager, &[&model]);
    let failed = until(&manager, "a", ModelState::Failed).await;
    assert_eq!(failed.trouble.unwrap().kind, TroubleKind::Mismatch);
    let aside = world.cache.path().join("quarantine").join(place::name(&model.files[0]));
    assert_eq!(std::fs::read_to_string(&aside).unwrap(), "wrong");
    assert!(verify::beside(&aside, "json").exists() && world.files().is_empty());
    // The network hears that it is there and does not work.
    let offered = manager.models().await.unwrap();
    assert_eq!(offered[0].state, ModelState::Failed);

    wrong.remove_async().await;
    let _right = world.gives("a", "right").await;
    // Long enough for the first wait, whatever its scatter.
    world.clock.advance(Duration::from_mins(1));
    until(&manager, "a", ModelState::Active).await;
    assert_eq!(says(&manager, "a").await.unwrap(), "right");
}

#[tokio::test]
async fn one_that_can_t_be_loaded_holds_up_no_other() {
    let mut world = World::new().await;
    let (bad, good) = (world.model("bad", "unloadable"), world.model("good", "good"));
    let _gives = (
        world.gives("bad", "unloadable").await,
        world.gives("good", "good").await,
    );
    let manager = world.start();
    configure(&manager, &[&bad, &good]);
    until(&manager, "good", ModelState::Active).await;
    let failed = until(&manager, "bad", ModelState::Failed).await;
    let trouble = failed.trouble.unwrap();
    assert_eq!(
        (trouble.kind, trouble.message.as_str()),
        (TroubleKind::Load, "it has no head")
    );
}

#[tokio::test]
async fn a_model_that_fails_its_test_is_out_of_rotation_until_it_passes() {
    let mut world = World::new().await;
    let model = world.model("a", "alpha");
    let _gives = world.gives("a", "alpha").await;
    let manager = world.start();
    configure(&manager, &[&model]);
    until(&manager, "a", ModelState::Active).await;
    world.reader.is_broken.store(true, Ordering::SeqCst);
    world.clock.advance(DEFAULT_TEST_INTERVAL * 2);
    let failed = until(&manager, "a", ModelState::Failed).await;
    assert_eq!(failed.trouble.unwrap().kind, TroubleKind::Test);
    assert!(matches!(says(&manager, "a").await, Err(RuntimeError::ModelMissing(_))));
    world.reader.is_broken.store(false, Ordering::SeqCst);
    world.clock.advance(Duration::from_mins(1));
    until(&manager, "a", ModelState::Active).await;
}

#[tokio::test]
async fn a_loaded_model_that_is_out_of_rotation_wakes_nobody() {
    let mut world = World::new().await;
    let model = world.model("a", "alpha");
    let _gives = world.gives("a", "alpha").await;
    let manager = world.start();
    configure(&manager, &[&model]);
    until(&manager, "a", ModelState::Active).await;
    world.reader.is_broken.store(true, Ordering::SeqCst);
    manager.models().await.unwrap();
    assert!(manager.changed().now_or_never().is_some());
    world.clock.advance(DEFAULT_TEST_INTERVAL * 2);
    until(&manager, "a", ModelState::Failed).await;
    // It is loaded still; with what it says now nothing is new.
    manager.models().await.unwrap();
    assert_eq!(world.reader.alive.load(Ordering::SeqCst), 1);
    assert!(manager.changed().now_or_never().is_none());
}

#[tokio::test]
async fn two_models_whose_files_have_one_name_are_two() {
    let mut world = World::new().await;
    let (mut a, mut b) = (world.model("a", "alpha"), world.model("b", "omega"));
    for model in [&mut a, &mut b] {
        model.files[0].name = "model.txt".to_owned();
    }
    let gives = (world.gives("a", "alpha").await, world.gives("b", "omega").await);
    let manager = world.start();
    configure(&manager, &[&a, &b]);
    let serve = async |manager: &ModelManager| {
        for (name, says_so) in [("a", "alpha"), ("b", "omega")] {
            until(manager, name, ModelState::Active).await;
            assert_eq!(says(manager, name).await.unwrap(), says_so);
        }
    };
    serve(&manager).await;
    drop(manager);
    // What is on the disk is both of them.
    gives.0.remove_async().await;
    gives.1.remove_async().await;
    let manager = world.start();
    configure(&manager, &[&a, &b]);
    serve(&manager).await;
}

/// Damage, also where the file system tells of no change, and a file that somebody has removed.
#[tokio::test]
async fn a_file_that_is_lost_or_damaged_while_the_node_runs_is_fetched_again() {
    let mut world = World::new().await;
    let model = world.model("a", "alpha");
    let gives = world.server.mock("GET", "/a").with_body("alpha").expect(3);
    let gives = gives.create_async().await;
    let manager = world.start();
    configure(&manager, &[&model]);
    let path = until(&manager, "a", ModelState::Active).await.paths[0].clone();
    let damage = || {
        let modified = path.metadata().unwrap().modified().unwrap();
        std::fs::write(&path, "omega").unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(modified).unwrap();
    };
    let lose = || std::fs::remove_file(&path).unwrap();
    for harm in [&damage as &dyn Fn(), &lose] {
        // It is loaded anew, fails, and is harmed.
        let records = Records::of(world.data.path());
        records.set_removed("a", true).unwrap();
        until(&manager, "a", ModelState::Inactive).await;
        world.reader.refuses.store(true, Ordering::SeqCst);
        records.set_removed("a", false).unwrap();
        until(&manager, "a", ModelState::Failed).await;
        harm();
        world.reader.refuses.store(false, Ordering::SeqCst);
        let is_back = until(&manager, "a", ModelState::Active);
        let time_passes = async {
            loop {
                world.clock.advance(Duration::from_mins(1));
                manager.shared.handle(Input::Tick);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            _ = is_back => {}
            () = time_passes => {}
        }
        assert_eq!(says(&manager, "a").await.unwrap(), "alpha");
    }
    gives.assert_async().await;
}

#[tokio::test]
async fn one_that_is_removed_by_hand_is_let_go_of_while_the_node_runs() {
    let mut world = World::new().await;
    let model = world.model("a", "alpha");
    let _gives = world.gives("a", "alpha").await;
    let manager = world.start();
    configure(&manager, &[&model]);
    until(&manager, "a", ModelState::Active).await;
    let records = Records::of(world.data.path());
    records.set_removed("a", true).unwrap();
    let out = until(&manager, "a", ModelState::Inactive).await;
    assert_eq!(out.left_out, Some(LeftOut::Removed));
    records.set_removed("a", false).unwrap();
    until(&manager, "a", ModelState::Active).await;
}

#[tokio::test]
async fn a_file_that_was_given_is_checked_used_and_never_removed() {
    let world = World::new().await;
    let model = world.model("a", "alpha");
    for (content, state) in [("alpha", ModelState::Active), ("other", ModelState::Failed)] {
        let own = world.data.path().join("mine.gguf");
        std::fs::write(&own, content).unwrap();
        let mut options = ManagerOptions::new(world.data.path());
        options.cache = world.cache.path().to_owned();
        options.shows_progress = false;
        options.given.insert("a".to_owned(), own.clone());
        let manager = ModelManager::start(options, Arc::new(world.reader.clone())).unwrap();
        configure(&manager, &[&model]);
        let standing = until(&manager, "a", state).await;
        assert_eq!(state == ModelState::Active, standing.paths == [own.clone()]);
        configure(&manager, &[]);
        assert!(own.exists());
    }
}

#[tokio::test]
async fn no_room_on_the_disk_is_a_state_of_its_own() {
    let world = World::new().await;
    let mut model = world.model("a", "alpha");
    model.files[0].size = 1 << 60;
    let mut options = ManagerOptions::new(world.data.path());
    options.cache = world.cache.path().to_owned();
    options.shows_progress = false;
    options.serve = Serve::Named(vec!["a".to_owned()]);
    let manager = ModelManager::start(options, Arc::new(world.reader.clone())).unwrap();
    configure(&manager, &[&model]);
    let failed = until(&manager, "a", ModelState::Failed).await;
    let trouble = failed.trouble.unwrap();
    assert_eq!(trouble.kind, TroubleKind::DiskFull);
    assert!(trouble.message.contains("no room"), "{}", trouble.message);
}
