//! Sessions of nodes that have no socket: what is known of each, and for how long.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use resultity_core::environment::Environment;
use resultity_core::id::{JobId, NodeId, SessionId};
use resultity_core::job::Attempt;
use resultity_core::signing::{PublicKey, ReplayWindow};
use resultity_core::wire::MISSED_HEARTBEATS;
use tokio::time::Instant;

use crate::link::fallback::CHALLENGE_LIFETIME;
use crate::store::fleet::NodeFacts;

/// How long a session lasts in all: then the node is looked at anew.
const LONGEST_SESSION: Duration = Duration::from_mins(15);

/// How many sessions have to be known before those that are over are looked for.
const SWEEP_FROM: usize = 1024;

/// How often what a node says of itself is kept in the store.
const KEEP_EVERY: Duration = Duration::from_mins(1);

/// A node in one environment.
pub(super) type Whose = (Environment, NodeId);

/// An attempt of a job.
pub(super) type Held = (JobId, Attempt);

/// A session over HTTP.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) key: PublicKey,
    pub(super) replay: ReplayWindow,
    /// What the node said in its hello.
    pub(super) facts: NodeFacts,
    /// What it said last that it still has, of what it may have.
    pub(super) named: HashSet<Held>,
    /// How long it may say nothing.
    silence: Duration,
    begun: Instant,
    heard: Instant,
    kept: Instant,
    is_ended: bool,
}

impl Session {
    /// One that begins now, of a node that is to report this often.
    pub(super) fn new(id: SessionId, key: PublicKey, facts: NodeFacts, interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            id,
            key,
            replay: ReplayWindow::default(),
            facts,
            named: HashSet::new(),
            silence: interval * MISSED_HEARTBEATS,
            begun: now,
            heard: now,
            kept: now,
            is_ended: false,
        }
    }

    /// The node said something.
    pub(super) fn hear(&mut self) {
        self.heard = Instant::now();
    }

    /// Whether what it says of itself is to be kept again; from now on it is not, for a while.
    pub(super) fn is_to_be_kept(&mut self) -> bool {
        let is_due = self.kept.elapsed() >= KEEP_EVERY;
        if is_due {
            self.kept = Instant::now();
        }
        is_due
    }

    /// Until when it lasts if nothing is heard.
    fn until(&self) -> Instant {
        self.heard + self.silence
    }

    /// Whether a hello from before it may still come again.
    fn is_young(&self) -> bool {
        self.begun.elapsed() < CHALLENGE_LIFETIME * 3
    }

    fn is_over(&self) -> bool {
        self.is_ended || self.heard.elapsed() >= self.silence || self.begun.elapsed() >= LONGEST_SESSION
    }
}

/// The last session of each node.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    known: HashMap<Whose, Session>,
    sweep_at: usize,
}

impl Sessions {
    /// Whether this challenge, or a later one, was answered before.
    pub(super) fn is_used(&self, whose: Whose, id: SessionId) -> bool {
        self.known
            .get(&whose)
            .is_some_and(|known| known.id >= id && known.is_young())
    }

    /// Begins one. False: it was begun before, or a later one was.
    pub(super) fn begin(&mut self, whose: Whose, session: Session) -> bool {
        if self.is_used(whose, session.id) {
            return false;
        }
        self.known.insert(whose, session);
        if self.known.len() >= self.sweep_at.max(SWEEP_FROM) {
            self.known.retain(|_, session| session.is_young() || !session.is_over());
            self.sweep_at = self.known.len() * 2;
        }
        true
    }

    /// The node's session, if it is this one and not over.
    pub(super) fn get(&mut self, whose: Whose, id: SessionId) -> Option<&mut Session> {
        let session = self.known.get_mut(&whose)?;
        (session.id == id && !session.is_over()).then_some(session)
    }

    /// The node's session, whichever it is.
    pub(super) fn current(&mut self, whose: Whose) -> Option<&mut Session> {
        self.known.get_mut(&whose).filter(|session| !session.is_over())
    }

    /// The node is heard: it is in the middle of something.
    pub(super) fn hear(&mut self, whose: Whose) {
        if let Some(session) = self.known.get_mut(&whose) {
            session.hear();
        }
    }

    /// Ends the node's session: it has to say hello again.
    pub(super) fn end(&mut self, whose: Whose) {
        if let Some(session) = self.known.get_mut(&whose) {
            session.is_ended = true;
        }
    }

    /// Until when this session lasts if nothing is heard; none if another has begun, or it was ended.
    pub(super) fn until(&self, whose: Whose, id: SessionId) -> Option<Instant> {
        let session = self.known.get(&whose)?;
        (session.id == id && !session.is_ended).then(|| session.until())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::{ManualClock, SeededEntropy, Timestamp};
    use resultity_core::signing::Keypair;

    fn id(at: i64) -> SessionId {
        SessionId::new(&ManualClock::new(Timestamp::from_millis(at)), &SeededEntropy::new(1))
    }

    fn session(at: i64) -> (Whose, Session) {
        let key = Keypair::generate(&SeededEntropy::new(2));
        let whose = (Environment::Testnet, key.node_id());
        let interval = Duration::from_secs(10);
        let session = Session::new(id(at), key.public_key(), NodeFacts::default(), interval);
        (whose, session)
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_with_its_third_missing_heartbeat_and_in_the_end_anyway() {
        let mut sessions = Sessions::default();
        let (whose, first) = session(1);
        assert!(sessions.begin(whose, first));
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(29)).await;
            sessions.get(whose, id(1)).unwrap().hear();
        }
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(sessions.get(whose, id(1)).is_none());
        assert!(
            sessions
                .until(whose, id(1))
                .is_some_and(|until| until <= Instant::now())
        );
        assert!(sessions.is_used(whose, id(1)) && !sessions.begin(whose, session(1).1));
        assert!(!sessions.begin(whose, session(0).1), "an older one");
        assert!(sessions.begin(whose, session(2).1));
        assert!(sessions.until(whose, id(1)).is_none());
        for _ in 0..90 {
            tokio::time::advance(Duration::from_secs(10)).await;
            if let Some(session) = sessions.get(whose, id(2)) {
                session.hear();
            }
        }
        assert!(sessions.current(whose).is_none(), "the node is looked at anew");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_ended_is_over_and_can_not_be_begun_again() {
        let mut sessions = Sessions::default();
        let (whose, first) = session(1);
        assert!(sessions.begin(whose, first));
        sessions.end(whose);
        assert!(sessions.current(whose).is_none() && sessions.until(whose, id(1)).is_none());
        assert!(!sessions.begin(whose, session(1).1));
    }
}
