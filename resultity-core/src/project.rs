//! What names this project to an operating system.

/// Qualifier, organisation and application, in the order that `directories::ProjectDirs::from` takes them. Server, node
/// and command line all find the platform's data folder (`ProjectDirs::data_dir`) with it, so they find each other's
/// files there.
pub const PROJECT: (&str, &str, &str) = ("com", "Resultity", "resultity");

/// The file in the data folder that tells how to reach a running `resultity-server dev`.
pub const DEV_FILE: &str = "dev.json";
