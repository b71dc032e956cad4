//! OpenAI's wire types. Fields that we do not know are kept and go on untouched.

pub mod batch;
pub mod chat;
pub mod completion;
pub mod embedding;
pub mod error;
pub mod file;
pub mod model;
pub mod response;
