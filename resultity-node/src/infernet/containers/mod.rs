//! The containers of this node: who they are, which run, and how one is asked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use resultity_core::infernet::ContainerInfo;
use resultity_core::infernet::resources::{ModelSupport, Said, ServiceResources};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use crate::infernet::config::settings::{CallSettings, ContainerSettings, Settings};
use crate::infernet::memory::{Memory, Share};

mod answer;
mod client;
mod endpoint;
mod error;
mod hop;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use answer::{Answer, Content};
pub use error::{CallError, ContainersError, TEXT_LIMIT};
pub use hop::{Hop, Location};

use answer::Bounds;
use client::Client;
use endpoint::Endpoint;

/// Containers that are asked for their resources at once.
const ASKED_AT_ONCE: usize = 32;

/// The same, over all who want to know: each takes a file descriptor, of which a process often has 1,024.
const ASKED_IN_ALL: usize = 128;

/// The most bytes that a container may say of its resources.
const RESOURCES_LIMIT: usize = 4 << 20;

/// All containers of the node.
#[derive(Debug)]
pub struct Containers {
    list: Vec<Container>,
    places: HashMap<String, usize>,
    /// Those that run, where an engine starts them; else all of them do.
    running: Option<RwLock<HashSet<String>>>,
    resources_timeout: Duration,
    asked: Semaphore,
    client: Client,
    /// Where answers are.
    memory: Memory,
}

/// One container.
#[derive(Debug)]
pub struct Container {
    settings: ContainerSettings,
    endpoint: Endpoint,
    /// Whether the last connection failed: told once.
    down: AtomicBool,
}

impl Container {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.settings.id
    }

    /// What the configuration says of it.
    pub const fn settings(&self) -> &ContainerSettings {
        &self.settings
    }

    /// It was reached, which is told where it was not before.
    fn reached(&self) {
        // Nearly always up: the line of memory stays shared between the cores.
        if self.down.load(Ordering::Relaxed) && self.down.swap(false, Ordering::Relaxed) {
            tracing::info!(container = self.id(), "the container can be reached again");
        }
    }

    /// It was not reached, which is told the first time. Callers are told no addresses; who runs the node needs them.
    fn not_reached(&self, error: &(dyn std::error::Error + 'static)) {
        if !self.down.swap(true, Ordering::Relaxed) {
            let (url, reason) = (&self.settings.url, innermost(error));
            tracing::warn!(container = self.id(), %url, %reason, "the container cannot be reached: its jobs fail until it can");
        }
    }
}

impl Containers {
    /// The containers of these settings. Connects to none of them.
    pub fn new(settings: &Settings) -> Result<Self, ContainersError> {
        let mut list = Vec::with_capacity(settings.containers.len());
        let mut places = HashMap::with_capacity(settings.containers.len());
        for (place, container) in settings.containers.iter().enumerate() {
            if places.insert(container.id.clone(), place).is_some() {
                return Err(ContainersError::Duplicate(container.id.clone()));
            }
            list.push(Container {
                endpoint: Endpoint::new(container)?,
                settings: container.clone(),
                down: AtomicBool::new(false),
            });
        }
        let with_tls = list.iter().any(|container| container.endpoint.has_tls());
        Ok(Self {
            client: Client::new(settings.queue.max_running, with_tls).map_err(ContainersError::Tls)?,
            running: settings.docker.as_ref().map(|_| RwLock::default()),
            resources_timeout: settings.calls.resources_timeout,
            asked: Semaphore::new(ASKED_IN_ALL),
            // Whatever others hold, one job with answers as large as they may be goes on.
            memory: Memory::new(settings.queue.max_pending_bytes.max(settings.calls.max_answer_bytes)),
            list,
            places,
        })
    }

    /// The container with this id.
    pub fn get(&self, id: &str) -> Option<&Container> {
        self.list.get(self.place(id)?)
    }

