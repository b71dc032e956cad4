//! When an engine is started, given work, stopped and started again: a pure machine. Inputs and the time go in, what to do
//! comes out.
//!
//! ```text
//! stopped ─start─▶ starting ─answers─▶ healthy ◀──▶ unhealthy
//!    ▲                │  ▲                │            │
//!    │                │  └──── backoff ◀──┴── ended ◀──┤ (also from starting)
//!    └─ stopping ◀────┴─── stop, restart, too late, silent for too long
//! ```

use std::time::Duration;

/// How patient a supervisor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patience {
    /// How long a start may take, until the engine answers.
    pub start: Duration,
    /// How often the engine is asked how it is, and how long that may take.
    pub check: Duration,
    /// After so many checks in a row that failed it gets no work.
    pub unhealthy_after: u32,
    /// After so many it is stopped and started again.
    pub restart_after: u32,
    /// How long it may take to end when it is asked to; then it is killed.
    pub stop: Duration,
    /// How long the first wait before a new start is; each is twice as long as the one before.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// After so long in good health the waits begin anew.
    pub stable: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            start: Duration::from_mins(10),
            check: Duration::from_secs(5),
            unhealthy_after: 2,
            restart_after: 6,
            stop: Duration::from_secs(10),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_mins(5),
            stable: Duration::from_mins(5),
        }
    }
}

/// Where an engine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It does not run and is not about to.
    Stopped,
    /// It runs and does not answer yet.
    Starting,
    /// It answers.
    Healthy,
    /// It runs, and does not answer any more.
    Unhealthy,
    /// It was asked to end.
    Stopping,
    /// It ended by itself, or was ended because it did not answer; it is started again after a while.
    Backoff,
}

/// What happened to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Somebody wants it to run.
    Start,
    /// Somebody wants it to be started anew.
    Restart,
    /// Somebody wants it to end for good.
    Stop,
    /// It was asked how it is: whether it answered well.
    Checked(bool),
    /// The process is gone, or could not be started.
    Ended,
    /// Time has passed.
    Tick,
}

/// What to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Start the process.
    Spawn,
    /// Ask it to end.
    Terminate,
    /// End it.
    Kill,
}

/// What follows once it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    Start,
    Backoff,
}

/// The machine. Times are since any one moment.
#[derive(Debug)]
pub(super) struct Supervisor {
    patience: Patience,
    state: State,
    /// Since when it is in this state.
    since: Duration,
    /// Checks in a row that failed.
    failures: u32,
    /// Ends in a row, without good health for long between them.
    ends: u32,
    then: Then,
    was_killed: bool,
    /// Since when it is in good health without an end.
    healthy_since: Option<Duration>,
}

