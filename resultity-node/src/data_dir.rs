//! Where a node keeps its files.

use std::path::PathBuf;

use resultity_core::PROJECT;

/// Where a node keeps its files unless it is told: `node` in the platform's data folder.
pub fn default_data_dir() -> PathBuf {
    let (qualifier, organisation, application) = PROJECT;
    directories::ProjectDirs::from(qualifier, organisation, application)
        .map_or_else(|| PathBuf::from("."), |dirs| dirs.data_dir().to_owned())
        .join("node")
}
