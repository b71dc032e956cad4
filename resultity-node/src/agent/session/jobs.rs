//! Jobs: taken or declined, stopped, forgotten.

use resultity_core::clock::Timestamp;
use resultity_core::model::ModelState;
use resultity_core::wire::{Accept, Cancel, Decline, DeclineCode, Job};

use super::{Running, Session};
use crate::agent::JobKey;
use crate::agent::event::{Output, Stop};
use crate::agent::journal::Record;

impl Session {
    pub(super) fn forget(&mut self, key: JobKey, out: &mut Vec<Output>) {
        if let Some(job) = self.running.get_mut(&key) {
            // It stays in `running` until its task says that it is gone: it still takes a slot.
            job.is_forgotten = true;
            out.push(Output::Stop(key, Stop::Drop));
        }
        self.finished.remove(&key);
        self.interrupted.remove(&key);
        out.push(Output::Record(Record::Forgotten(key)));
    }

    pub(super) fn job(&mut self, job: Job, now: Timestamp, out: &mut Vec<Output>) {
        let key = (job.job_id, job.attempt);
        if self.running.contains_key(&key) || self.finished.contains_key(&key) {
            return;
        }
        let (job_id, attempt, lease_token) = (job.job_id, job.attempt, job.lease_token);
        let code = if self.slots() == 0 {
            Some(DeclineCode::Draining)
        } else if self.running() >= self.about.slots {
            Some(DeclineCode::Busy)
        } else if !self.serves(&job) {
            Some(DeclineCode::ModelMissing)
        } else if !job.body.get().starts_with('{') {
            // The executor reads the rest of it: a long body would hold up the link.
            Some(DeclineCode::InvalidRequest)
        } else {
            None
        };
        match (code, self.domain.clone()) {
            (None, Some(domain)) => {
                self.running.insert(
                    key,
                    Running {
                        lease_token,
                        since: now,
                        chunks: Vec::new(),
                        is_forgotten: false,
                    },
                );
                out.push(Output::Record(Record::Started(key, lease_token)));
                out.push(Output::Send(
                    Accept {
                        job_id,
                        attempt,
                        lease_token,
                    }
                    .into(),
                ));
                out.push(Output::Start(job, domain));
            }
            (code, _) => {
                let code = code.unwrap_or(DeclineCode::Busy);
                out.push(Output::Send(
                    Decline {
                        job_id,
                        attempt,
                        lease_token,
                        code,
                    }
                    .into(),
                ));
            }
        }
    }

    fn serves(&self, job: &Job) -> bool {
        self.offer.models.iter().any(|model| {
            model.id == job.model
                && model.state == ModelState::Active
                && (job.model_digest.is_none() || model.digest.is_none() || job.model_digest == model.digest)
        })
    }

    pub(super) fn acknowledged(&mut self, key: JobKey, out: &mut Vec<Output>) {
        // An attempt that still runs is acknowledged when the server gave it up.
        if self.running.contains_key(&key) || self.finished.contains_key(&key) {
            self.forget(key, out);
        }
    }

    pub(super) fn cancelled(&mut self, cancel: &Cancel, out: &mut Vec<Output>) {
        let key = (cancel.job_id, cancel.attempt);
        // If it has finished by now, its result is on the way.
        if self.running.contains_key(&key) {
            out.push(Output::Stop(key, Stop::Cancel));
        }
    }
}
