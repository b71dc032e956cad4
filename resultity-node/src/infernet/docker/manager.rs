//! Starting the containers, watching them, stopping them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use indicatif::MultiProgress;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::answers::until_it_answers;
use super::engine::{Engine, EngineError, with_tag};
use super::pull::pull;
use crate::http_client;
use crate::infernet::config::settings::{ContainerSettings, DockerSettings};
use crate::infernet::containers::Containers;

/// How often the engine is asked which containers run, as in the original; and how often an engine that is not there is
/// looked for.
const WATCH: Duration = Duration::from_secs(10);
/// Images that are pulled at once.
const PULLS: usize = 4;

/// Has the containers that have a port started, says which run, and has them stopped in the end.
pub(in crate::infernet) async fn manage(
    settings: DockerSettings,
    containers: Vec<ContainerSettings>,
    running: Arc<Containers>,
    stop: CancellationToken,
) {
    let (managed, others): (Vec<_>, Vec<_>) = containers.into_iter().partition(|container| container.port.is_some());
    let manager = Manager {
        settings,
        managed,
        others: others.into_iter().map(|container| container.id).collect(),
        running,
        up: Mutex::default(),
        taken: Mutex::default(),
    };
    manager.publish();
    if manager.managed.is_empty() {
        return;
    }
    let work = async {
        let engine = manager.connect().await;
        manager.bring_up(&engine).await;
        manager.watch(&engine).await;
    };
    stop.run_until_cancelled(work).await;
    manager.stop().await;
}

struct Manager {
    settings: DockerSettings,
    /// Those that the engine starts.
    managed: Vec<ContainerSettings>,
    /// The ids of those that run elsewhere.
    others: Vec<String>,
    running: Arc<Containers>,
    /// The ids of those that run.
    up: Mutex<BTreeSet<String>>,
    /// The ids of those to stop in the end.
    taken: Mutex<BTreeSet<String>>,
}

impl Manager {
    /// Waits for an engine. Until then, what answers at the ports is used.
    async fn connect(&self) -> Engine {
        let mut is_told = false;
        loop {
            match Engine::connect(self.settings.host.as_deref()).await {
                Ok(engine) => {
                    self.publish();
                    return engine;
                }
                Err(error) if !is_told => {
                    is_told = true;
                    let all = self.managed.iter().map(|container| &container.id).chain(&self.others);
                    self.running.set_running(&all.collect::<Vec<_>>());
                    tracing::warn!(
                        "{error}. Start one, say with DOCKER_HOST where it is, or start the containers yourself and set `manage_containers` to false. Until then, what answers at their ports is used"
                    );
                }
                Err(_) => {}
            }
            tokio::time::sleep(WATCH).await;
        }
    }

    /// Has all containers started. One that fails is told of and left; the others start.
    async fn bring_up(&self, engine: &Engine) {
        let found = join_all(self.managed.iter().map(|container| engine.find(&container.id))).await;
        let mut missing: BTreeMap<String, Vec<&ContainerSettings>> = BTreeMap::new();
        let mut existing = Vec::new();
        for (container, found) in self.managed.iter().zip(found) {
            match found {
                Ok(Some(found)) => {
                    if found.port != container.port {
                        let id = &container.id;
                        tracing::warn!(
                            container = id,
                            port = container.port,
                            "the container exists and is not published on this port: `docker rm -f {id}` lets it be made anew"
                        );
                    }
                    existing.push((container, found.running));
                }
                Ok(None) => missing.entry(with_tag(&container.image)).or_default().push(container),
                Err(error) => tracing::error!(container = container.id, "{error}"),
            }
        }
        let bars = MultiProgress::new();
        let pulls = Semaphore::new(PULLS);
        let existing = existing.into_iter().map(|(container, is_running)| async move {
            let started = self.start(engine, container, is_running).await;
            self.await_answer(engine, container, started).await;
        });
        let (bars, pulls) = (&bars, &pulls);
        let missing = missing.into_iter().map(|(image, containers)| async move {
            let permit = pulls.acquire().await;
            let pulled = pull(engine, &image, &self.settings, bars).await;
            drop(permit);
            if let Err(error) = pulled {
                let ids: Vec<_> = containers.iter().map(|container| &container.id).collect();
                tracing::error!(image, containers = ?ids, "{error}");
                return;
            }
            join_all(containers.into_iter().map(|container| async move {
                let made = engine.create(container, self.settings.publish).await;
                let started = match made {
                    Ok(()) => self.start(engine, container, false).await,
                    Err(error) => Err(error),
                };
                self.await_answer(engine, container, started).await;
            }))
            .await;
        });
        futures::join!(join_all(existing), join_all(missing));
        tracing::info!(running = ?self.up(), "containers were started");
    }

