//! While there is no socket that works: the same over HTTP. The node stays known, its leases go on, and what has ended is
//! handed in. It gets no new jobs until it has a socket again.

use std::time::Duration;

use resultity_core::clock::Timestamp;
use resultity_core::id::SessionId;
use resultity_core::wire::{Challenge, HeartbeatAck, MAX_FRAME_BYTES, NodeFrame, Resume, RunningJob, Welcome};

use super::{INTERVALS, Phase, Session, named};
use crate::agent::event::{Answer, Ask, Output};
use crate::agent::{JobKey, Text, signed};

/// How long to wait after something was refused, or did not come.
const PAUSE: Duration = Duration::from_secs(5);
/// How long to wait before another hello, if the network does not know the session any more.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// How long a node that nobody has waits.
const LONG_PAUSE: Duration = Duration::from_mins(1);
/// The most ends of jobs that a heartbeat names; others are named by the next ones.
const MOST_NAMED: usize = 64;

/// A session over HTTP.
#[derive(Debug)]
struct Knocked {
    session: SessionId,
    seq: u64,
    interval: Duration,
    next_heartbeat: Timestamp,
}

/// What was asked and has no answer yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Challenge,
    Hello(SessionId),
    Heartbeat(SessionId),
    End(JobKey),
}

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Fallback {
    is_needed: bool,
    /// Whether it has just begun to be needed.
    is_new: bool,
    asked: Option<Asked>,
    not_before: Option<Timestamp>,
    knocked: Option<Knocked>,
    /// The end that was handed in last, whatever came of it: the next one comes after it.
    handed_in: Option<JobKey>,
    /// When the next one may be handed in.
    hand_in_at: Option<Timestamp>,
    /// The end that a heartbeat named last.
    named: Option<JobKey>,
    /// When a request was last signed: of several, those signed later count.
    signed_at: Option<Timestamp>,
}

impl Fallback {
    /// There is no socket, or none that works.
    pub(super) const fn begin(&mut self) {
        if !self.is_needed {
            self.is_needed = true;
            self.is_new = true;
        }
    }

    /// The node was let in over a socket. What comes for what was asked before does not count any more, but for acks.
    pub(super) fn stop(&mut self) {
        self.is_needed = false;
        self.is_new = false;
        self.knocked = None;
        self.not_before = None;
        self.hand_in_at = None;
    }

    /// Whether it has a session over HTTP, as far as it knows.
    pub(super) const fn is_open(&self) -> bool {
        self.knocked.is_some()
    }

    fn pause(&mut self, now: Timestamp, pause: Duration) {
        self.not_before = Some(now.after(pause));
    }

    /// From the beginning, in a while.
    fn give_up(&mut self, now: Timestamp, pause: Duration) {
        self.knocked = None;
        self.pause(now, pause);
    }
}

impl Session {
    /// Whether there is something to ask over HTTP, once it is time.
    fn falls_back(&self) -> bool {
        let is_known = self.domain.is_some() && self.about.network_key.is_some();
        let is_without = !matches!(self.phase, Phase::Live(_) | Phase::Over);
        self.fallback.is_needed && self.fallback.asked.is_none() && is_known && is_without
    }

    /// When to ask next.
    pub(super) fn next_ask(&self) -> Option<Timestamp> {
        if !self.falls_back() {
            return None;
        }
        let heartbeat = self.fallback.knocked.as_ref().map(|knocked| knocked.next_heartbeat);
        // What may be handed in now was handed in when the last thing happened.
        let end = self.fallback.hand_in_at.filter(|_| self.ends().next().is_some());
        let due = heartbeat.map(|heartbeat| end.map_or(heartbeat, |end| end.min(heartbeat)));
        due.max(self.fallback.not_before)
    }

    /// Asks what is due.
    pub(super) fn fall_back(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if !self.falls_back() {
            return;
        }
        if std::mem::take(&mut self.fallback.is_new) && self.has_nothing() {
            // A socket may be there again before it matters.
            self.fallback.pause(now, PAUSE);
        }
        let is_early = self.fallback.not_before.is_some_and(|at| now < at);
        let Some(domain) = self.domain.clone().filter(|_| !is_early) else {
            return;
        };
        let (asked, ask) = match &self.fallback.knocked {
            None => (Asked::Challenge, Ask::Challenge),
            Some(knocked) if now >= knocked.next_heartbeat => {
                let running = self.named_in_turn();
                let Some(knocked) = &mut self.fallback.knocked else {
                    return;
                };
                knocked.seq += 1;
                knocked.next_heartbeat = now.after(knocked.interval);
                let place = signed::Place {
                    session: knocked.session,
                    seq: knocked.seq,
                    slots: 0,
                };
                let heartbeat = signed::heartbeat(&self.about, &self.offer, &domain, place, running, now);
                let node = self.about.key.node_id();
                let text = NodeFrame::from(heartbeat).encode().into();
                let asked = Asked::Heartbeat(place.session);
                (asked, Ask::Heartbeat(node, place.session, text))
            }
            Some(_) => {
                let Some((key, frames)) = self.next_end(now) else {
                    return;
                };
                let later = self.fallback.signed_at.map(|at| at.after(Duration::from_millis(1)));
                let at = later.map_or(now, |later| later.max(now));
                self.fallback.signed_at = Some(at);
                self.fallback.handed_in = Some(key);
                let delivery = signed::delivery(&self.about, &domain, &frames, at);
                (Asked::End(key), Ask::Results(delivery))
            }
        };
        self.fallback.asked = Some(asked);
        out.push(Output::Ask(ask));
    }

