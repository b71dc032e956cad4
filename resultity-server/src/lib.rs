#![doc = include_str!("../README.md")]

pub mod bus;
pub mod flow;
pub mod http;
pub mod link;
pub mod session;
pub mod store;
