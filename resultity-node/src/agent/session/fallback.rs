//! While the socket can't be opened: the same over HTTP. The node stays known, its leases go on, and what has ended is handed
//! in. It gets no new jobs until it has a socket again.

use std::time::Duration;

use resultity_core::clock::Timestamp;
use resultity_core::id::SessionId;
use resultity_core::wire::{Challenge, NodeFrame, Resume, Welcome};

use super::{INTERVALS, Phase, Session, named};
use crate::agent::event::{Answer, Ask, Output};
use crate::agent::{Text, signed};

/// How long to wait after something was refused, or did not come.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a node that nobody has waits.
const LONG_PAUSE: Duration = Duration::from_mins(1);
/// The most ends of jobs that are handed in at once.
const MOST_ENDS: usize = 32;
/// The most bytes that are handed in at once, unless one end has more.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A session over HTTP.
#[derive(Debug)]
struct Knocked {
    session: SessionId,
    seq: u64,
    interval: Duration,
    next_heartbeat: Timestamp,
}

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Fallback {
    is_needed: bool,
    is_asking: bool,
    not_before: Option<Timestamp>,
    knocked: Option<Knocked>,
}

impl Fallback {
    /// The socket can't be opened.
    pub(super) const fn begin(&mut self) {
        self.is_needed = true;
    }

    /// It is open.
    pub(super) fn stop(&mut self) {
        self.is_needed = false;
        self.knocked = None;
        self.not_before = None;
    }

    fn pause(&mut self, now: Timestamp, pause: Duration) {
        self.not_before = Some(now.after(pause));
    }
}

impl Session {
    /// Whether there is something to ask over HTTP, once it is time.
    fn falls_back(&self) -> bool {
        let is_known = self.domain.is_some() && self.about.network_key.is_some();
        let is_open = matches!(self.phase, Phase::Down);
        self.fallback.is_needed && !self.fallback.is_asking && is_known && is_open
    }

    /// When to ask next.
    pub(super) fn next_ask(&self) -> Option<Timestamp> {
        if !self.falls_back() {
            return None;
        }
        let due = match &self.fallback.knocked {
            Some(knocked) if self.finished.is_empty() => Some(knocked.next_heartbeat),
            _ => None,
        };
        due.max(self.fallback.not_before)
    }

    /// Asks what is due.
    pub(super) fn fall_back(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let is_early = self.fallback.not_before.is_some_and(|at| now < at);
        let Some(domain) = self.domain.clone().filter(|_| self.falls_back() && !is_early) else {
            return;
        };
        let slots = 0;
        let ask = match &mut self.fallback.knocked {
            None => Ask::Challenge,
            Some(knocked) if now >= knocked.next_heartbeat => {
                knocked.seq += 1;
                knocked.next_heartbeat = now.after(knocked.interval);
                let place = signed::Place {
                    session: knocked.session,
                    seq: knocked.seq,
                    slots,
                };
                let running = named(&self.running);
                let heartbeat = signed::heartbeat(&self.about, &self.offer, &domain, place, running, now);
                let node = self.about.key.node_id();
                Ask::Heartbeat(node, place.session, NodeFrame::from(heartbeat).encode().into())
            }
            Some(_) if !self.finished.is_empty() => {
                let frames = self.ends();
                Ask::Results(signed::delivery(&self.about, &domain, &frames, now))
            }
            Some(_) => return,
        };
        self.fallback.is_asking = true;
        out.push(Output::Ask(ask));
    }

    /// As many ends of jobs as go at once, each after its chunks.
    fn ends(&self) -> Vec<Text> {
        let mut keys: Vec<_> = self.finished.keys().collect();
        keys.sort_unstable();
        let (mut frames, mut bytes) = (Vec::new(), 0);
        for key in keys.into_iter().take(MOST_ENDS) {
            let finished = &self.finished[key];
            let all = || finished.chunks.iter().chain([&finished.frame]);
            let size: usize = all().map(|frame| frame.len() + 1).sum();
            if !frames.is_empty() && bytes + size > MOST_BYTES {
                break;
            }
            bytes += size;
            frames.extend(all().cloned());
        }
        frames
    }

    /// What came for it.
    pub(super) fn answered(&mut self, answer: Answer, now: Timestamp, out: &mut Vec<Output>) {
        self.fallback.is_asking = false;
        if !self.falls_back() {
            // There is a socket by now. Acks count all the same.
            if let Answer::Results(acks) = answer {
                for ack in acks {
                    self.acknowledged((ack.job_id, ack.attempt), out);
                }
            }
            return;
        }
        match answer {
            Answer::Challenge(challenge) => self.challenged_over_http(&challenge, now, out),
            Answer::Welcome(welcome) => self.welcomed_over_http(&welcome, now, out),
            Answer::Heartbeat(ack) => self.want(ack.config_digest, out),
            Answer::Results(acks) => {
                // What is not among them is handed in again, a little later.
                self.fallback
                    .pause(now, if acks.is_empty() { PAUSE } else { Duration::ZERO });
                for ack in acks {
                    self.acknowledged((ack.job_id, ack.attempt), out);
                }
            }
            Answer::Nothing => {
                self.fallback.knocked = None;
                self.fallback.pause(now, PAUSE);
            }
        }
    }

    /// Only the network that is trusted is told anything; what is odd about it shows on the socket.
    fn challenged_over_http(&mut self, challenge: &Challenge, now: Timestamp, out: &mut Vec<Output>) {
        let is_ours = challenge.environment == self.about.environment
            && self.about.genesis == Some(challenge.genesis)
            && self.about.network_key == Some(challenge.network_key);
        let Some(domain) = self.domain.clone().filter(|_| is_ours) else {
            return self.fallback.pause(now, LONG_PAUSE);
        };
        let resume = self.previous.map(|session_id| Resume {
            session_id,
            journal: self.named_keys(),
            more: false,
        });
        let paused = self.is_paused();
        let hello = signed::hello(&self.about, &self.offer, &domain, challenge, resume, paused, now);
        self.fallback.knocked = Some(Knocked {
            session: challenge.session_id,
            seq: 0,
            interval: INTERVALS.1,
            next_heartbeat: now,
        });
        self.fallback.is_asking = true;
        let frame = NodeFrame::from(hello).encode().into();
        out.push(Output::Ask(Ask::Hello(challenge.session_id, challenge.nonce, frame)));
    }

    fn welcomed_over_http(&mut self, welcome: &Welcome, now: Timestamp, out: &mut Vec<Output>) {
        for key in self.journal_keys() {
            if welcome.leases.iter().any(|lease| (lease.job_id, lease.attempt) == key) {
                self.end_interrupted(key, out);
            } else {
                self.forget(key, out);
            }
        }
        self.want(welcome.config_digest, out);
        match &mut self.fallback.knocked {
            Some(knocked) if welcome.bound => {
                let interval = Duration::from_millis(welcome.heartbeat_interval_ms);
                knocked.interval = interval.clamp(INTERVALS.0, INTERVALS.1);
                knocked.next_heartbeat = now;
            }
            _ => {
                self.fallback.knocked = None;
                self.fallback.pause(now, LONG_PAUSE);
            }
        }
    }
}
