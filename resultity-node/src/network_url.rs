//! The address of the network that a node used last, for commands that don't name it.

use std::path::Path;

use crate::identity::{Durable, replace_private};

const URL_FILE: &str = "network-url";

/// Keeps the address of the network, for commands that don't name it. If it can't be kept, they have to.
pub(crate) fn remember_url(environment_dir: &Path, url: &str) {
    if stored_url(environment_dir).as_deref() == Some(url) {
        return;
    }
    let path = environment_dir.join(URL_FILE);
    if let Err(error) = replace_private(&path, url.as_bytes(), Durable::No) {
        tracing::debug!(%error, path = %path.display(), "the network's address is not kept");
    }
}

/// The address of the network that this node used last in an environment.
pub fn stored_url(environment_dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(environment_dir.join(URL_FILE)).ok()?;
    Some(text.trim().to_owned()).filter(|url| !url.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_kept_for_each_environment() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(stored_url(dir.path()), None);
        remember_url(dir.path(), "ws://127.0.0.1:1/io/v1/ws");
        remember_url(dir.path(), "ws://127.0.0.1:2/io/v1/ws");
        assert_eq!(stored_url(dir.path()).as_deref(), Some("ws://127.0.0.1:2/io/v1/ws"));
    }
}
