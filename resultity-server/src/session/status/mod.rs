//! The Status API: what the public may see, made once a second and kept in memory. A reader costs the network nothing but
//! the copy of some bytes.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use resultity_core::api::cloud::{ReplyMeta, Streamed};
use resultity_core::api::gate::InEnvironment;
use resultity_core::api::status::{
    ConfigStatus, Epochs, Models, NetworkStatus, Pricing, Regions, Seen, StatusApi, StatusEvent, StatusEvents, Versions,
};
use resultity_core::canonical::sha256;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::flow::{Flow, Flows};

mod look;

/// How often the picture is made anew.
const EVERY: Duration = Duration::from_secs(1);

/// How often what comes from the database is read again.
const EPOCHS_EVERY: Duration = Duration::from_mins(1);

/// Events that a slow reader may be behind before some are left out.
const EVENTS: usize = 64;

/// How often a moment is kept for the charts, and how many: an hour.
const MOMENT_EVERY: i64 = 10;
const MOMENTS: usize = 360;

/// The most readers of events at a time.
const MOST_READERS: usize = 10_000;

/// An answer, written once: what comes behind its age, and its tag.
#[derive(Debug, Clone)]
pub struct Part<T> {
    seen: Seen<T>,
    rest: Bytes,
    tag: String,
}

impl<T: Serialize + Clone> Part<T> {
    fn new(environment: Environment, as_of: i64, body: T) -> Self {
        let seen = Seen {
            age_ms: 0,
            environment,
            as_of,
            body,
        };
        // Texts, numbers and maps with names: always JSON.
        let text = serde_json::to_string(&seen).unwrap_or_default();
        let rest = text.split_once(',').map_or("", |(_, rest)| rest).to_owned();
        // What does not change with time alone.
        let tag = serde_json::to_vec(&seen.body).unwrap_or_default();
        let tag = format!("W/\"{}\"", hex::encode(&sha256(tag).as_slice()[..12]));
        Self {
            seen,
            rest: rest.into(),
            tag,
        }
    }

    /// The answer as JSON, with this age.
    pub fn text(&self, age: Duration) -> Bytes {
        let mut text = Vec::with_capacity(self.rest.len() + 32);
        text.extend_from_slice(format!("{{\"age_ms\":{},", age.as_millis()).as_bytes());
        text.extend_from_slice(&self.rest);
        text.into()
    }

    /// Its tag: the same for as long as what it says is the same.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    fn aged(&self, age: Duration) -> Seen<T> {
        Seen {
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            ..self.seen.clone()
        }
    }
}

/// Everything that can be seen of an environment, made at one moment.
#[derive(Debug)]
pub struct Picture {
    made: Instant,
    pub(crate) network: Part<NetworkStatus>,
    pub(crate) models: Part<Models>,
    pub(crate) regions: Part<Regions>,
    pub(crate) versions: Part<Versions>,
    pub(crate) pricing: Part<Pricing>,
    pub(crate) config: Part<ConfigStatus>,
    pub(crate) epochs: Part<Epochs>,
}

impl Picture {
    /// How old it is.
    pub fn age(&self) -> Duration {
        self.made.elapsed()
    }
}

/// The network at one moment of the last hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// When: seconds since 1970.
    pub at: i64,
    /// Requests that ended, per second.
    pub per_second: f64,
    /// The median time to an answer, in milliseconds.
    pub p50_ms: f64,
    /// The share of the slots in use: 0 to 1.
    pub utilisation: f64,
    /// Requests that wait.
    pub waiting: u64,
}

impl Moment {
    fn of(network: &Seen<NetworkStatus>) -> Self {
        let body = &network.body;
        Self {
            at: network.as_of,
            per_second: body.jobs.per_second,
            p50_ms: body.latency.p50_ms,
            utilisation: body.load.utilisation,
            waiting: body.jobs.waiting,
        }
    }
}

/// What was read from the database, which is not asked for every picture.
#[derive(Debug, Default)]
struct Kept {
    history: Vec<resultity_core::api::status::ConfigChange>,
    epochs: Vec<crate::store::epochs::EpochRecord>,
    epochs_read: Option<Instant>,
    epoch: u64,
    moments: VecDeque<Moment>,
}

