//! Comparing an answer with what the model says, on other hardware and maybe another engine: never by its exact text.

mod density;
pub mod embeddings;
pub mod logprobs;
pub mod text;
