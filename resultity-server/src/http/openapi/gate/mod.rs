//! The operations of the Gate API. One file a resource, as its handlers.

use super::operation::Operation;

mod account;
mod admin_nodes;
mod administration;
mod configuration;
mod credits;
mod grant;
mod keys;
mod logins;
mod namespaces;
mod nodes;
mod notifications;
mod plans;
mod second_factor;
mod sign_in;
mod subclouds;
mod tokens;
mod wallets;

pub(super) fn operations() -> Vec<Operation> {
    let parts = [
        plans::operations,
        notifications::operations,
        administration::operations,
        account::operations,
        configuration::operations,
        admin_nodes::operations,
        credits::operations,
        grant::operations,
        nodes::operations,
        keys::operations,
        logins::operations,
        namespaces::operations,
        second_factor::operations,
        sign_in::operations,
        subclouds::operations,
        tokens::operations,
        wallets::operations,
    ];
    parts.into_iter().flat_map(|part| part()).collect()
}