impl Kept {
    /// Keeps a moment, if the last one is long enough ago; forgets those of more than an hour ago.
    fn note(&mut self, moment: Moment) {
        if self
            .moments
            .back()
            .is_some_and(|last| moment.at < last.at + MOMENT_EVERY)
        {
            return;
        }
        if self.moments.len() == MOMENTS {
            self.moments.pop_front();
        }
        self.moments.push_back(moment);
    }
}

/// What is seen of one environment.
#[derive(Debug)]
struct Board {
    flow: Arc<Flow>,
    picture: ArcSwapOption<Picture>,
    kept: Mutex<Kept>,
    events: broadcast::Sender<Arc<StatusEvent>>,
    readers: AtomicUsize,
}

/// What the public may see. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StatusBoard {
    boards: Arc<Vec<Board>>,
}

impl StatusBoard {
    /// A board on these flows, on which nothing is shown before [`run`](Self::run) has begun or it is asked.
    pub fn new(flows: &Flows) -> Self {
        let boards = flows.iter().map(|flow| Board {
            flow: Arc::clone(flow),
            picture: ArcSwapOption::empty(),
            kept: Mutex::default(),
            events: broadcast::Sender::new(EVENTS),
            readers: AtomicUsize::new(0),
        });
        Self {
            boards: Arc::new(boards.collect()),
        }
    }

    /// Makes the pictures, once a second, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            for board in self.boards.iter() {
                board.refresh().await;
            }
        }
    }

    fn board(&self, of: InEnvironment) -> Result<&Board, ApiError> {
        let mut boards = self.boards.iter();
        let found = match of.environment {
            Some(environment) => boards.find(|board| board.flow.environment == environment),
            None => boards.next(),
        };
        found.ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, "this environment is not served here").with_param("environment")
        })
    }

    /// The last picture of an environment.
    pub async fn picture(&self, of: InEnvironment) -> Result<Arc<Picture>, ApiError> {
        let board = self.board(of)?;
        if let Some(picture) = board.picture.load_full() {
            return Ok(picture);
        }
        // In the first second, or where nothing runs it.
        Ok(board.refresh().await)
    }

    /// The last hour, oldest first, as far as this process has seen it.
    ///
    /// # Errors
    /// The environment is not served here.
    pub fn moments(&self, of: InEnvironment) -> Result<Vec<Moment>, ApiError> {
        let kept = self.board(of)?.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(kept.moments.iter().copied().collect())
    }
}

impl Board {
    async fn refresh(&self) -> Arc<Picture> {
        self.read_kept().await;
        let picture = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let picture = Arc::new(look::look(&self.flow, &kept.history, &kept.epochs));
            kept.note(Moment::of(&picture.network.seen));
            picture
        };
        let before = self.picture.swap(Some(Arc::clone(&picture)));
        if self.events.receiver_count() > 0
            && let Some(before) = before
        {
            self.tell(&before, &picture);
        }
        picture
    }

    /// Reads what is not in memory: after a new snapshot, and the epochs from time to time.
    async fn read_kept(&self) {
        let current = self.flow.current().snapshot.version;
        let (knows_version, epochs_due, epoch) = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let due = kept.epochs_read.is_none_or(|read| read.elapsed() >= EPOCHS_EVERY);
            (
                kept.history.first().map(|change| change.version) == Some(current),
                due,
                kept.epoch,
            )
        };
        let (store, environment, now) = (&self.flow.store, self.flow.environment, self.flow.clock.now());
        if !knows_version {
            match look::history(&**store, environment).await {
                Ok(history) => self.kept.lock().unwrap_or_else(PoisonError::into_inner).history = history,
                Err(error) => tracing::warn!(%error, "the history of snapshots could not be read"),
            }
        }
        let open = crate::store::epochs::epoch_of(now);
        if epochs_due || open != epoch {
            let read = async {
                store.close_epochs(environment, open, now).await?;
                store.epochs(environment, look::MOST_EPOCHS).await
            };
            match read.await {
                Ok(epochs) => {
                    let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                    (kept.epochs, kept.epochs_read, kept.epoch) = (epochs, Some(Instant::now()), open);
                }
                Err(error) => tracing::warn!(%error, "the epochs could not be read"),
            }
        }
    }

    /// Tells what has changed between two pictures.
    fn tell(&self, before: &Picture, now: &Picture) {
        let tell = |event: StatusEvent| {
            // Nobody may listen any more.
            let _ = self.events.send(Arc::new(event));
        };
        let (old, new) = (&before.config.seen.body, &now.config.seen.body);
        if old.digest != new.digest
            && let Some(change) = new.history.iter().find(|change| change.digest == new.digest)
        {
            tell(StatusEvent::Config(change.clone()));
        }
        let known: HashMap<&str, bool> = (before.models.seen.body.models.iter())
            .map(|model| (model.name.as_str(), model.available))
            .collect();
        for model in &now.models.seen.body.models {
            if known.get(model.name.as_str()).copied().unwrap_or_default() != model.available {
                tell(StatusEvent::Model(Box::new(model.clone())));
            }
        }
        let open = |picture: &Picture| picture.epochs.seen.body.epochs.first().cloned();
        if let (Some(old), Some(new)) = (open(before), open(now))
            && old.number != new.number
        {
            tell(StatusEvent::Epoch(new));
        }
        if before.network.tag != now.network.tag {
            tell(StatusEvent::Network(Box::new(now.network.seen.clone())));
        }
    }
}

