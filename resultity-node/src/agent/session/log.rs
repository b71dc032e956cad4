//! What the node's owner may see of it at the network. Every sentence is a constant of this crate and every field a number, a
//! code or a name from the snapshot: nothing of a request or an answer can get in here.

use std::collections::VecDeque;
use std::time::Duration;

use resultity_core::clock::Timestamp;
use resultity_core::id::JobId;
use resultity_core::model::ModelState;
use resultity_core::wire::{LogField, LogLevel, LogLine, NodeFrame};

use super::{Phase, Session};
use crate::agent::event::{Offer, Output};
use crate::agent::{JobKey, Text, signed};

/// The most lines that wait.
const MOST_WAITING: usize = 1000;
/// With so many waiting, jobs that went well are not written down.
const MOST_WITH_SUCCESSES: usize = 100;
/// The most lines of one frame.
const BATCH: usize = 45;
/// How often a frame of them is sent.
const PAUSE: Duration = Duration::from_secs(5);

/// Lines that wait to be sent.
#[derive(Debug)]
pub(super) struct Log {
    ships: bool,
    lines: VecDeque<LogLine>,
    left_out: u64,
    seq: u64,
    next: Option<Timestamp>,
}

impl Log {
    pub(super) const fn new(ships: bool) -> Self {
        Self {
            ships,
            lines: VecDeque::new(),
            left_out: 0,
            seq: 0,
            next: None,
        }
    }

    /// A session has begun.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.seq = 0;
        self.next = Some(now.after(PAUSE));
    }

    /// Something happened.
    pub(super) fn note(
        &mut self,
        time: Timestamp,
        level: LogLevel,
        job_id: Option<JobId>,
        message: &'static str,
        fields: impl IntoIterator<Item = (&'static str, LogField)>,
    ) {
        if !self.ships {
            return;
        }
        if self.lines.len() >= MOST_WAITING {
            self.left_out += 1;
            return;
        }
        let fields = fields.into_iter().map(|(name, field)| (name.to_owned(), field));
        self.lines.push_back(LogLine {
            time,
            level,
            job_id,
            message: message.to_owned(),
            fields: fields.collect(),
        });
    }

    /// A job is over: its signed end, encoded.
    pub(super) fn ended(&mut self, now: Timestamp, (job, attempt): JobKey, since: Timestamp, frame: &Text) {
        if !self.ships {
            return;
        }
        let took = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
        let mut fields = vec![
            ("attempt", LogField::from(u64::from(attempt.get()))),
            ("duration_ms", LogField::from(took)),
        ];
        // A result may be long, and is not read again; a failure is short. Its message stays here.
        if frame.starts_with(r#"{"type":"failed""#) {
            if let Ok(NodeFrame::Failed(failed)) = NodeFrame::parse(frame) {
                fields.push(("code", LogField::from(failed.code.as_str())));
            }
            self.note(now, LogLevel::Warn, Some(job), "a job failed", fields);
        } else if self.lines.len() < MOST_WITH_SUCCESSES {
            self.note(now, LogLevel::Info, Some(job), "a job is done", fields);
        }
    }

    /// What the node can do has changed.
    pub(super) fn offered(&mut self, now: Timestamp, before: &Offer, after: &Offer) {
        if before.config_digest != after.config_digest
            && let Some(digest) = after.config_digest
        {
            let digest = LogField::Text(digest.to_string());
            self.note(
                now,
                LogLevel::Info,
                None,
                "a configuration snapshot is in force",
                [("digest", digest)],
            );
        }
        if before.runtime.healthy != after.runtime.healthy {
            let (level, message) = if after.runtime.healthy {
                (LogLevel::Info, "the Runtime works")
            } else {
                (LogLevel::Error, "the Runtime does not work")
            };
            self.note(now, level, None, message, []);
        }
        let is_active = |offer: &Offer, id: &str| {
            let mut models = offer.models.iter();
            models.any(|model| model.id == id && model.state == ModelState::Active)
        };
        let all = before.models.iter().chain(&after.models);
        let mut names: Vec<&str> = all.map(|model| model.id.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let (level, message) = match (is_active(before, name), is_active(after, name)) {
                (false, true) => (LogLevel::Info, "a model can be asked"),
                (true, false) => (LogLevel::Warn, "a model cannot be asked any more"),
                _ => continue,
            };
            self.note(now, level, None, message, [("model", LogField::from(name))]);
        }
    }
}

impl Session {
    /// When lines are to be sent.
    pub(super) fn next_log(&self) -> Option<Timestamp> {
        let is_due = matches!(self.phase, Phase::Live(_)) && !self.log.lines.is_empty();
        self.log.next.filter(|_| is_due)
    }

    /// Sends lines, now and then.
    pub(super) fn ship(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.next_log().is_none_or(|next| now < next) {
            return;
        }
        let (Phase::Live(live), Some(domain)) = (&self.phase, &self.domain) else {
            return;
        };
        let session = live.session;
        let left_out = std::mem::take(&mut self.log.left_out);
        if left_out > 0 {
            // Some wait, so there is room once these are gone.
            self.log.lines.pop_back();
            let fields = [("lines", LogField::from(left_out + 1))];
            self.log
                .note(now, LogLevel::Warn, None, "lines of this log were left out", fields);
        }
        let rest = self.log.lines.split_off(self.log.lines.len().min(BATCH));
        let lines = std::mem::replace(&mut self.log.lines, rest);
        self.log.seq += 1;
        self.log.next = Some(now.after(PAUSE));
        let batch = signed::log(&self.about, domain, (session, self.log.seq), lines, now);
        out.push(Output::Send(batch.into()));
    }
}