    /// Their ids, in the order of the configuration.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(Container::id)
    }

    /// All of them, in the order of the configuration.
    pub fn all(&self) -> &[Container] {
        &self.list
    }

    /// Whether it runs, as far as is known: one that no engine starts counts as running.
    pub fn is_running(&self, id: &str) -> bool {
        match &self.running {
            None => self.places.contains_key(id),
            Some(running) => running.read().unwrap_or_else(PoisonError::into_inner).contains(id),
        }
    }

    /// Says which run. Ids that are no container's are ignored; so is all of it where no engine starts them.
    pub fn set_running<S: AsRef<str>>(&self, ids: &[S]) {
        let Some(running) = &self.running else { return };
        let known = ids.iter().map(AsRef::as_ref).filter(|id| self.places.contains_key(*id));
        *running.write().unwrap_or_else(PoisonError::into_inner) = known.map(str::to_owned).collect();
    }

    /// What is told of those that run, in the order of the configuration.
    pub fn info(&self) -> Vec<ContainerInfo> {
        let told = |container: &Container| ContainerInfo {
            id: container.settings.id.clone(),
            description: container.settings.description.clone(),
            external: container.settings.external,
            image: container.settings.image.clone(),
        };
        self.running().map(told).collect()
    }

    /// What those that run say they can do. Whoever does not answer with JSON and success in time is left out.
    pub async fn resources(&self) -> BTreeMap<String, Said<ServiceResources>> {
        self.ask_all(None).await
    }

    /// Whether those that run support a model. Whoever does not answer with JSON and success in time is left out.
    pub async fn model_support(&self, model_id: &str) -> BTreeMap<String, Said<ModelSupport>> {
        self.ask_all(Some(model_id)).await
    }

    async fn ask_all<T>(&self, model_id: Option<&str>) -> BTreeMap<String, Said<T>> {
        // One deadline for all, so that those who are silent don't add up.
        let deadline = tokio::time::Instant::now() + self.resources_timeout;
        let ask = async |container: &Container| {
            let json = tokio::time::timeout_at(deadline, self.ask_resources(container, model_id)).await;
            Some((container.id().to_owned(), Said::new(json.ok().flatten()?)))
        };
        let answers = stream::iter(self.running()).map(ask).buffer_unordered(ASKED_AT_ONCE);
        answers.filter_map(std::future::ready).collect().await
    }

    async fn ask_resources(&self, container: &Container, model_id: Option<&str>) -> Option<Box<RawValue>> {
        let request = container.endpoint.resources(model_id)?;
        let _turn = self.asked.acquire().await.ok()?;
        let response = self.client.send(request).await.ok()?;
        if response.status() != http::StatusCode::OK {
            return None;
        }
        let bounds = Bounds::new(self.resources_timeout, RESOURCES_LIMIT);
        let mut answer = Answer::read(container.id(), response, bounds, &self.memory, 0)
            .await
            .ok()?;
        answer.json().await.ok()
    }

    fn running(&self) -> impl Iterator<Item = &Container> {
        self.list.iter().filter(|container| self.is_running(container.id()))
    }

    /// Whether it runs and takes connections. Nothing is asked of it.
    pub(crate) async fn is_reachable(&self, id: &str) -> bool {
        match self.get(id) {
            Some(container) if self.is_running(id) => container.endpoint.takes_connections().await,
            _ => false,
        }
    }

    /// Where it is in the list.
    pub(crate) fn place(&self, id: &str) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// Calls the container at a place of the list, for its whole answer. `before` is how many bytes of answers the
    /// job has already; the share is what this one adds.
    pub(crate) async fn call(
        &self,
        place: usize,
        hop: Hop<'_>,
        calls: &CallSettings,
        before: usize,
    ) -> Result<(Box<RawValue>, Share), CallError> {
        let mut answer = self.open_within(place, hop, calls.timeout, calls, before).await?;
        let json = answer.json().await?;
        Ok((json, answer.into_share()))
    }

    /// Calls the container at a place of the list, for an answer that is read along.
    pub(crate) async fn open(
        &self,
        place: usize,
        hop: Hop<'_>,
        calls: &CallSettings,
        before: usize,
    ) -> Result<Answer, CallError> {
        self.open_within(place, hop, calls.stream_timeout, calls, before).await
    }

    async fn open_within(
        &self,
        place: usize,
        hop: Hop<'_>,
        timeout: Duration,
        calls: &CallSettings,
        before: usize,
    ) -> Result<Answer, CallError> {
        let container = &self.list[place];
        let id = container.id();
        let mut bounds = Bounds::new(container.settings.timeout.unwrap_or(timeout), calls.max_answer_bytes);
        let response = self.client.send(container.endpoint.output(hop.body()));
        match bounds.within(id, response).await? {
            Ok(response) => {
                container.reached();
                Answer::read(id, response, bounds, &self.memory, before).await
            }
            Err(error) => {
                // Callers are told neither addresses nor certificates; who runs the node needs them.
                let connecting = error.is_connect();
                if connecting {
                    container.not_reached(&error);
                }
                tracing::debug!(
                    container = id,
                    error = &error as &dyn std::error::Error,
                    "a call failed"
                );
                let what = if connecting {
                    CallError::Unreachable
                } else {
                    CallError::Cut
                };
                Err(what(id.to_owned()))
            }
        }
    }
}

/// What was behind an error in the end, such as the system's own words.
fn innermost<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    while let Some(source) = error.source() {
        error = source;
    }
    error
}
