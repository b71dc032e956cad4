//! The driver: asks for jobs and for their results, and checks what comes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::CONNECTIONS;
use crate::error::LoadError;
use crate::http::{self, Connection};

/// How fast jobs are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// The next one when the last one was accepted.
    AsFastAsItGoes,
    /// So many a second over all connections, whatever the node does meanwhile.
    PerSecond(u32),
}

/// What came of a phase.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The jobs that were accepted, with the number in their input.
    pub(super) ids: Vec<(String, usize)>,
    /// From asking to the answer; where there is a schedule, from when it was due.
    pub(super) latencies: Vec<Duration>,
    pub(super) window: Duration,
}

#[derive(Deserialize)]
struct Accepted {
    id: String,
}

/// Asks for jobs for this long.
pub(super) async fn jobs(address: SocketAddr, window: Duration, pace: Pace) -> Result<Asked, LoadError> {
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    on_all_connections(move |worker| {
        let next = Arc::clone(&next);
        async move {
            let mut asked = Asked::default();
            let mut connection = open(address).await?;
            let mut body = Vec::new();
            let mut turn = 0u32;
            loop {
                let due = match pace {
                    Pace::AsFastAsItGoes => Instant::now(),
                    Pace::PerSecond(rate) => {
                        let place = f64::from(turn) + worker as f64 / CONNECTIONS as f64;
                        began + Duration::from_secs_f64(place * CONNECTIONS as f64 / f64::from(rate))
                    }
                };
                if due.duration_since(began) >= window {
                    return Ok(asked);
                }
                turn += 1;
                let mut since = due;
                if due > Instant::now() {
                    tokio::time::sleep_until(due.into()).await;
                    // That the timer is late by up to a millisecond is not the node's fault; that the answer before was, is.
                    since = Instant::now();
                }
                let number = next.fetch_add(1, Ordering::Relaxed);
                let job = format!(
                    "{{\"containers\":[\"echo-{}\"],\"data\":{{\"number\":{number}}}}}",
                    number % 20
                );
                let request = http::request("127.0.0.1", "/api/jobs", "", Some(&job));
                let status = connection.send(&request).await.map_err(wrong)?;
                body.clear();
                connection.read_all(&mut body).await.map_err(wrong)?;
                asked.latencies.push(since.elapsed());
                let accepted = (status == 200)
                    .then(|| serde_json::from_slice::<Accepted>(&body).ok())
                    .flatten();
                let Some(Accepted { id }) = accepted else {
                    let text = String::from_utf8_lossy(&body);
                    return Err(LoadError::Wrong(format!("a job was answered with {status}: {text}")));
                };
                asked.ids.push((id, number));
            }
        }
    })
    .await
    .map(|mut asked| {
        asked.window = began.elapsed();
        asked
    })
}

/// Fetches the results of all these jobs, one each `GET`, and again from the start until the time is over.
pub(super) async fn results(
    address: SocketAddr,
    ids: &[(String, usize)],
    window: Duration,
) -> Result<Asked, LoadError> {
    let ids: Arc<[(String, usize)]> = ids.into();
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    on_all_connections(move |_| {
        let (ids, next) = (Arc::clone(&ids), Arc::clone(&next));
        async move {
            let mut asked = Asked::default();
            let mut connection = open(address).await?;
            let mut body = Vec::new();
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                if ids.is_empty() || (turn >= ids.len() && began.elapsed() >= window) {
                    return Ok(asked);
                }
                let (id, number) = &ids[turn % ids.len()];
                let request = http::request("127.0.0.1", &format!("/api/jobs?id={id}"), "", None);
                let sent = Instant::now();
                let status = connection.send(&request).await.map_err(wrong)?;
                body.clear();
                connection.read_all(&mut body).await.map_err(wrong)?;
                asked.latencies.push(sent.elapsed());
                let text = String::from_utf8_lossy(&body);
                let is_right = status == 200
                    && text.contains("\"status\":\"success\"")
                    && text.contains(&format!("\"number\":{number}}}"))
                    && text.contains(id.as_str());
                if !is_right {
                    return Err(LoadError::Wrong(format!("job {id} has the result {text}")));
                }
            }
        }
    })
    .await
    .map(|mut asked| {
        asked.window = began.elapsed();
        asked
    })
}

/// Runs one worker for each connection, on one thread, and adds up what they have.
async fn on_all_connections<F, W>(work: F) -> Result<Asked, LoadError>
where
    F: Fn(usize) -> W + Send + 'static,
    W: Future<Output = Result<Asked, LoadError>> + 'static,
{
    let thread = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(LoadError::io("starting the driver"))?;
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let workers: Vec<_> = (0..CONNECTIONS)
                .map(|worker| tokio::task::spawn_local(work(worker)))
                .collect();
            let mut all = Asked::default();
            for worker in workers {
                let asked = worker.await.map_err(|error| LoadError::Wrong(error.to_string()))??;
                all.ids.extend(asked.ids);
                all.latencies.extend(asked.latencies);
            }
            Ok(all)
        })
    });
    thread.await.map_err(|error| LoadError::Wrong(error.to_string()))?
}

async fn open(address: SocketAddr) -> Result<Connection, LoadError> {
    Connection::open(address).await.map_err(wrong)
}

fn wrong(error: http::HttpError) -> LoadError {
    LoadError::Wrong(error.to_string())
}
