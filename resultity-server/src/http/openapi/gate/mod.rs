//! The operations of the Gate API. One file a resource, as its handlers.

use super::operation::Operation;

mod plans;
mod notifications;
mod administration;
mod account;
mod configuration;
mod admin_nodes;
mod credits;
mod grant;
mod nodes;
mod keys;
mod logins;
mod namespaces;
mod second_factor;
mod sign_in;
mod subclouds;
mod tokens;
mod wallets;

pub(super) fn operations() -> Vec<Operation> {
    let parts = [plans::operations, notifications::operations, administration::operations, 
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
