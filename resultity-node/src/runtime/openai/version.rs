//! Which engine answers, and of which version, as far as it tells: OpenAI's API has no place for that.

use std::time::Duration;

use resultity_core::wire::EngineInfo;
use serde::Deserialize;

use super::connection::{Connection, read};

/// How long the answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The most bytes of it. llama.cpp tells its chat template too.
const LIMIT: usize = 1 << 20;

/// The longest version that is believed: characters.
const LONGEST: usize = 64;

/// What an engine says of itself: one field of many.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    build_info: Option<String>,
    #[serde(default)]
    version: Option<String>,
}

/// Asks the engine whose models have this owner; nothing if it is none that we know.
pub(super) async fn ask(connection: &Connection, owner: &str) -> Option<EngineInfo> {
    let (name, path) = match owner {
        "llamacpp" => ("llama-server", "../props"),
        "vllm" => ("vllm", "../version"),
        // Its models are owned by whoever uploaded them.
        _ => ("ollama", "../api/version"),
    };
    let version = version(connection, path).await;
    if name == "ollama" && version.is_none() {
        return None;
    }
    Some(EngineInfo {
        name: name.to_owned(),
        version: version.unwrap_or_default(),
    })
}

async fn version(connection: &Connection, path: &str) -> Option<String> {
    let response = connection.get(path, TIMEOUT).await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    let said: Said = serde_json::from_slice(&read(response, LIMIT).await.ok()?).ok()?;
    let version = said.build_info.or(said.version)?;
    let version = version.trim().chars().filter(|char| !char.is_control());
    Some(version.take(LONGEST).collect())
}
