//! The session machine: what a node does about each thing that happens on its link. Pure: input and time in, outputs
//! out; no socket, no file, no task. The shell around it is `actor`.

use std::collections::HashMap;
use std::time::Duration;

use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::id::{LeaseToken, NodeId, SessionId};
use resultity_core::signing::Domain;
use resultity_core::wire::{ErrorFrame, LogLevel, MISSED_HEARTBEATS, NodeFrame, RunningJob, ServerFrame};

use crate::agent::event::{About, GOING_AWAY, Input, Offer, Output, PROTOCOL_ERROR, Stop};
use crate::agent::journal::{Entry, Memory, Record};
use crate::agent::{JobKey, Refusal, Text, signed};

/// How long the server has for each step of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a drain that ran out waits for what it interrupted.
const DRAIN_GRACE: Duration = Duration::from_secs(3);
/// A server cannot make a node send heartbeats faster or slower than this.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_mins(5));

mod control;
mod fallback;
mod handshake;
mod jobs;
mod log;

use control::Orders;
use fallback::Fallback;
use log::Log;

#[derive(Debug)]
enum Phase {
    Down,
    Connected { since: Timestamp },
    Greeted { since: Timestamp, session: SessionId },
    Live(Live),
    Over,
}

#[derive(Debug)]
struct Live {
    session: SessionId,
    state: String,
    interval: Duration,
    seq: u64,
    next_heartbeat: Timestamp,
    /// When the oldest heartbeat was sent that has no answer.
    unanswered_since: Option<Timestamp>,
}

/// A job that is worked on. Its chunks are kept until it is acknowledged: a link that drops may lose some.
#[derive(Debug)]
struct Running {
    lease_token: LeaseToken,
    since: Timestamp,
    chunks: Vec<Text>,
    /// The network gave it up: how it ends is nobody's matter any more.
    is_forgotten: bool,
}

#[derive(Debug)]
struct Finished {
    chunks: Vec<Text>,
    frame: Text,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Session {
    about: About,
    phase: Phase,
    offer: Offer,
    domain: Option<Domain>,
    previous: Option<SessionId>,
    running: HashMap<JobKey, Running>,
    finished: HashMap<JobKey, Finished>,
    /// Begun in an earlier life of the process, which was killed.
    interrupted: HashMap<JobKey, LeaseToken>,
    fetching: bool,
    drain_until: Option<Timestamp>,
    drain_forced: bool,
    orders: Orders,
    fallback: Fallback,
    log: Log,
}

impl Session {
    /// A node that is not connected yet, with what it remembers.
    pub(super) fn new(about: About, memory: &Memory) -> Self {
        let log = Log::new(about.ships_logs);
        let mut session = Self {
            domain: about.genesis.map(|genesis| Domain::new(about.environment, genesis)),
            about,
            phase: Phase::Down,
            offer: Offer::default(),
            previous: memory.session,
            running: HashMap::new(),
            finished: HashMap::new(),
            interrupted: HashMap::new(),
            fetching: false,
            drain_until: None,
            drain_forced: false,
            orders: Orders::new(memory.is_paused),
            fallback: Fallback::default(),
            log,
        };
        for (key, entry) in &memory.entries {
            match entry {
                Entry::Started(token) => {
                    session.interrupted.insert(*key, *token);
                }
                Entry::Result(frame) => {
                    session.finished.insert(
                        *key,
                        Finished {
                            chunks: Vec::new(),
                            frame: frame.clone(),
                        },
                    );
                }
            }
        }
        session
    }

    /// The node.
    pub(super) fn node_id(&self) -> NodeId {
        self.about.key.node_id()
    }

    /// The current session and what the server said of the node's state.
    pub(super) fn live(&self) -> Option<(SessionId, &str)> {
        match &self.phase {
            Phase::Live(live) => Some((live.session, &live.state)),
            _ => None,
        }
    }

    /// How many jobs it works on.
    pub(super) fn running(&self) -> u32 {
        self.running.len() as u32
    }

    /// What it offers.
    pub(super) const fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Whether it is about to stop.
    pub(super) const fn is_draining(&self) -> bool {
        self.drain_until.is_some()
    }

    /// Whether the network told it to take no jobs.
    pub(super) const fn is_paused(&self) -> bool {
        self.orders.is_paused()
    }

    /// How many jobs it takes at once, now.
    fn slots(&self) -> u32 {
        if self.is_draining() || self.orders.takes_no_jobs() {
            0
        } else {
            self.about.slots
        }
    }