impl Supervisor {
    pub(super) fn new(patience: Patience) -> Self {
        Self {
            patience,
            state: State::Stopped,
            since: Duration::ZERO,
            failures: 0,
            ends: 0,
            then: Then::Nothing,
            was_killed: false,
            healthy_since: None,
        }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// When to come back with a [`Input::Tick`], if nothing else happens.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let patience = match self.state {
            State::Starting => self.patience.start,
            State::Stopping if !self.was_killed => self.patience.stop,
            State::Backoff => self.wait(),
            _ => return None,
        };
        Some(self.since + patience)
    }

    /// How long it waits before the next start.
    pub(super) fn wait(&self) -> Duration {
        let doublings = self.ends.saturating_sub(1).min(20);
        let wait = self.patience.first_wait.saturating_mul(1 << doublings);
        wait.min(self.patience.longest_wait)
    }

    /// Takes an input and says what to do.
    pub(super) fn handle(&mut self, input: Input, now: Duration) -> Option<Action> {
        let is_due = self.deadline().is_some_and(|deadline| deadline <= now);
        match (input, self.state) {
            (Input::Start | Input::Restart, State::Stopped) | (Input::Restart | Input::Tick, State::Backoff)
                if input != Input::Tick || is_due =>
            {
                self.enter(State::Starting, now);
                Some(Action::Spawn)
            }
            (Input::Restart, State::Starting | State::Healthy | State::Unhealthy) => Some(self.end(Then::Start, now)),
            // A stop that was asked for stays one.
            (Input::Restart, State::Stopping) if self.then == Then::Backoff => {
                self.then = Then::Start;
                None
            }
            (Input::Stop, State::Starting | State::Healthy | State::Unhealthy) => Some(self.end(Then::Nothing, now)),
            (Input::Stop, State::Stopping) => {
                self.then = Then::Nothing;
                None
            }
            (Input::Stop, State::Backoff) => {
                self.enter(State::Stopped, now);
                None
            }
            (Input::Checked(is_well), State::Starting | State::Healthy | State::Unhealthy) => {
                self.checked(is_well, now)
            }
            (Input::Ended, State::Starting | State::Healthy | State::Unhealthy) => {
                self.ended(now);
                None
            }
            (Input::Ended, State::Stopping) => match self.then {
                Then::Nothing => {
                    self.enter(State::Stopped, now);
                    None
                }
                Then::Start => {
                    self.enter(State::Starting, now);
                    Some(Action::Spawn)
                }
                Then::Backoff => {
                    self.ended(now);
                    None
                }
            },
            (Input::Tick, State::Starting) if is_due => Some(self.end(Then::Backoff, now)),
            (Input::Tick, State::Stopping) if is_due => {
                self.was_killed = true;
                Some(Action::Kill)
            }
            _ => None,
        }
    }

    fn checked(&mut self, is_well: bool, now: Duration) -> Option<Action> {
        match (is_well, self.state) {
            (true, State::Starting | State::Unhealthy) => {
                self.enter(State::Healthy, now);
                self.healthy_since.get_or_insert(now);
            }
            (true, _) => self.failures = 0,
            // It reads its model.
            (false, State::Starting) => {}
            (false, _) => {
                self.failures += 1;
                if self.failures >= self.patience.restart_after {
                    return Some(self.end(Then::Backoff, now));
                }
                if self.failures >= self.patience.unhealthy_after && self.state == State::Healthy {
                    let failures = self.failures;
                    self.enter(State::Unhealthy, now);
                    self.failures = failures;
                }
            }
        }
        None
    }

    fn end(&mut self, then: Then, now: Duration) -> Action {
        self.enter(State::Stopping, now);
        self.then = then;
        self.was_killed = false;
        Action::Terminate
    }

    fn ended(&mut self, now: Duration) {
        let was_stable = self
            .healthy_since
            .take()
            .is_some_and(|since| now.saturating_sub(since) >= self.patience.stable);
        self.ends = if was_stable { 1 } else { self.ends.saturating_add(1) };
        self.enter(State::Backoff, now);
    }

    fn enter(&mut self, state: State, now: Duration) {
        self.state = state;
        self.since = now;
        self.failures = 0;
        if matches!(state, State::Starting | State::Stopped) {
            self.healthy_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Goes through inputs at their times and gives where it ends, and the last thing to do.
    fn after(inputs: &[(u64, Input)]) -> (State, Option<Action>) {
        let mut supervisor = Supervisor::new(Patience::default());
        let mut last = None;
        for (at, input) in inputs {
            last = supervisor.handle(*input, seconds(*at));
        }
        (supervisor.state(), last)
    }

    const START: (u64, Input) = (0, Input::Start);
    const WELL: (u64, Input) = (1, Input::Checked(true));
    const BAD: (u64, Input) = (2, Input::Checked(false));

    #[rstest]
    #[case::start(&[START], State::Starting, Some(Action::Spawn))]
    #[case::it_reads_its_model(&[START, BAD, BAD, BAD, BAD, BAD, BAD, BAD], State::Starting, None)]
    #[case::it_answers(&[START, WELL], State::Healthy, None)]
    #[case::too_late(&[START, (600, Input::Tick)], State::Stopping, Some(Action::Terminate))]
    #[case::not_yet_too_late(&[START, (599, Input::Tick)], State::Starting, None)]
    #[case::too_late_and_gone(&[START, (600, Input::Tick), (601, Input::Ended)], State::Backoff, None)]
    #[case::it_does_not_start(&[START, (1, Input::Ended)], State::Backoff, None)]
    #[case::after_the_wait(&[START, (1, Input::Ended), (2, Input::Tick)], State::Starting, Some(Action::Spawn))]
    #[case::in_the_wait(&[START, (5, Input::Ended), (5, Input::Tick)], State::Backoff, None)]
    #[case::one_bad_check_is_chance(&[START, WELL, BAD], State::Healthy, None)]
    #[case::two_are_not(&[START, WELL, BAD, BAD], State::Unhealthy, None)]
    #[case::it_comes_back(&[START, WELL, BAD, BAD, (3, Input::Checked(true))], State::Healthy, None)]
    #[case::it_hangs(&[START, WELL, BAD, BAD, BAD, BAD, BAD, BAD], State::Stopping, Some(Action::Terminate))]
    #[case::it_hangs_on(
        &[START, WELL, BAD, BAD, BAD, BAD, BAD, BAD, (12, Input::Tick)],
        State::Stopping,
        Some(Action::Kill)
    )]
    #[case::killed_once(
        &[START, WELL, (1, Input::Stop), (11, Input::Tick), (22, Input::Tick)],
        State::Stopping,
        None
    )]
    #[case::it_is_gone(&[START, WELL, (3, Input::Ended)], State::Backoff, None)]
    #[case::stop(&[START, WELL, (3, Input::Stop)], State::Stopping, Some(Action::Terminate))]
    #[case::stopped(&[START, WELL, (3, Input::Stop), (4, Input::Ended)], State::Stopped, None)]
    #[case::stopped_for_good(&[START, WELL, (3, Input::Stop), (4, Input::Ended), (9, Input::Tick)], State::Stopped, None)]
    #[case::stop_in_the_wait(&[START, (1, Input::Ended), (1, Input::Stop), (9, Input::Tick)], State::Stopped, None)]
    #[case::restart(&[START, WELL, (3, Input::Restart)], State::Stopping, Some(Action::Terminate))]
    #[case::restarted_at_once(&[START, WELL, (3, Input::Restart), (4, Input::Ended)], State::Starting, Some(Action::Spawn))]
    #[case::restart_in_the_wait(&[START, (1, Input::Ended), (1, Input::Restart)], State::Starting, Some(Action::Spawn))]
    #[case::a_stop_beats_a_restart(
        &[START, WELL, (3, Input::Restart), (3, Input::Stop), (3, Input::Restart), (4, Input::Ended)],
        State::Stopped,
        None
    )]
    fn the_table(#[case] inputs: &[(u64, Input)], #[case] state: State, #[case] last: Option<Action>) {
        assert_eq!(after(inputs), (state, last));
    }

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_good_health() {
        let mut supervisor = Supervisor::new(Patience::default());
        let mut now = Duration::ZERO;
        supervisor.handle(Input::Start, now);
        let mut waits = Vec::new();
        let end = |supervisor: &mut Supervisor, now: &mut Duration, healthy: Option<u64>| {
            if let Some(healthy) = healthy {
                supervisor.handle(Input::Checked(true), *now);
                *now += seconds(healthy);
            }
            supervisor.handle(Input::Ended, *now);
            let wait = supervisor.deadline().unwrap().saturating_sub(*now);
            *now += wait;
            assert_eq!(supervisor.handle(Input::Tick, *now), Some(Action::Spawn));
            wait.as_secs()
        };
        for _ in 0..11 {
            waits.push(end(&mut supervisor, &mut now, None));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        // A short while in good health proves nothing.
        assert_eq!(end(&mut supervisor, &mut now, Some(299)), 300);
        assert_eq!(end(&mut supervisor, &mut now, Some(300)), 1);
        assert_eq!(end(&mut supervisor, &mut now, None), 2);
    }

    proptest! {
        /// A process is started only when none runs, and ended only when one does.
        #[test]
        fn there_is_never_more_than_one_process(inputs in prop::collection::vec((0..7_u8, 0..400_u64), 0..60)) {
            let mut supervisor = Supervisor::new(Patience::default());
            let (mut runs, mut now) = (false, Duration::ZERO);
            for (input, pause) in inputs {
                now += seconds(pause);
                let input = match input {
                    0 => Input::Start,
                    1 => Input::Restart,
                    2 => Input::Stop,
                    3 => Input::Checked(true),
                    4 => Input::Checked(false),
                    5 if runs => Input::Ended,
                    _ => Input::Tick,
                };
                runs &= input != Input::Ended;
                match supervisor.handle(input, now) {
                    Some(Action::Spawn) => {
                        prop_assert!(!runs);
                        runs = true;
                    }
                    Some(Action::Terminate | Action::Kill) => prop_assert!(runs),
                    None => {}
                }
                let should_run = !matches!(supervisor.state(), State::Stopped | State::Backoff);
                prop_assert_eq!(runs, should_run);
            }
        }
    }
}
