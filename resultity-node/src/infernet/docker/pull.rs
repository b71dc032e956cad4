//! Pulling an image, with a bar where a person looks.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use bollard::models::CreateImageInfo;
use futures::StreamExt;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::engine::{Engine, EngineError};
use crate::infernet::config::settings::DockerSettings;

/// How long nothing may come of a pull.
const SILENCE: Duration = Duration::from_mins(5);

/// Pulls an image. If that fails and it is here already, that one is used.
pub(super) async fn pull(
    engine: &Engine,
    image: &str,
    settings: &DockerSettings,
    bars: &MultiProgress,
) -> Result<(), EngineError> {
    tracing::info!(image, "pulling the image; this may take a while");
    let Err(error) = follow(engine, image, settings, bars).await else {
        tracing::info!(image, "the image is here");
        return Ok(());
    };
    if engine.has_image(image).await.unwrap_or(false) {
        tracing::info!(image, %error, "the image cannot be pulled; the one that is here is used");
        return Ok(());
    }
    Err(error)
}

async fn follow(
    engine: &Engine,
    image: &str,
    settings: &DockerSettings,
    bars: &MultiProgress,
) -> Result<(), EngineError> {
    let mut pulled = pin!(engine.pull(image, settings));
    let mut layers = Layers::default();
    // Shows nothing where standard error is no terminal.
    let bar = bars.add(ProgressBar::new(0));
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(image.to_owned());
    let ended = loop {
        match tokio::time::timeout(SILENCE, pulled.next()).await {
            Err(_) => break Err(EngineError::Slow("pull the image")),
            Ok(None) => break Ok(()),
            Ok(Some(Err(error))) => break Err(error),
            Ok(Some(Ok(info))) => {
                let (here, total) = layers.at(info);
                bar.set_length(total);
                bar.set_position(here);
            }
        }
    };
    bar.finish_and_clear();
    bars.remove(&bar);
    ended
}

/// How much of each layer is here.
#[derive(Default)]
struct Layers(HashMap<String, (u64, u64)>);

impl Layers {
    /// Bytes that are here, and bytes of all layers that are known.
    fn at(&mut self, info: CreateImageInfo) -> (u64, u64) {
        if let (Some(id), Some(detail)) = (info.id, info.progress_detail) {
            let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
            // Unpacking has numbers too; a layer that is here stays here.
            if let (Some(here), Some(total)) = (bytes(detail.current), bytes(detail.total)) {
                let layer = self.0.entry(id).or_default();
                *layer = (layer.0.max(here), layer.1.max(total));
            }
        }
        let layers = self.0.values();
        layers.fold((0, 0), |(here, total), layer| (here + layer.0, total + layer.1))
    }
}
