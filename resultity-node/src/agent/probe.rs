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
        let _ = tokio::time::timeout(pause, runtime.changed()).await;
    }
}
