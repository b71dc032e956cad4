#![doc = include_str!("../README.md")]

pub mod assemble;
pub mod bus;
pub mod command;
pub mod config;
#[cfg(feature = "dev")]
pub mod dev;
pub mod flow;
pub mod http;
mod json;
pub mod lifecycle;
pub mod link;
pub mod mail;
pub mod network_key;
mod private_file;
pub mod publish;
pub mod seal;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod tenant;
pub mod trust;
pub mod web;
pub mod webhook;