    async fn start(&self, engine: &Engine, container: &ContainerSettings, is_running: bool) -> Result<(), EngineError> {
        locked(&self.taken).insert(container.id.clone());
        if !is_running {
            engine.start(&container.id).await?;
        }
        Ok(())
    }

    /// Waits until a container answers, or has had the time to.
    async fn await_answer(&self, engine: &Engine, container: &ContainerSettings, started: Result<(), EngineError>) {
        let id = &container.id;
        if let Err(error) = started {
            tracing::error!(container = id, "{error}");
            return;
        }
        let Ok(client) = http_client::builder().build() else {
            return self.is_up(id);
        };
        let wait = self.settings.startup_wait;
        if tokio::time::timeout(wait, until_it_answers(&client, &container.url))
            .await
            .is_ok()
        {
            tracing::info!(container = id, url = %container.url, "the container answers");
            return self.is_up(id);
        }
        match engine.find(id).await {
            Ok(Some(found)) if found.running => {
                let seconds = wait.as_secs_f64();
                tracing::warn!(
                    container = id,
                    url = %container.url,
                    "the container runs, and did not answer within {seconds} s (`startup_wait`); it is used from now on"
                );
                self.is_up(id);
            }
            Ok(found) => {
                let exit_code = found.and_then(|found| found.exit_code);
                tracing::error!(
                    container = id,
                    exit_code,
                    "the container has ended: `docker logs {id}` says why"
                );
            }
            Err(error) => tracing::error!(container = id, "{error}"),
        }
    }

    /// Looks which containers run, again and again.
    async fn watch(&self, engine: &Engine) {
        let mut is_lost = false;
        loop {
            tokio::time::sleep(WATCH).await;
            match engine.running().await {
                Ok(names) => {
                    is_lost = false;
                    let ids = self.managed.iter().map(|container| container.id.clone());
                    self.set_up(ids.filter(|id| names.contains(id)).collect());
                }
                Err(error) if !is_lost => {
                    is_lost = true;
                    tracing::warn!("{error}. Which containers run is not known; those that ran are used");
                }
                Err(_) => {}
            }
        }
    }

    /// Tells what has changed.
    fn set_up(&self, now: BTreeSet<String>) {
        let before = std::mem::replace(&mut *locked(&self.up), now.clone());
        for id in before.difference(&now) {
            tracing::warn!(container = id, "the container has stopped: `docker logs {id}` says why");
        }
        for id in now.difference(&before) {
            tracing::info!(container = id, "the container runs");
        }
        // One that somebody else started is stopped too, as all that are configured.
        locked(&self.taken).extend(now);
        self.publish();
    }

    fn is_up(&self, id: &str) {
        locked(&self.up).insert(id.to_owned());
        self.publish();
    }

    fn up(&self) -> BTreeSet<String> {
        locked(&self.up).clone()
    }

    /// Says which run.
    fn publish(&self) {
        let up = self.up();
        self.running
            .set_running(&up.iter().chain(&self.others).collect::<Vec<_>>());
    }

    /// Stops those that were started, all at once.
    async fn stop(&self) {
        let taken = std::mem::take(&mut *locked(&self.taken));
        if taken.is_empty() {
            return;
        }
        tracing::info!(containers = ?taken, "stopping the containers");
        let engine = match Engine::connect(self.settings.host.as_deref()).await {
            Ok(engine) => engine,
            Err(error) => return tracing::error!("containers were not stopped: {error}"),
        };
        let engine = &engine;
        let stopped = taken.iter().map(|id| async move {
            if let Err(error) = engine.stop(id).await {
                tracing::error!(container = id, "{error}");
            }
        });
        join_all(stopped).await;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
