//! Jobs that a container ran by itself and registers.

use serde_json::json;

use super::{ECHO, SLOW, Setting, create, ended, job, request, run, scenarios, succeeded};
use crate::api::node::NodeApi;
use crate::infernet::{JobId, JobStatus, NodeErrorKind, StatusUpdate};

scenarios! {
    "status":
    a_registered_job_is_a_job
    a_job_of_the_node_stays_as_it_is
}

async fn set<A: NodeApi + ?Sized>(api: &A, id: &JobId, status: JobStatus) -> Result<(), NodeErrorKind> {
    let update = StatusUpdate {
        id: id.clone(),
        status,
        containers: vec![ECHO.to_owned()],
    };
    api.set_status(update).await.map_err(|error| error.kind())
}

/// It is found and listed like others, without results. Panics if not.
pub async fn a_registered_job_is_a_job<A: NodeApi + ?Sized>(api: &A, _: &Setting<'_>) {
    for (name, last) in [("job 1/a&b", JobStatus::Success), ("job:2", JobStatus::Failed)] {
        let id = JobId::new(name);
        for (status, pending) in [(JobStatus::Running, true), (last, false)] {
            assert_eq!(set(api, &id, status).await, Ok(()));
            let known = job(api, &id).await;
            assert_eq!(known.status, status);
            assert!(known.result.is_none(), "{known:?}");
            assert_eq!(known.intermediate_results.as_ref().map(Vec::len), Some(0), "{known:?}");
            for asked in [true, false] {
                let ids = api.job_ids(Some(asked)).await.expect("ids can be asked for");
                assert_eq!(ids.contains(&id), asked == pending, "{name} {status}");
            }
        }
    }
    let id = JobId::new("job 3");
    assert_eq!(
        set(api, &id, JobStatus::Success).await,
        Ok(()),
        "it may have ended at once"
    );
    assert_eq!(job(api, &id).await.status, JobStatus::Success);
}

/// What the node ran itself is final: nobody overwrites its status or its result. Panics if somebody can.
pub async fn a_job_of_the_node_stays_as_it_is<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let done = run(api, setting, request(&[ECHO], json!({"n": 1}))).await;
    let slow = create(api, request(&[SLOW], json!({"gate": "a status"}))).await;
    for id in [&done.id, &slow] {
        for status in JobStatus::ALL {
            assert_eq!(set(api, id, status).await, Err(NodeErrorKind::Invalid), "{id} {status}");
        }
    }
    let after = job(api, &done.id).await;
    assert_eq!(succeeded(&after), succeeded(&done));
    assert_eq!(job(api, &slow).await.status, JobStatus::Running);
    (setting.open)("a status").await;
    let ended = ended(api, setting, &slow).await;
    assert_eq!(succeeded(&ended), (SLOW, json!({"gate": "a status"})));
}
