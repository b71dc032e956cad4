//! What the Agent knows of its Runtime and its machine.

use std::sync::Arc;
use std::time::Duration;

use resultity_core::wire::Hardware;
use tokio::sync::mpsc;

use super::actor::Event;
use crate::hardware::HardwareProbe;
use crate::runtime::{EngineModel, Runtime, RuntimeError};

/// How often the Runtime is asked what it has.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// The same, after it could not say.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// It is not asked more often than this, however often it says that something has changed.
const LEAST_PAUSE: Duration = Duration::from_millis(200);
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is known of the Runtime.
#[derive(Default)]
pub(super) struct Engine {
    pub(super) models: Vec<EngineModel>,
    pub(super) hardware: Hardware,
    pub(super) asked: bool,
    pub(super) failures: u32,
}

impl Engine {
    /// One failure may be chance under load, if it worked before.
    pub(super) fn is_healthy(&self) -> bool {
        self.failures == 0 || (self.failures == 1 && !self.models.is_empty())
    }
}

/// Asks the Runtime again and again what it has.
pub(super) async fn probe(runtime: Arc<dyn Runtime>, events: mpsc::Sender<Event>) {
    let mut hardware = HardwareProbe::new();
    hardware.find_gpus().await;
    loop {
        let models = match tokio::time::timeout(PROBE_TIMEOUT, runtime.models()).await {
            Ok(models) => models,
            Err(_) => Err(RuntimeError::Unavailable("no answer in time".into())),
        };
        // One failure may be chance: whether it is shows soon.
        let pause = if models.is_ok() { PROBE_INTERVAL } else { RETRY_INTERVAL };
        if events.send(Event::Probed(models, hardware.read())).await.is_err() {
            return;
        }
        // Whichever comes first.
        let changed = tokio::time::timeout(pause, runtime.changed());
        let _ = tokio::join!(changed, tokio::time::sleep(LEAST_PAUSE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use resultity_core::openai::chat::ChatRequest;
    use tokio::time::Instant;

    use crate::runtime::RuntimeStream;

    /// Says without end that something has changed.
    struct Restless;

    #[async_trait]
    impl Runtime for Restless {
        fn kind(&self) -> &'static str {
            "restless"
        }

        async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
            Ok(Vec::new())
        }

        async fn changed(&self) {}

        async fn chat(&self, _: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
            Err(RuntimeError::Failed("it does not chat".to_owned()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_runtime_that_changes_without_end_is_asked_now_and_then() {
        let (events, mut asked) = mpsc::channel(1);
        let probe = tokio::spawn(probe(Arc::new(Restless), events));
        asked.recv().await.unwrap();
        let begin = Instant::now();
        for _ in 0..10 {
            asked.recv().await.unwrap();
        }
        // The last may have waited for room.
        assert!(begin.elapsed() >= LEAST_PAUSE * 9, "{:?}", begin.elapsed());
        probe.abort();
    }
}
