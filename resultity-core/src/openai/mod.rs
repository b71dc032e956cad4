//! OpenAI's wire types. Fields that we do not know are kept and go on untouched.

pub mod chat;
pub mod error;
pub mod model;
