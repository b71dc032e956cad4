//! Embeddings in this process: a sentence model of the BERT family, on the processor.
//!
//! The numbers of a text are the mean over its tokens, brought to length 1: what `sentence-transformers` does for the
//! all-MiniLM models. Texts of about one length are computed together. One request is worked on at a time, beside the answers
//! of a text model: a text takes some milliseconds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use candle_core::{D, DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use resultity_core::openai::chat::ChatRequest;
use resultity_core::openai::completion::Prompt;
use resultity_core::openai::embedding::EmbeddingRequest;
use serde_json::Value;
use tokenizers::Tokenizer;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{LoadError, Trouble, stopped};
use crate::runtime::{Embeddings, EngineModel, Runtime, RuntimeError, RuntimeStream};

/// The most texts of one request, as with OpenAI.
const MAX_TEXTS: usize = 2048;

/// The most tokens, with what fills up shorter texts, that are computed at once. More would take memory and be no faster.
const BATCH_TOKENS: usize = 2048;

/// The most texts that are computed at once.
const BATCH_TEXTS: usize = 64;

/// A sentence model in this process.
pub struct BertRuntime {
    engine: Arc<Engine>,
    permits: Arc<Semaphore>,
}

struct Engine {
    name: String,
    model: BertModel,
    tokenizer: Tokenizer,
    /// What shorter texts are filled up with.
    padding: u32,
    /// Tokens of a text, with the two that the model puts around it.
    context: usize,
}

impl std::fmt::Debug for BertRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BertRuntime")
            .field("model", &self.engine.name)
            .field("context", &self.engine.context)
            .finish_non_exhaustive()
    }
}

impl BertRuntime {
    /// Loads the model; it will answer to `model_name`.
    ///
    /// This blocks, for some tenths of a second: call it from [`tokio::task::spawn_blocking`].
    pub fn load(files: &BertFiles, model_name: impl Into<String>) -> Result<Self, LoadError> {
        let config: Config = serde_json::from_slice(&read(&files.config)?).map_err(|error| at(&files.config, error))?;
        let mut tokenizer =
            Tokenizer::from_bytes(read(&files.tokenizer)?).map_err(|error| at(&files.tokenizer, error))?;
        // The file says that texts are cut and filled up to one length. We do neither unseen.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| at(&files.tokenizer, error))?;
        let weights = VarBuilder::from_buffered_safetensors(read(&files.weights)?, DType::F32, &Device::Cpu)
            .and_then(|variables| BertModel::load(variables, &config));
        let engine = Engine {
            name: model_name.into(),
            model: weights.map_err(|error| at(&files.weights, error))?,
            tokenizer,
            padding: config.pad_token_id as u32,
            context: config.max_position_embeddings,
        };
        Ok(Self {
            engine: Arc::new(engine),
            permits: Arc::new(Semaphore::new(1)),
        })
    }
}

/// Where the parts of a sentence model are.
#[derive(Debug, Clone)]
pub struct BertFiles {
    /// The safetensors.
    pub weights: PathBuf,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// `config.json`.
    pub config: PathBuf,
}

impl BertFiles {
    /// The files of a model of kind `safetensors`, in the order of its entry in the snapshot.
    pub fn new(files: [PathBuf; 3]) -> Self {
        let [weights, tokenizer, config] = files;
        Self {
            weights,
            tokenizer,
            config,
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|source| LoadError::Io {
        path: path.to_owned(),
        source,
    })
}

fn at(path: &Path, error: impl std::fmt::Display) -> LoadError {
    Trouble::Invalid(error.to_string()).at(path)
}

#[async_trait]
impl Runtime for BertRuntime {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        Ok(vec![
            EngineModel::new(&self.engine.name).with_context_length(self.engine.context as u64),
        ])
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        self.engine.check_model(&request.model)?;
        Err(RuntimeError::no_such_work(&request.model, "chat"))
    }

    async fn embed(&self, request: EmbeddingRequest) -> Result<Embeddings, RuntimeError> {
        self.engine.check_model(&request.model)?;
        let texts = texts(request)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| stopped())?;
        let engine = Arc::clone(&self.engine);
        let cancel = CancellationToken::new();
        let _cancels_when_dropped = cancel.clone().drop_guard();
        let work = tokio::task::spawn_blocking(move || {
            let result = engine.embed(texts, &cancel);
            drop(permit);
            result
        });
        work.await.map_err(|_| stopped())?
    }
}

/// The texts of a request that asks for nothing else than this engine does.
fn texts(request: EmbeddingRequest) -> Result<Vec<String>, RuntimeError> {
    if request.dimensions.is_some() {
        return Err(RuntimeError::invalid_field(
            "dimensions",
            "this model has one number of dimensions",
        ));
    }
    for (field, value) in &request.extra {
        if !matches!((field.as_str(), value), (_, Value::Null) | ("user", _)) {
            return Err(RuntimeError::invalid_field(
                field,
                "the embedded engine does not support it",
            ));
        }
    }
    let texts = match request.input {
        Prompt::Text(text) => vec![text],
        Prompt::Texts(texts) => texts,
        // They are hardly ever this model's own: clients send those of OpenAI's models, and nothing tells them apart.
        Prompt::Tokens(_) | Prompt::TokenLists(_) => {
            return Err(RuntimeError::invalid_field(
                "input",
                "this model takes texts, not token ids",
            ));
        }
    };
    if !(1..=MAX_TEXTS).contains(&texts.len()) {
        return Err(RuntimeError::invalid_field(
            "input",
            format_args!("expected 1 to {MAX_TEXTS} texts"),
        ));
    }
    Ok(texts)
}

