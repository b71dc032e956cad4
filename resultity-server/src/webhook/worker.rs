//! The loop that sends what is due. It waits for new events, for the next that is due and for attempts to end; it never
//! polls.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use resultity_core::clock::{Clock, Entropy, Timestamp};
use resultity_core::environment::Environment;
use resultity_core::id::DeliveryId;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::store::webhooks::{AttemptEnd, AttemptOutcome, DueDelivery};
use crate::store::{Store, StoreError};
use crate::webhook::Webhooks;
use crate::webhook::send::{SendError, Sender};

/// How many messages are under way at once, in all and to one webhook.
const AT_ONCE: u32 = 128;
const AT_ONCE_EACH: u32 = 8;

/// How long the loop sleeps at most, and after a failure of the store.
const LONGEST_SLEEP: Duration = Duration::from_hours(1);
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// How long attempts that are under way may take when the server stops.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How long the log of deliveries goes back, and how much of it is forgotten in one step.
const KEPT: Duration = Duration::from_hours(30 * 24);
const FORGOTTEN_AT_ONCE: u32 = 1000;

/// Sends the webhooks of one environment.
#[derive(Debug)]
pub struct Worker {
    /// What is to be sent.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Which network.
    pub environment: Environment,
    /// How it is sent.
    pub webhooks: Arc<Webhooks>,
}

/// Attempts under way, by their tasks.
#[derive(Default)]
struct UnderWay {
    tasks: JoinSet<()>,
    deliveries: HashMap<Id, DeliveryId>,
}

impl UnderWay {
    /// Waits until one has ended; for ever if there is none.
    async fn ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.forget(ended),
            None => std::future::pending().await,
        }
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.forget(ended);
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "an attempt of a webhook ended by a fault");
                error.id()
            }
        };
        self.deliveries.remove(&id);
    }
}

impl Worker {
    /// Sends until it is told to stop. What is under way then may still end within seconds; what does not is sent again
    /// at the next start.
    pub async fn run(self, stop: CancellationToken) {
        let sender = match Sender::new(Arc::clone(&self.webhooks)) {
            Ok(sender) => Arc::new(sender),
            Err(error) => {
                tracing::error!(%error, "webhooks can't be sent: TLS can't be set up on this machine");
                return;
            }
        };
        let worker = Arc::new(self);
        let mut enqueued = worker.store.events_enqueued();
        let mut under_way = UnderWay::default();
        let mut forget_at = worker.clock.now();
        loop {
            // Seen before what is due is read: what comes after that wakes the loop.
            enqueued.borrow_and_update();
            let pause = match worker.begin(&sender, &mut under_way, &mut forget_at).await {
                Ok(next) => next.map_or(LONGEST_SLEEP, |next| next.since(worker.clock.now())),
                Err(StoreError::Closed) => break,
                Err(error) => {
                    tracing::error!(%error, "due webhooks could not be read");
                    STORE_PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                changed = enqueued.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
                () = under_way.ended() => {}
                // At least a moment: a clock that stands must not make this spin.
                () = sleep(pause.clamp(Duration::from_millis(1), LONGEST_SLEEP)) => {}
            }
        }
        let last = async { while under_way.tasks.join_next().await.is_some() {} };
        let _ = timeout(LAST_WORDS, last).await;
    }

    /// Begins what is due and not under way; gives when something is due next.
    async fn begin(
        self: &Arc<Self>,
        sender: &Arc<Sender>,
        under_way: &mut UnderWay,
        forget_at: &mut Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now();
        if *forget_at <= now {
            self.forget_old(now).await?;
            *forget_at = now.after(LONGEST_SLEEP);
        }
        let due = self
            .store
            .due_deliveries(self.environment, now, AT_ONCE_EACH, AT_ONCE)
            .await?;
        let known: HashSet<DeliveryId> = under_way.deliveries.values().copied().collect();
        for due in due {
            if under_way.deliveries.len() >= AT_ONCE as usize {
                break;
            }
            let id = due.delivery.id;
            if known.contains(&id) {
                continue;
            }
            let (worker, sender) = (Arc::clone(self), Arc::clone(sender));
            let task = under_way.tasks.spawn(async move { worker.attempt(&sender, due).await });
            under_way.deliveries.insert(task.id(), id);
        }
        self.store.next_delivery_after(now).await
    }

    /// Sends one and keeps what came of it.
    async fn attempt(&self, sender: &Sender, due: DueDelivery) {
        let sent = sender.send(&due, self.clock.now()).await;
        let now = self.clock.now();
        let outcome = match &sent {
            Ok(_) => AttemptOutcome::Delivered,
            Err(SendError::Gone) => AttemptOutcome::Gone,
            Err(error) if error.is_final() => AttemptOutcome::GivenUp,
            Err(_) => self
                .pause(due.delivery.step)
                .map_or(AttemptOutcome::GivenUp, |pause| AttemptOutcome::Again(now.after(pause))),
        };
        let name = match outcome {
            AttemptOutcome::Delivered => "delivered",
            AttemptOutcome::Again(_) => "again",
            AttemptOutcome::GivenUp | AttemptOutcome::Gone => "failed",
        };
        metrics::counter!("resultity_webhook_attempts_total", "outcome" => name).increment(1);
        if let Err(error) = &sent {
            tracing::debug!(webhook.id = %due.webhook.id, delivery.id = %due.delivery.id, %error, "a webhook was not delivered");
        }
        let end = AttemptEnd {
            delivery: due.delivery.id,
            outcome,
            status: sent.as_ref().map_or_else(SendError::status, |status| Some(*status)),
            error: sent.err().map(|error| error.to_string()),
            now,
        };
        if let Err(error) = self.store.end_attempt(end).await {
            tracing::error!(%error, "what came of a webhook could not be kept: it will be sent again");
            // It is still due, and should not be sent again at once.
            sleep(STORE_PAUSE).await;
        }
    }

    /// How long to wait after this many failed attempts before the one that failed now; none: not again.
    fn pause(&self, step: u32) -> Option<Duration> {
        let pause = *self.webhooks.options.backoff.get(step as usize)?;
        let mut random = [0; 2];
        self.entropy.fill(&mut random);
        // Those that failed together should not all come back together.
        let jitter = f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX) / 5.0;
        Some(pause.mul_f64(1.0 + jitter))
    }

    async fn forget_old(&self, now: Timestamp) -> Result<(), StoreError> {
        let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::from_millis(now.as_millis().saturating_sub(kept));
        while self.store.forget_deliveries(before, FORGOTTEN_AT_ONCE).await? == u64::from(FORGOTTEN_AT_ONCE) {}
        Ok(())
    }
}
