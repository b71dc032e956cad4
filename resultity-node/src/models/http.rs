//! Files by HTTP, with ranges.

use std::path::Path;

use futures::StreamExt as _;
use reqwest::{Client, Response, StatusCode, header};
use resultity_core::model::ModelFile;
use tokio::io::AsyncWriteExt as _;
use url::Url;

use super::error::FetchError;
use super::progress::Progress;

/// Brings `part` up to the file's full size. What is in `part` already is kept, where the source can go on from there.
pub(super) async fn download(
    client: &Client,
    url: &Url,
    file: &ModelFile,
    part: &Path,
    progress: &dyn Progress,
) -> Result<(), FetchError> {
    let io = |error| FetchError::io(part, file.size, error);
    let host = url.host_str().unwrap_or("the source").to_owned();
    let have = match tokio::fs::metadata(part).await {
        Ok(metadata) if metadata.len() > file.size => 0,
        Ok(metadata) if metadata.len() == file.size => return Ok(()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    let response = ask(client, url, have, &host).await?;
    let append = response.status() == StatusCode::PARTIAL_CONTENT && starts_at(&response, have);
    let mut at = if append { have } else { 0 };
    let mut target = tokio::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .append(append)
        .truncate(!append)
        .open(part)
        .await
        .map_err(io)?;
    let mut body = response.bytes_stream();
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|error| network(&host, &error))?;
        at = at.saturating_add(bytes.len() as u64);
        target.write_all(&bytes).await.map_err(io)?;
        progress.at(at);
        if at > file.size {
            // It is not our file, whatever it is; the check that follows says so.
            break;
        }
    }
    target.sync_all().await.map_err(io)?;
    if at < file.size {
        return Err(FetchError::Network {
            host,
            reason: format!("{at} of {} bytes came", file.size),
        });
    }
    Ok(())
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