impl Engine {
    fn check_model(&self, name: &str) -> Result<(), RuntimeError> {
        if name == self.name {
            Ok(())
        } else {
            Err(RuntimeError::ModelMissing(name.to_owned()))
        }
    }

    fn embed(&self, texts: Vec<String>, cancel: &CancellationToken) -> Result<Embeddings, RuntimeError> {
        let broken = |error: candle_core::Error| {
            tracing::error!(%error, "the embedded engine failed");
            RuntimeError::Failed("the model could not be computed".to_owned())
        };
        let tokens = self.tokens(texts, cancel)?;
        let mut vectors = vec![Vec::new(); tokens.len()];
        for batch in batches(&tokens) {
            if cancel.is_cancelled() {
                return Err(stopped());
            }
            let rows: Vec<&[u32]> = batch.iter().map(|index| tokens[*index].as_slice()).collect();
            let computed = self.compute(&rows).map_err(broken)?;
            for (index, vector) in batch.into_iter().zip(computed) {
                vectors[index] = vector;
            }
        }
        Ok(Embeddings {
            vectors,
            prompt_tokens: tokens.iter().map(|tokens| tokens.len() as u64).sum(),
        })
    }

    fn tokens(&self, texts: Vec<String>, cancel: &CancellationToken) -> Result<Vec<Vec<u32>>, RuntimeError> {
        let mut all = Vec::with_capacity(texts.len());
        for (index, text) in texts.into_iter().enumerate() {
            if cancel.is_cancelled() {
                return Err(stopped());
            }
            let encoding = self
                .tokenizer
                .encode_fast(text, true)
                .map_err(|_| RuntimeError::Failed("a text can't be cut into tokens".to_owned()))?;
            let tokens = encoding.get_ids().to_vec();
            if tokens.len() > self.context {
                let (length, context) = (tokens.len(), self.context);
                return Err(RuntimeError::ContextLengthExceeded(format!(
                    "input[{index}] has {length} tokens, this model reads {context}"
                )));
            }
            all.push(tokens);
        }
        Ok(all)
    }

    /// The numbers of these texts, shorter ones filled up.
    fn compute(&self, rows: &[&[u32]]) -> candle_core::Result<Vec<Vec<f32>>> {
        let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let shape = (rows.len(), longest);
        let filled = |row: &&[u32], with: u32, own: Option<u32>| {
            let own: Vec<u32> = row.iter().map(|token| own.unwrap_or(*token)).collect();
            own.into_iter()
                .chain(std::iter::repeat(with))
                .take(longest)
                .collect::<Vec<_>>()
        };
        let tokens: Vec<u32> = rows.iter().flat_map(|row| filled(row, self.padding, None)).collect();
        let mask: Vec<u32> = rows.iter().flat_map(|row| filled(row, 0, Some(1))).collect();
        let tokens = Tensor::from_vec(tokens, shape, &Device::Cpu)?;
        let mask = Tensor::from_vec(mask, shape, &Device::Cpu)?;
        let hidden = self.model.forward(&tokens, &tokens.zeros_like()?, Some(&mask))?;
        let weights = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
        let sum = hidden.broadcast_mul(&weights)?.sum(1)?;
        let mean = sum.broadcast_div(&weights.sum(1)?)?;
        let length = mean.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
        mean.broadcast_div(&length)?.to_vec2()
    }
}

/// Which texts are computed together: those of about one length, so that little is filled up.
fn batches(tokens: &[Vec<u32>]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|index| tokens[*index].len());
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for index in order {
        // The texts come by rising length: the newest is the longest.
        let fits = |batch: &&mut Vec<usize>| {
            batch.len() < BATCH_TEXTS && (batch.len() + 1) * tokens[index].len() <= BATCH_TOKENS
        };
        match batches.last_mut().filter(fits) {
            Some(batch) => batch.push(index),
            None => batches.push(vec![index]),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_is_in_one_batch_and_none_is_too_large(lengths in prop::collection::vec(1usize..600, 0..200)) {
            let tokens: Vec<_> = lengths.iter().map(|length| vec![0; *length]).collect();
            let batches = batches(&tokens);
            for batch in &batches {
                let longest = batch.iter().map(|index| lengths[*index]).max().unwrap();
                prop_assert!(batch.len() == 1 || batch.len() * longest <= BATCH_TOKENS);
                prop_assert!(batch.len() <= BATCH_TEXTS);
            }
            let mut all = batches.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_it_can_not_do_is_refused_by_name() {
        let request = |input: Prompt| EmbeddingRequest::new("m", input);
        for (request, field) in [
            (request("a".into()).dimensions(5), "dimensions"),
            (request(Prompt::Tokens(vec![1])), "input"),
            (request(Prompt::Texts(Vec::new())), "input"),
        ] {
            let error = texts(request).unwrap_err();
            assert!(
                matches!(&error, RuntimeError::InvalidRequest { param: Some(param), .. } if param == field),
                "{error}"
            );
        }
        let mut truncated = request("a".into());
        truncated.extra.insert("truncate_prompt_tokens".into(), 5.into());
        assert!(
            texts(truncated)
                .unwrap_err()
                .to_string()
                .contains("truncate_prompt_tokens:")
        );
    }
}
