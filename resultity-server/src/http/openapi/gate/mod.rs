//! The operations of the Gate API. One file a resource, as its handlers.

use super::operation::Operation;

mod grant;
mod second_factor;
mod wallets;

pub(super) fn operations() -> Vec<Operation> {
    let parts = [grant::operations, second_factor::operations, wallets::operations];
    parts.into_iter().flat_map(|part| part()).collect()
}