    fn has_nothing(&self) -> bool {
        self.running.is_empty() && self.finished.is_empty() && self.interrupted.is_empty()
    }

    /// What a heartbeat names: what is worked on, and ends that were not taken yet, so that their leases go on, or the network
    /// says that they are dealt with.
    fn named_in_turn(&mut self) -> Vec<RunningJob> {
        let mut keys: Vec<_> = self.finished.keys().copied().collect();
        keys.sort_unstable();
        let begin = keys.partition_point(|key| Some(*key) <= self.fallback.named);
        keys.rotate_left(begin);
        keys.truncate(MOST_NAMED);
        self.fallback.named = keys.last().copied();
        let ends = keys.into_iter().map(|(job_id, attempt)| RunningJob { job_id, attempt });
        let mut named = named(&self.running);
        named.extend(ends);
        named
    }

    /// The end of a job that is handed in next, after its chunks: one at a time and in turn, so that one that can't be taken
    /// holds up no other.
    fn next_end(&self, now: Timestamp) -> Option<(JobKey, Vec<Text>)> {
        if self.fallback.hand_in_at.is_some_and(|at| now < at) {
            return None;
        }
        let after = self.fallback.handed_in;
        let next = self.ends().filter(|key| Some(*key) > after).min();
        let key = next.or_else(|| self.ends().min())?;
        Some((key, self.frames(key).cloned().collect()))
    }

    /// The ends that can be handed in. What is larger goes over a socket alone, frame by frame.
    fn ends(&self) -> impl Iterator<Item = JobKey> {
        let fits = |key: &JobKey| self.frames(*key).map(|frame| frame.len() + 1).sum::<usize>() <= MAX_FRAME_BYTES;
        self.finished.keys().copied().filter(fits)
    }

    fn frames(&self, key: JobKey) -> impl Iterator<Item = &Text> {
        let finished = self.finished.get(&key).into_iter();
        finished.flat_map(|finished| finished.chunks.iter().chain([&finished.frame]))
    }

    /// An end was not taken. Once all have had their turn, it waits a while.
    fn not_taken(&mut self, key: JobKey, now: Timestamp) {
        let is_last = !self.ends().any(|other| other > key);
        self.fallback.hand_in_at = is_last.then(|| now.after(PAUSE));
    }

    /// What came for it.
    pub(super) fn answered(&mut self, answer: Answer, now: Timestamp, out: &mut Vec<Output>) {
        let asked = self.fallback.asked.take();
        if let Answer::Results(acks) | Answer::Heartbeat(HeartbeatAck { acks, .. }) = &answer {
            for ack in acks {
                self.acknowledged((ack.job_id, ack.attempt), out);
            }
        }
        let session = self.fallback.knocked.as_ref().map(|knocked| knocked.session);
        let is_stale = match asked {
            Some(Asked::Hello(of) | Asked::Heartbeat(of)) => session != Some(of),
            Some(Asked::Challenge | Asked::End(_)) => false,
            None => true,
        };
        if is_stale || !self.falls_back() {
            return;
        }
        match (asked, answer) {
            (Some(Asked::Challenge), Answer::Challenge(challenge)) => {
                self.challenged_over_http(&challenge, now, out);
            }
            (Some(Asked::Hello(_)), Answer::Welcome(welcome)) => self.welcomed_over_http(&welcome, now, out),
            (Some(Asked::Heartbeat(_)), Answer::Heartbeat(ack)) => self.want(ack.config_digest, out),
            (Some(Asked::Heartbeat(_)), Answer::Nothing(Some(404))) => self.fallback.give_up(now, SHORT_PAUSE),
            // The session is there still, or that shows the next time.
            (Some(Asked::Heartbeat(_)), Answer::Nothing(None | Some(429 | 503))) => {
                self.fallback.pause(now, SHORT_PAUSE);
            }
            (Some(Asked::End(key)), Answer::Results(_)) => {
                if self.finished.contains_key(&key) {
                    self.not_taken(key, now);
                } else {
                    self.fallback.hand_in_at = None;
                }
            }
            // There is something about it that can't be taken.
            (Some(Asked::End(key)), Answer::Nothing(Some(400 | 413 | 422))) => self.not_taken(key, now),
            (Some(Asked::End(_)), _) => self.fallback.hand_in_at = Some(now.after(PAUSE)),
            _ => self.fallback.give_up(now, PAUSE),
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
        self.fallback.asked = Some(Asked::Hello(challenge.session_id));
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
            _ => self.fallback.give_up(now, LONG_PAUSE),
        }
    }
}
