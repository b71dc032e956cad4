#![doc = include_str!("../README.md")]

pub mod agent;
pub mod config;
pub mod data_dir;
pub mod hardware;
mod http_client;
pub mod identity;
#[cfg(feature = "infernet")]
pub mod infernet;
pub mod models;
pub mod network_url;
pub mod runtime;
pub mod standing;
