//! Tests of the store: on a real file, with a clock that moves when it is told to.

mod expiry;
mod faults;
mod jobs;
mod model;
mod opening;
mod registered;
mod restart;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use resultity_core::clock::{ManualClock, Timestamp};
use resultity_core::infernet::{ContainerResult, JobId, JobRequest, JobStatus, StatusUpdate};
use serde_json::value::RawValue;

use super::{NewJob, Recorded, Store, StoreError, Unfinished};
use crate::infernet::config::settings::{OnRestart, ResultSettings};
use crate::infernet::ended::Ended;

/// A directory for a store that is gone at the end, and a clock.
struct Place {
    directory: tempfile::TempDir,
    settings: ResultSettings,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            settings: ResultSettings::new(directory.path().join("results.sqlite")),
            clock: Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000))),
            directory,
        }
    }

    fn rerun(mut self) -> Self {
        self.settings.on_restart = OnRestart::Rerun;
        self
    }

    fn try_open(&self) -> Result<(Store, Vec<Unfinished>), StoreError> {
        Store::open(&self.settings, self.clock.clone())
    }

    fn open(&self) -> Store {
        self.try_open().unwrap().0
    }

    fn beside(&self, end: &str) -> PathBuf {
        let mut path = self.settings.path.clone().into_os_string();
        path.push(end);
        path.into()
    }
}

fn owner(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

fn job(id: &str, owner: IpAddr) -> NewJob {
    NewJob {
        id: id.into(),
        owner,
        request: request(r#"{"n":123456789012345678901234567890.50}"#),
        is_stream: false,
    }
}

fn request(data: &str) -> JobRequest {
    let text = format!(r#"{{"containers":["first","last"],"data":{data}}}"#);
    serde_json::from_str(&text).unwrap()
}

fn output(container: &str, json: &str) -> ContainerResult {
    ContainerResult::output(container, RawValue::from_string(json.to_owned()).unwrap())
}

fn success(json: &str) -> Ended {
    Ended::new(JobStatus::Success, vec![output("last", json)])
}

fn update(id: &str, status: JobStatus) -> StatusUpdate {
    StatusUpdate {
        id: id.into(),
        status,
        containers: vec!["any".to_owned()],
    }
}

/// What is there of these ids, as it goes over the wire.
async fn shown(store: &Store, owner: IpAddr, ids: &[&str]) -> String {
    let ids = ids.iter().copied().map(JobId::from).collect::<Vec<_>>();
    serde_json::to_string(&store.results(owner, &ids, false).await.unwrap()).unwrap()
}

/// The ids of a list, joined.
async fn listed(store: &Store, owner: IpAddr, pending: Option<bool>) -> String {
    let ids = store.ids(owner, pending).await.unwrap();
    ids.iter().map(JobId::as_str).collect::<Vec<_>>().join(" ")
}

/// Waits until it is so; what is waited for happens on the writer's own time.
async fn until(condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_mins(2), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("it happens within half a minute");
}