    /// When to send a [`Input::Tick`], unless something else happens first.
    pub(super) fn next_tick(&self) -> Option<Timestamp> {
        let link = match &self.phase {
            Phase::Down | Phase::Over => None,
            Phase::Connected { since } | Phase::Greeted { since, .. } => Some(since.after(HANDSHAKE_TIMEOUT)),
            Phase::Live(live) => {
                let patience = live
                    .unanswered_since
                    .map(|since| since.after(live.interval * MISSED_HEARTBEATS));
                Some(patience.map_or(live.next_heartbeat, |patience| patience.min(live.next_heartbeat)))
            }
        };
        let drain = self.drain_until.map(|until| {
            if self.drain_forced {
                until.after(DRAIN_GRACE)
            } else {
                until
            }
        });
        let rest = [self.orders.next_tick(), self.next_ask(), self.next_log()];
        link.into_iter().chain(drain).chain(rest.into_iter().flatten()).min()
    }

    /// Takes one input; adds what is to be done, in order.
    pub(super) fn handle(&mut self, input: Input, now: Timestamp, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        match input {
            // It counts once the network has let the node in: until then it may carry nothing.
            Input::LinkUp => self.phase = Phase::Connected { since: now },
            Input::LinkDown => {
                if matches!(self.phase, Phase::Live(_)) {
                    self.log
                        .note(now, LogLevel::Warn, None, "the link to the network was lost", []);
                }
                self.phase = Phase::Down;
                self.orders.link_lost();
                self.fallback.begin();
            }
            Input::Unreachable => self.fallback.begin(),
            Input::Answered(answer) => self.answered(answer, now, out),
            Input::Note(level, message, fields) => self.log.note(now, level, None, message, fields),
            Input::Frame(frame) => self.frame(frame, now, out),
            Input::UnknownFrame(kind) => out.push(Output::Send(NodeFrame::Error(ErrorFrame {
                code: "unknown_type".into(),
                message: "this Agent does not know frames of this type".into(),
                frame: Some(kind),
            }))),
            Input::Malformed(reason) => self.close(PROTOCOL_ERROR, reason, None, out),
            Input::Chunk(key, text) => {
                let live = matches!(self.phase, Phase::Live(_));
                if let Some(job) = self.running.get_mut(&key) {
                    job.chunks.push(text.clone());
                    if live {
                        out.push(Output::SendText(text));
                    }
                }
            }
            Input::Finished(key, frame) => {
                // It may have ended at the moment when the network gave it up: kept then, it would never be acknowledged.
                if let Some(job) = self.running.remove(&key).filter(|job| !job.is_forgotten) {
                    self.log.ended(now, key, job.since, &frame);
                    out.push(Output::Record(Record::Result(key, frame.clone())));
                    if matches!(self.phase, Phase::Live(_)) {
                        out.push(Output::SendText(frame.clone()));
                    }
                    self.finished.insert(
                        key,
                        Finished {
                            chunks: job.chunks,
                            frame,
                        },
                    );
                }
            }
            Input::Dropped(key) => {
                self.running.remove(&key);
            }
            Input::Offer(offer) => {
                let news = offer.models != self.offer.models
                    || offer.runtime != self.offer.runtime
                    || offer.config_digest != self.offer.config_digest;
                self.log.offered(now, &self.offer, &offer);
                self.offer = offer;
                self.keep_interval(now);
                if news {
                    self.heartbeat(now, out);
                }
            }
            Input::Fetched => self.fetching = false,
            Input::Followed(pin) => self.pin(pin, out),
            Input::Strayed(pinned, offered) => self.end(Err(Refusal::Network { pinned, offered }), out),
            Input::Restarted => self.restarted(now, out),
            Input::Tick => self.tick(now, out),
            Input::Drain => {
                if self.drain_until.is_none() {
                    self.drain_until = Some(now.after(self.about.drain_timeout));
                    // Tells the server that there are no slots any more.
                    self.heartbeat(now, out);
                }
            }
        }
        self.end_drain(now, out);
        self.follow_orders(now, out);
        self.fall_back(now, out);
        self.ship(now, out);
    }

    /// Reports as often as the snapshot says by which the node works.
    fn keep_interval(&mut self, now: Timestamp) {
        if let (Phase::Live(live), Some(interval)) = (&mut self.phase, self.offer.heartbeat_interval) {
            live.interval = interval.clamp(INTERVALS.0, INTERVALS.1);
            live.next_heartbeat = live.next_heartbeat.min(now.after(live.interval));
        }
    }

    fn close(&mut self, code: u16, reason: impl Into<String>, wait: Option<Duration>, out: &mut Vec<Output>) {
        self.phase = Phase::Down;
        self.orders.link_lost();
        if wait.is_none() {
            // Otherwise it is known when to come back, and that nothing is to be asked before.
            self.fallback.begin();
        }
        out.push(Output::Close {
            code,
            reason: reason.into(),
            wait,
        });
    }

