//! Orders of the network: pause, resume, drain, restart, shutdown. One counts once, in this session, and only with the
//! network's signature.

use std::time::Duration;

use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::id::SessionId;
use resultity_core::signing::{MAX_CLOCK_SKEW_MS, TypedData};
use resultity_core::wire::{Control, ControlAction};

use super::{Phase, Session};
use crate::agent::event::{GOING_AWAY, Input, Output, PROTOCOL_ERROR, Stop};
use crate::agent::journal::Record;

/// How long a node that was drained stays away before it asks whether it may go on.
const AWAY: Duration = Duration::from_mins(1);
/// How many orders a session may bring.
const MAX_ORDERS: usize = 10_000;
/// How far ahead an order may expire.
const MAX_LIFETIME: Duration = Duration::from_hours(1);

/// A Runtime that is to be started anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restart {
    /// Once nothing runs; what runs longer than this is interrupted.
    Waits(Timestamp),
    /// The same, and it has been interrupted.
    Interrupted,
    /// It is being started.
    Begun,
}

/// What the network told the node to do, as far as it goes on.
#[derive(Debug)]
pub(super) struct Orders {
    is_paused: bool,
    /// Says goodbye once nothing is under way.
    leaves: bool,
    restart: Option<Restart>,
    /// The nonces of this session's orders.
    seen: Vec<B256>,
}

impl Orders {
    pub(super) fn new(is_paused: bool) -> Self {
        Self {
            is_paused,
            leaves: false,
            restart: None,
            seen: Vec::new(),
        }
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub(super) const fn takes_no_jobs(&self) -> bool {
        self.is_paused || self.restart.is_some()
    }

    pub(super) fn next_tick(&self) -> Option<Timestamp> {
        match self.restart {
            Some(Restart::Waits(until)) => Some(until),
            _ => None,
        }
    }

    pub(super) fn link_lost(&mut self) {
        self.leaves = false;
        self.seen.clear();
    }
}

impl Session {
    pub(super) fn control(&mut self, control: &Control, session: SessionId, now: Timestamp, out: &mut Vec<Output>) {
        if let Err(reason) = self.check(control, session, now) {
            return self.close(PROTOCOL_ERROR, reason, None, out);
        }
        self.orders.seen.push(control.nonce);
        match control.action {
            ControlAction::Pause => self.pause(true, out),
            ControlAction::Resume => {
                self.orders.leaves = false;
                self.pause(false, out);
            }
            ControlAction::Drain => {
                self.orders.leaves = true;
                self.pause(true, out);
            }
            ControlAction::RestartRuntime => {
                let until = now.after(self.about.drain_timeout);
                self.orders.restart.get_or_insert(Restart::Waits(until));
            }
            ControlAction::Shutdown => return self.handle(Input::Drain, now, out),
            // Of a later version: it was signed, and this Agent cannot do it.
            _ => return,
        }
        // Tells the server how many slots there are now.
        self.heartbeat(now, out);
    }

    fn check(&self, control: &Control, session: SessionId, now: Timestamp) -> Result<(), &'static str> {
        let (Some(network), Some(domain)) = (self.about.network_key, &self.domain) else {
            return Err("an order before the network is known");
        };
        let signed = control.signed_data();
        if signed.verify(domain, &control.signature, network).is_err() {
            return Err("an order that is not signed by the network");
        }
        if control.node_id != self.node_id() || control.session_id != session {
            return Err("an order that is not for this node and session");
        }
        let skew = Duration::from_millis(MAX_CLOCK_SKEW_MS);
        if control.expires_at.after(skew) < now || control.expires_at > now.after(MAX_LIFETIME) {
            return Err("an order that has expired, or would for too long not do so");
        }
        if self.orders.seen.contains(&control.nonce) || self.orders.seen.len() >= MAX_ORDERS {
            return Err("an order that came twice, or too many");
        }
        Ok(())
    }

    fn pause(&mut self, is_paused: bool, out: &mut Vec<Output>) {
        if std::mem::replace(&mut self.orders.is_paused, is_paused) != is_paused {
            out.push(Output::Record(Record::Paused(is_paused)));
        }
    }

    /// The Runtime was started anew, or was not; the shell has logged it.
    pub(super) fn restarted(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        self.orders.restart = None;
        self.heartbeat(now, out);
    }

    /// Goes on with what waits for the running jobs to end.
    pub(super) fn follow_orders(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        let is_idle = self.running.is_empty();
        match self.orders.restart {
            Some(Restart::Waits(_) | Restart::Interrupted) if is_idle => {
                self.orders.restart = Some(Restart::Begun);
                out.push(Output::RestartRuntime);
            }
            Some(Restart::Waits(until)) if now >= until => {
                self.orders.restart = Some(Restart::Interrupted);
                out.extend(self.running.keys().map(|key| Output::Stop(*key, Stop::Interrupt)));
            }
            _ => {}
        }
        let is_live = matches!(self.phase, Phase::Live(_));
        if self.orders.leaves && is_live && is_idle && self.finished.is_empty() {
            self.close(GOING_AWAY, "drained", Some(AWAY), out);
        }
    }
}
