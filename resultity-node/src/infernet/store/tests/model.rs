//! Any sequence of operations, against a model of a few lines.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::REGISTERED_FOR;
use super::*;

#[derive(Debug, Clone)]
enum Step {
    Accept(u8, u8),
    Finish(u8, u8, bool),
    Record(u8, u8, JobStatus),
    Advance(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop::sample::select(JobStatus::ALL.to_vec());
    prop_oneof![
        4 => (0..6_u8, 0..2_u8).prop_map(|(id, owner)| Step::Accept(id, owner)),
        4 => (0..6_u8, 0..2_u8, any::<bool>()).prop_map(|(id, owner, good)| Step::Finish(id, owner, good)),
        4 => (0..6_u8, 0..2_u8, status).prop_map(|(id, owner, status)| Step::Record(id, owner, status)),
        1 => (1..20_u64).prop_map(Step::Advance),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Debug, Clone)]
struct Known {
    own: bool,
    status: JobStatus,
    result: Option<String>,
    expires_at: Option<u64>,
}

/// Jobs by owner and id; minutes that have gone by.
#[derive(Default)]
struct Model {
    jobs: BTreeMap<(u8, u8), Known>,
    now: u64,
}

impl Model {
    fn is_own(&self, id: u8) -> bool {
        self.jobs.iter().any(|((_, other), known)| *other == id && known.own)
    }

    fn accept(&mut self, id: u8, owner: u8) -> bool {
        if self.is_own(id) {
            return false;
        }
        let known = Known {
            own: true,
            status: JobStatus::Running,
            result: None,
            expires_at: None,
        };
        self.jobs.insert((owner, id), known);
        true
    }

    fn end(&mut self, id: u8, owner: u8, status: JobStatus, result: &str) {
        if let Some(known) = self.jobs.get_mut(&(owner, id))
            && known.own
            && known.status == JobStatus::Running
        {
            known.status = status;
            known.result = Some(result.to_owned());
        }
    }

    fn record(&mut self, id: u8, owner: u8, status: JobStatus) -> Recorded {
        if self.is_own(id) {
            return Recorded::OwnJob;
        }
        let running = status == JobStatus::Running;
        let known = Known {
            own: false,
            status,
            result: None,
            expires_at: running.then(|| self.now + REGISTERED_FOR.as_secs() / 60),
        };
        self.jobs.insert((owner, id), known);
        Recorded::Stored
    }

    fn advance(&mut self, minutes: u64) {
        self.now += minutes;
        let now = self.now;
        self.jobs.retain(|_, known| known.expires_at.is_none_or(|at| at > now));
    }

    fn interrupt(&mut self) {
        for known in self
            .jobs
            .values_mut()
            .filter(|known| known.own && known.status == JobStatus::Running)
        {
            known.status = JobStatus::Failed;
            known.result = Some(r#"{"container":"first","error":"interrupted"}"#.to_owned());
        }
    }

    fn shown(&self, owner: u8) -> Vec<String> {
        let mine = self.jobs.iter().filter(|((of, _), _)| *of == owner);
        mine.map(|((_, id), known)| {
            let result = known.result.as_deref().unwrap_or("null");
            format!(r#"{{"id":"{id}","status":"{}","result":{result}}}"#, known.status)
        })
        .collect()
    }
}

async fn compare(steps: Vec<Step>) {
    let place = Place::new();
    let mut store = place.open();
    let mut model = Model::default();
    let mut registered = BTreeSet::new();
    for step in steps {
        match step.clone() {
            Step::Accept(id, by) => {
                // The node's ids are random: it gives none that a container has used.
                if registered.contains(&id) {
                    continue;
                }
                let accepted = store.accept(vec![job(&id.to_string(), owner(by))]).await;
                assert_eq!(accepted.is_ok(), model.accept(id, by), "{step:?}");
            }
            Step::Finish(id, by, good) => {
                let (ended, status, result) = if good {
                    (success("1"), JobStatus::Success, r#"{"container":"last","output":1}"#)
                } else {
                    let ended = Ended::new(JobStatus::Failed, vec![ContainerResult::error("last", "no")]);
                    (ended, JobStatus::Failed, r#"{"container":"last","error":"no"}"#)
                };
                store
                    .finish(&id.to_string().as_str().into(), owner(by), ended)
                    .await
                    .unwrap();
                model.end(id, by, status, result);
            }
            Step::Record(id, by, status) => {
                let recorded = store.record(owner(by), &update(&id.to_string(), status)).await.unwrap();
                assert_eq!(recorded, model.record(id, by, status), "{step:?}");
                if recorded == Recorded::Stored {
                    registered.insert(id);
                }
            }
            Step::Advance(minutes) => {
                place.clock.advance(Duration::from_mins(minutes));
                model.advance(minutes);
            }
            Step::Reopen => {
                drop(store);
                store = place.open();
                model.interrupt();
            }
        }
        for by in 0..2 {
            let ids = (0..6_u8).map(|id| JobId::new(id.to_string())).collect::<Vec<_>>();
            let results = store.results(owner(by), &ids, false).await.unwrap();
            let results = results.iter().map(|result| serde_json::to_string(result).unwrap());
            assert_eq!(results.collect::<Vec<_>>(), model.shown(by), "{step:?}");
            let mut listed = store.ids(owner(by), None).await.unwrap();
            listed.sort();
            let mine = model.jobs.keys().filter(|(of, _)| *of == by);
            assert_eq!(
                listed,
                mine.map(|(_, id)| JobId::new(id.to_string())).collect::<Vec<_>>()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_store_does_what_the_model_does(steps in vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare(steps));
    }
}