    fn end(&mut self, result: Result<(), Refusal>, out: &mut Vec<Output>) {
        let reason = if result.is_ok() {
            "the node stops"
        } else {
            "the node does not join"
        };
        if !matches!(self.phase, Phase::Down) {
            self.close(GOING_AWAY, reason, None, out);
        }
        self.phase = Phase::Over;
        out.push(Output::End(result));
    }

    fn frame(&mut self, frame: ServerFrame, now: Timestamp, out: &mut Vec<Output>) {
        match (frame, &mut self.phase) {
            (ServerFrame::Challenge(challenge), Phase::Connected { .. }) => self.challenged(&challenge, now, out),
            (ServerFrame::Welcome(welcome), Phase::Greeted { session, .. }) => {
                let session = *session;
                self.welcomed(welcome, session, now, out);
            }
            (ServerFrame::Reject(reject), Phase::Connected { .. } | Phase::Greeted { .. }) => {
                self.rejected(reject, out);
            }
            (ServerFrame::Job(job), Phase::Live(_)) => self.job(job, now, out),
            (ServerFrame::Ack(ack), Phase::Live(_)) => self.acknowledged((ack.job_id, ack.attempt), out),
            (ServerFrame::Cancel(cancel), Phase::Live(_)) => self.cancelled(&cancel, out),
            (ServerFrame::HeartbeatAck(ack), Phase::Live(live)) => {
                live.unanswered_since = None;
                self.want(ack.config_digest, out);
            }
            (ServerFrame::Config(config), Phase::Live(_)) => self.want(config.digest, out),
            (ServerFrame::Control(control), Phase::Live(live)) => {
                let session = live.session;
                self.control(&control, session, now, out);
            }
            (ServerFrame::Notice(notice), Phase::Live(live)) => {
                // The shell has logged it.
                if let Some(state) = notice.state {
                    live.state = state;
                }
            }
            // Read before the link was closed: what came with the last words does not count. Errors the shell has logged.
            (_, Phase::Down) | (ServerFrame::Error(_), _) => {}
            (frame, _) => {
                let reason = format!("unexpected {} frame", frame.kind());
                self.close(PROTOCOL_ERROR, reason, None, out);
            }
        }
    }

    /// The server works by this snapshot.
    fn want(&mut self, digest: B256, out: &mut Vec<Output>) {
        if self.offer.config_digest != Some(digest) && !self.fetching {
            self.fetching = true;
            out.push(Output::Fetch(digest));
        }
    }

    fn tick(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        match &self.phase {
            Phase::Connected { since } | Phase::Greeted { since, .. } if now >= since.after(HANDSHAKE_TIMEOUT) => {
                self.close(PROTOCOL_ERROR, "the handshake took too long", None, out);
            }
            Phase::Live(live) => {
                let patience = live.interval * MISSED_HEARTBEATS;
                if live.unanswered_since.is_some_and(|since| now >= since.after(patience)) {
                    self.close(GOING_AWAY, "no heartbeat was acknowledged", None, out);
                } else if now >= live.next_heartbeat {
                    self.heartbeat(now, out);
                }
            }
            _ => {}
        }
        if self.drain_until.is_some_and(|until| now >= until) && !self.drain_forced {
            self.drain_forced = true;
            out.extend(self.running.keys().map(|key| Output::Stop(*key, Stop::Interrupt)));
        }
    }

    fn heartbeat(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        // Without slots the server sends no more jobs.
        let slots = self.slots();
        let (Phase::Live(live), Some(domain)) = (&mut self.phase, &self.domain) else {
            return;
        };
        live.seq += 1;
        live.next_heartbeat = now.after(live.interval);
        live.unanswered_since.get_or_insert(now);
        let running = named(&self.running);
        let place = signed::Place {
            session: live.session,
            seq: live.seq,
            slots,
        };
        let heartbeat = signed::heartbeat(&self.about, &self.offer, domain, place, running, now);
        out.push(Output::Send(heartbeat.into()));
    }

    /// Leaves when nothing is left to do, or when it took too long.
    fn end_drain(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let Some(until) = self.drain_until else { return };
        if matches!(self.phase, Phase::Over) {
            return;
        }
        // What has ended is handed in first, if there is a way.
        let is_heard = matches!(self.phase, Phase::Live(_)) || self.fallback.is_open();
        let idle = self.running.is_empty() && (self.finished.is_empty() || !is_heard);
        if idle || now >= until.after(DRAIN_GRACE) {
            self.end(Ok(()), out);
        }
    }
}

fn named(running: &HashMap<JobKey, Running>) -> Vec<RunningJob> {
    let mut named: Vec<_> = running
        .keys()
        .map(|(job_id, attempt)| RunningJob {
            job_id: *job_id,
            attempt: *attempt,
        })
        .collect();
    named.sort_unstable_by_key(|job| (job.job_id, job.attempt));
    named
}

#[cfg(test)]
mod tests;
