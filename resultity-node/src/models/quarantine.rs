//! What came and is not what was asked for: kept apart, so that its operator can see what a source gives out, and never used.

use std::io;
use std::path::{Path, PathBuf};

use resultity_core::model::ModelFile;
use serde::Serialize;

use super::place as places;
use super::verify::{beside, sha256};

/// The folder beside the files.
const FOLDER: &str = "quarantine";

/// Why a file is there.
#[derive(Serialize)]
struct Reason<'a> {
    file: &'a str,
    source: &'a str,
    expected_sha256: &'a str,
    expected_size: u64,
    found_sha256: Option<String>,
    found_size: u64,
}

/// Where it would be of this file.
pub(super) fn place(path: &Path) -> PathBuf {
    let folder = path.parent().unwrap_or(path).join(FOLDER);
    folder.join(path.file_name().unwrap_or_default())
}

/// Moves what came into quarantine, with the reason. Of each name the last one is kept.
pub(super) async fn put_aside(part: &Path, file: &ModelFile, source: &str) -> io::Result<PathBuf> {
    let (part, file, source) = (part.to_owned(), file.clone(), source.to_owned());
    let put = move || {
        let aside = place(&part.with_file_name(places::name(&file)));
        if let Some(folder) = aside.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let reason = Reason {
            file: &file.name,
            source: &source,
            expected_sha256: &file.sha256,
            expected_size: file.size,
            found_sha256: sha256(&part).ok(),
            found_size: std::fs::metadata(&part)?.len(),
        };
        let reason = serde_json::to_vec_pretty(&reason).map_err(io::Error::other)?;
        std::fs::rename(&part, &aside)?;
        std::fs::write(beside(&aside, "json"), reason)?;
        Ok(aside)
    };
    tokio::task::spawn_blocking(put).await.map_err(io::Error::other)?
}
