//! Where a file of a model lies in the cache: under the beginning of its checksum and its name, so that models, versions and
//! networks that call different files the same never write over each other's.
//!
//! Earlier nodes kept files under their plain names. One that lies there and is the right one is used where it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use resultity_core::model::{ModelFile, ModelSpec};

use super::verify;

/// How much of the checksum is in the name. The whole of it is checked.
const DIGITS: usize = 16;

/// What the file is called in the cache.
pub(crate) fn name(file: &ModelFile) -> String {
    named(&file.name, &file.sha256)
}

/// What a file that lies under this name, and has this checksum, is called today.
pub(super) fn name_today(name: &str, sha256: &str) -> String {
    let is_today = name
        .strip_prefix(digits(sha256))
        .is_some_and(|rest| rest.starts_with('-'));
    if is_today { name.to_owned() } else { named(name, sha256) }
}

fn named(name: &str, sha256: &str) -> String {
    format!("{}-{name}", digits(sha256))
}

fn digits(sha256: &str) -> &str {
    sha256.get(..DIGITS).unwrap_or(sha256)
}

/// Where it is put.
pub(super) fn path(dir: &Path, file: &ModelFile) -> PathBuf {
    dir.join(name(file))
}

/// Where it may lie, best first.
pub(crate) fn places(dir: &Path, file: &ModelFile) -> [PathBuf; 2] {
    [path(dir, file), dir.join(&file.name)]
}

/// Whether a path would be one of those.
pub(super) fn is_of(path: &Path, file: &ModelFile) -> bool {
    path.file_name()
        .is_some_and(|found| found == file.name.as_str() || found == name(file).as_str())
}

/// Where it lies, if it is there and is the right one. Hashes what has changed since it was last found right.
pub(super) fn find(dir: &Path, file: &ModelFile) -> io::Result<Option<PathBuf>> {
    let [ours, plain] = places(dir, file);
    if verify::is_present(&ours, file)? {
        return Ok(Some(ours));
    }
    // Whatever lies there may be anybody's: one that can't be read is none of ours.
    Ok(verify::is_present(&plain, file).unwrap_or(false).then_some(plain))
}

/// Where it seems to lie, as far as that can be said without reading it.
pub(crate) fn seen(dir: &Path, file: &ModelFile) -> Option<PathBuf> {
    places(dir, file).into_iter().find(|path| {
        let has_size = fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == file.size);
        has_size && verify::known(path).is_none_or(|known| known == file.sha256)
    })
}

/// The files of a model that are not there, or are damaged.
pub(crate) async fn missing(model: &ModelSpec, dir: &Path) -> io::Result<Vec<ModelFile>> {
    let (files, dir) = (model.files.clone(), dir.to_owned());
    let look = move || {
        let mut missing = Vec::new();
        for file in files {
            if find(&dir, &file)?.is_none() {
                missing.push(file);
            }
        }
        Ok(missing)
    };
    tokio::task::spawn_blocking(look).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    fn file(content: &str) -> ModelFile {
        ModelFile {
            name: "model.gguf".to_owned(),
            sha256: hex::encode(Sha256::digest(content)),
            size: content.len() as u64,
            sources: Vec::new(),
        }
    }

    #[test]
    fn files_of_one_name_lie_apart_and_an_old_one_is_found_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (file("one"), file("two"));
        assert_ne!(name(&one), name(&other));
        assert_eq!(name_today(&name(&one), &one.sha256), name(&one));
        assert_eq!(name_today("model.gguf", &one.sha256), name(&one));
        let plain = dir.path().join("model.gguf");
        fs::write(&plain, "one").unwrap();
        assert_eq!(seen(dir.path(), &other), Some(plain.clone()), "nobody has read it yet");
        assert_eq!(find(dir.path(), &one).unwrap(), Some(plain.clone()));
        assert_eq!(find(dir.path(), &other).unwrap(), None);
        assert_eq!((seen(dir.path(), &one), seen(dir.path(), &other)), (Some(plain), None));
        fs::write(path(dir.path(), &one), "one").unwrap();
        assert_eq!(find(dir.path(), &one).unwrap(), Some(path(dir.path(), &one)));
    }

    #[test]
    fn a_folder_of_that_name_is_not_the_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("model.gguf")).unwrap();
        assert_eq!(find(dir.path(), &file("one")).unwrap(), None);
    }
}