/// Counts a reader of events for as long as it lives.
struct Reader {
    boards: Arc<Vec<Board>>,
    place: usize,
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(board) = self.boards.get(self.place) {
            board.readers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl StatusApi for StatusBoard {
    async fn network(&self, of: InEnvironment) -> Result<Seen<NetworkStatus>, ApiError> {
        let picture = self.picture(of).await?;
        Ok(picture.network.aged(picture.age()))
    }

    async fn models(&self, of: InEnvironment) -> Result<Seen<Models>, ApiError> {
        let picture = self.picture(of).await?;
        Ok(picture.models.aged(picture.age()))
    }

    async fn regions(&self, of: InEnvironment) -> Result<Seen<Regions>, ApiError> {
        let picture = self.picture(of).await?;
        Ok(picture.regions.aged(picture.age()))
    }

    async fn versions(&self, of: InEnvironment) -> Result<Seen<Versions>, ApiError> {
        let picture = self.picture(of).await?;
        Ok(picture.versions.aged(picture.age()))
    }

    async fn pricing(&self, of: InEnvironment) -> Result<Seen<Pricing>, ApiError> {
        let picture = self.picture(of).await?;
        Ok(picture.pricing.aged(picture.age()))
    }

    async fn config(&self, of: InEnvironment) -> Result<Seen<ConfigStatus>, ApiError> {
        let picture = self.picture(of).await?;
        Ok(picture.config.aged(picture.age()))
    }

    async fn epochs(&self, of: InEnvironment) -> Result<Seen<Epochs>, ApiError> {
        let picture = self.picture(of).await?;
        Ok(picture.epochs.aged(picture.age()))
    }

    async fn events(&self, of: InEnvironment) -> Result<StatusEvents, ApiError> {
        let board = self.board(of)?;
        let place = self.boards.iter().position(|other| std::ptr::eq(other, board));
        if board.readers.fetch_add(1, Ordering::Relaxed) >= MOST_READERS {
            board.readers.fetch_sub(1, Ordering::Relaxed);
            let error = ApiError::new(ErrorCode::NoCapacity, "too many follow the events already");
            return Err(error.with_retry_after(Duration::from_secs(30)));
        }
        let reader = Reader {
            boards: Arc::clone(&self.boards),
            place: place.unwrap_or_default(),
        };
        // Listening begins before the first picture is taken, so that no change between the two is missed.
        let events = board.events.subscribe();
        let picture = self.picture(of).await?;
        let first = StatusEvent::Network(Box::new(picture.network.aged(picture.age())));
        let later = stream::unfold((events, reader), |(mut events, reader)| async move {
            loop {
                match events.recv().await {
                    Ok(event) => return Some((Ok(StatusEvent::clone(&event)), (events, reader))),
                    // A reader that was too slow goes on with what is new.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        let all = stream::once(async { Ok(first) }).chain(later).boxed();
        Ok(Streamed::new(ReplyMeta::default(), all))
    }
}
