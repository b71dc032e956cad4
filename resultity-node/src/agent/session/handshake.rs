//! The session's beginning: challenge, hello, welcome or reject, and what is taken up from the session before.

use std::time::Duration;

use resultity_core::Address;
use resultity_core::clock::Timestamp;
use resultity_core::id::SessionId;
use resultity_core::signing::Domain;
use resultity_core::wire::{Accept, Challenge, FailureCode, NodeFrame, Reject, Resume, Welcome};

use super::{Finished, INTERVALS, Live, Phase, Session};
use crate::agent::event::{GOING_AWAY, Output};
use crate::agent::journal::Record;
use crate::agent::signed::Reason;
use crate::agent::{JobKey, Refusal, Text, signed};
use crate::identity::NetworkPin;

/// How long to wait for the proof of a new key before the next link.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);

impl Session {
    pub(super) fn challenged(&mut self, challenge: &Challenge, now: Timestamp, out: &mut Vec<Output>) {
        if challenge.environment != self.about.environment {
            let wanted = self.about.environment;
            return self.end(
                Err(Refusal::Environment {
                    wanted,
                    offered: challenge.environment,
                }),
                out,
            );
        }
        if let Some(pinned) = self.about.genesis.filter(|pinned| *pinned != challenge.genesis) {
            let offered = challenge.genesis;
            return self.end(Err(Refusal::Network { pinned, offered }), out);
        }
        if let Some(trusted) = self
            .about
            .network_key
            .filter(|trusted| *trusted != challenge.network_key)
        {
            return self.follow(trusted, challenge, out);
        }
        if self.about.genesis.is_none() || self.about.network_key.is_none() {
            self.pin(NetworkPin::new(challenge.network_key, challenge.genesis), out);
        }
        let domain = Domain::new(self.about.environment, challenge.genesis);
        let resume = self.previous.map(|session_id| Resume {
            session_id,
            journal: self.named_keys(),
            more: false,
        });
        let hello = signed::hello(
            &self.about,
            &self.offer,
            &domain,
            challenge,
            resume,
            self.is_paused(),
            now,
        );
        self.domain = Some(domain);
        self.phase = Phase::Greeted {
            since: now,
            session: challenge.session_id,
        };
        out.push(Output::Send(hello.into()));
    }

    /// The server shows another key than the one that is trusted. It may have been named by that.
    fn follow(&mut self, trusted: Address, challenge: &Challenge, out: &mut Vec<Output>) {
        let (offered, genesis) = (challenge.network_key, challenge.genesis);
        if offered == genesis {
            // The first key follows from no other.
            let refusal = Refusal::Network {
                pinned: trusted,
                offered,
            };
            return self.end(Err(refusal), out);
        }
        out.push(Output::Follow {
            trusted,
            offered,
            genesis,
        });
        let reason = "the network has another key; the node sees whether it may trust it";
        self.close(GOING_AWAY, reason, Some(FOLLOW_PAUSE), out);
    }

    /// From now on this is the network.
    pub(super) fn pin(&mut self, pin: NetworkPin, out: &mut Vec<Output>) {
        (self.about.network_key, self.about.genesis) = (Some(pin.network_key), Some(pin.genesis));
        out.push(Output::Pin(pin));
    }

    pub(super) fn welcomed(&mut self, welcome: Welcome, session: SessionId, now: Timestamp, out: &mut Vec<Output>) {
        let interval = Duration::from_millis(welcome.heartbeat_interval_ms).clamp(INTERVALS.0, INTERVALS.1);
        self.phase = Phase::Live(Live {
            session,
            state: welcome.state,
            interval,
            seq: 0,
            next_heartbeat: now.after(interval),
            unanswered_since: None,
        });
        self.previous = Some(session);
        self.fallback.stop();
        self.log.begin(now);
        out.push(Output::Record(Record::Session(session)));
        for key in self.journal_keys() {
            let wanted = welcome.leases.iter().any(|lease| (lease.job_id, lease.attempt) == key);
            if wanted {
                self.resume(key, out);
            } else {
                self.forget(key, out);
            }
        }
        self.want(welcome.config_digest, out);
    }

    /// The attempts that the journal holds, as a hello names them: it may have no room for all. First what is worked on, then
    /// the newest, since that is what the server may still want.
    pub(super) fn named_keys(&self) -> Vec<JobKey> {
        let mut keys = self.journal_keys();
        keys.reverse();
        keys.sort_by_key(|key| !self.running.contains_key(key));
        keys
    }

    /// Goes on with an attempt that the server still wants. What the lost link carried may not have arrived, so
    /// everything is sent again; chunks carry their index, and the server skips those that it has.
    fn resume(&mut self, key: JobKey, out: &mut Vec<Output>) {
        if let Some(job) = self.running.get(&key) {
            let (job_id, attempt) = key;
            out.push(Output::Send(
                Accept {
                    job_id,
                    attempt,
                    lease_token: job.lease_token,
                }
                .into(),
            ));
            out.extend(job.chunks.iter().cloned().map(Output::SendText));
        } else if let Some(job) = self.finished.get(&key) {
            out.extend(job.chunks.iter().cloned().map(Output::SendText));
            out.push(Output::SendText(job.frame.clone()));
        } else if let Some(frame) = self.end_interrupted(key, out) {
            out.push(Output::SendText(frame));
        }
    }

    /// An attempt that a killed process had begun has failed; what is said of it.
    pub(super) fn end_interrupted(&mut self, key: JobKey, out: &mut Vec<Output>) -> Option<Text> {
        let domain = self.domain.as_ref()?;
        let token = self.interrupted.remove(&key)?;
        let message = "the node was stopped in the middle of it";
        let reason = Reason::new(FailureCode::Interrupted, message);
        let failed = signed::failure(&self.about.key, domain, key, token, reason);
        let frame: Text = NodeFrame::Failed(failed).encode().into();
        out.push(Output::Record(Record::Result(key, frame.clone())));
        let finished = Finished {
            chunks: Vec::new(),
            frame: frame.clone(),
        };
        self.finished.insert(key, finished);
        Some(frame)
    }

    pub(super) fn rejected(&mut self, reject: Reject, out: &mut Vec<Output>) {
        match reject.retry_after_ms {
            Some(wait) => {
                let reason = format!("rejected: {}", reject.message);
                self.close(GOING_AWAY, reason, Some(Duration::from_millis(wait)), out);
            }
            None => self.end(
                Err(Refusal::Rejected {
                    code: reject.code,
                    message: reject.message,
                }),
                out,
            ),
        }
    }

    pub(super) fn journal_keys(&self) -> Vec<JobKey> {
        let mut keys: Vec<_> = self
            .running
            .keys()
            .chain(self.finished.keys())
            .chain(self.interrupted.keys())
            .copied()
            .collect();
        keys.sort_unstable();
        keys
    }
}
