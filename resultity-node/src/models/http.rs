//! Files by HTTP, with ranges.

use std::io;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::{Client, Response, StatusCode, header};
use resultity_core::model::ModelFile;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;
use url::Url;

use super::error::FetchError;
use super::progress::Progress;

/// The least that a source must send: one that only drips would hold up all that is to be fetched after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) every: Duration,
    /// Bytes in that time.
    pub(super) least: u64,
}

impl Default for Pace {
    /// A quarter of a megabyte a minute: a bad line has more, and then a large file takes days.
    fn default() -> Self {
        Self {
            every: Duration::from_mins(1),
            least: 256 << 10,
        }
    }
}

/// What came since when.
struct Watch {
    pace: Pace,
    since: Instant,
    bytes: u64,
}

impl Watch {
    fn new(pace: Pace, now: Instant) -> Self {
        Self {
            pace,
            since: now,
            bytes: 0,
        }
    }

    /// So many more came; whether that is enough so far.
    fn keeps_up(&mut self, bytes: u64, now: Instant) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        if now.duration_since(self.since) < self.pace.every {
            return true;
        }
        let is_enough = self.bytes >= self.pace.least;
        (self.since, self.bytes) = (now, 0);
        is_enough
    }
}

/// Where a file comes from.
pub(super) struct Source<'a> {
    pub(super) client: &'a Client,
    pub(super) url: &'a Url,
    pub(super) pace: Pace,
}

impl Source<'_> {
    /// Brings `part` up to the file's full size. What is in `part` already is kept, where the source can go on from there.
    pub(super) async fn download(
        &self,
        file: &ModelFile,
        part: &Path,
        progress: &dyn Progress,
    ) -> Result<(), FetchError> {
        let io = |error| FetchError::io(part, file.size, error);
        let host = self.url.host_str().unwrap_or("the source").to_owned();
        let have = match tokio::fs::metadata(part).await {
            Ok(metadata) if metadata.len() > file.size => 0,
            Ok(metadata) if metadata.len() == file.size => return Ok(()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        };
        let response = ask(self.client, self.url, have, &host).await?;
        let append = response.status() == StatusCode::PARTIAL_CONTENT && starts_at(&response, have);
        let have = if append { have } else { 0 };
        let mut target = tokio::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .append(append)
            .truncate(!append)
            .open(part)
            .await
            .map_err(io)?;
        let received = self
            .receive(response, &mut target, have, file.size, &host, progress)
            .await;
        // What was written last may have failed, or may still be on its way when the next source is asked.
        target.flush().await.map_err(io)?;
        let at = received.map_err(|stopped| match stopped {
            Stopped::Disk(error) => io(error),
            Stopped::Source(error) => error,
        })?;
        target.sync_all().await.map_err(io)?;
        if at < file.size {
            return Err(FetchError::Network {
                host,
                reason: format!("{at} of {} bytes came", file.size),
            });
        }
        Ok(())
    }

    /// Writes what comes; says how long the file is then.
    async fn receive(
        &self,
        response: Response,
        target: &mut File,
        have: u64,
        size: u64,
        host: &str,
        progress: &dyn Progress,
    ) -> Result<u64, Stopped> {
        let (mut body, mut at) = (response.bytes_stream(), have);
        let mut watch = Watch::new(self.pace, Instant::now());
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| Stopped::Source(network(host, &error)))?;
            let count = bytes.len() as u64;
            at = at.saturating_add(count);
            target.write_all(&bytes).await.map_err(Stopped::Disk)?;
            progress.at(at);
            if at > size {
                // It is not our file, whatever it is; the check that follows says so.
                break;
            }
            if at < size && !watch.keeps_up(count, Instant::now()) {
                return Err(Stopped::Source(FetchError::Network {
                    host: host.to_owned(),
                    reason: "it sends too slowly".to_owned(),
                }));
            }
        }
        Ok(at)
    }
}

/// Why nothing more is written.
enum Stopped {
    Disk(io::Error),
    Source(FetchError),
}

async fn ask(client: &Client, url: &Url, have: u64, host: &str) -> Result<Response, FetchError> {
    let get = |from: u64| {
        let mut request = client.get(url.clone());
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        request.send()
    };
    let mut response = get(have).await.map_err(|error| network(host, &error))?;
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        response = get(0).await.map_err(|error| network(host, &error))?;
    }
    if !response.status().is_success() {
        return Err(FetchError::Refused {
            host: host.to_owned(),
            status: response.status().as_u16(),
        });
    }
    Ok(response)
}

/// Whether a partial answer begins where we asked it to.
fn starts_at(response: &Response, have: u64) -> bool {
    let range = response
        .headers()
        .get(header::CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {have}-")))
}

fn network(host: &str, error: &reqwest::Error) -> FetchError {
    let reason = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection was cut"
    };
    FetchError::Network {
        host: host.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_weighed_again_and_again() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut watch = Watch::new(Pace::default(), begin);
        assert!(watch.keeps_up(1, at(59)), "nobody knows yet");
        assert!(watch.keeps_up(1 << 20, at(60)));
        // What came before helps no more.
        assert!(watch.keeps_up(1, at(80)) && watch.keeps_up(1, at(100)));
        assert!(!watch.keeps_up(1, at(120)));
    }
}
