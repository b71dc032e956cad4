//! What a configuration would do: `resultity-node infernet --check`.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::report::{Note, NoteLevel, Problem};
use super::settings::{OnRestart, Settings};
use super::{ConfigFileError, Overrides, load};

/// What a file would do, or what is wrong with it. Shows no secrets.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// The file.
    pub config: PathBuf,
    /// Whether it can be used.
    pub valid: bool,
    /// What the node would do.
    #[serde(flatten)]
    pub plan: Option<Plan>,
    /// What must be put right.
    pub errors: Vec<Problem>,
    /// What else there is to know.
    pub notes: Vec<Note>,
}

/// What a node would do.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Requests of one address to one route in `rate_limit_seconds`.
    pub rate_limit_requests: u32,
    /// In which time.
    pub rate_limit_seconds: f64,
    /// Where the results are kept.
    pub results: PathBuf,
    /// How long: seconds.
    pub keep_results_seconds: f64,
    /// What becomes of the jobs that a stop interrupts: `fail` or `rerun`.
    pub on_restart: &'static str,
    /// Where the log is written, beside the terminal.
    pub log: Option<PathBuf>,
    /// Its containers.
    pub containers: Vec<CheckedContainer>,
}

/// A container of a node that would run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CheckedContainer {
    /// Its id.
    pub id: String,
    /// Where it answers.
    pub url: String,
    /// Whether a Docker engine starts it.
    pub started: bool,
    /// The image.
    pub image: String,
    /// Whether it can be the first one of a job.
    pub external: bool,
    /// Whether it can prove what it computed.
    pub generates_proofs: bool,
    /// Whether only some may use it.
    pub restricted: bool,
    /// Whether a bearer token is sent to it.
    pub bearer: bool,
    /// The model that it is for the network.
    pub model: Option<String>,
}

impl Check {
    /// Reads a file, and nothing else: no engine or container is asked.
    pub fn of(path: &Path, overrides: &Overrides) -> Self {
        let (plan, errors, notes) = match load(path, overrides) {
            Ok((settings, notes)) => (Some(Plan::of(&settings)), Vec::new(), notes),
            Err(ConfigFileError::Invalid { errors, .. }) => (None, errors.problems, errors.notes),
            Err(ConfigFileError::Read { source, .. }) => {
                let problem = Problem {
                    path: path.display().to_string(),
                    message: format!("cannot be read: {source}"),
                };
                (None, vec![problem], Vec::new())
            }
        };
        Self {
            config: path.to_owned(),
            valid: plan.is_some(),
            plan,
            errors,
            notes,
        }
    }
}

impl Plan {
    fn of(settings: &Settings) -> Self {
        let containers = settings.containers.iter().map(|container| CheckedContainer {
            id: container.id.clone(),
            url: container.url.to_string(),
            started: settings.docker.is_some() && container.port.is_some(),
            image: container.image.clone(),
            external: container.external,
            generates_proofs: container.generates_proofs,
            restricted: !container.allowed_ips.is_empty(),
            bearer: container.bearer.is_some(),
            model: container.model.as_ref().map(|model| model.name.clone()),
        });
        Self {
            listen: settings.listen,
            rate_limit_requests: settings.rate_limit.requests,
            rate_limit_seconds: settings.rate_limit.period.as_secs_f64(),
            results: settings.results.path.clone(),
            keep_results_seconds: settings.results.keep_for.as_secs_f64(),
            on_restart: match settings.results.on_restart {
                OnRestart::Fail => "fail",
                OnRestart::Rerun => "rerun",
            },
            log: settings.log.as_ref().map(|log| log.path.clone()),
            containers: containers.collect(),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.config.display();
        match &self.plan {
            Some(plan) => write!(f, "{config} can be used.\n\n{plan}")?,
            None => writeln!(f, "{config} cannot be used.")?,
        }
        let of = |level| self.notes.iter().filter(move |note| note.level == level);
        let said = |notes: Vec<&Note>| notes.into_iter().map(ToString::to_string).collect();
        let parts: [(&str, Vec<String>); 3] = [
            ("Errors", self.errors.iter().map(ToString::to_string).collect()),
            ("Warnings", said(of(NoteLevel::Warning).collect())),
            ("Notes", said(of(NoteLevel::Note).collect())),
        ];
        for (title, lines) in parts.into_iter().filter(|(_, lines)| !lines.is_empty()) {
            writeln!(f, "\n{title}:")?;
            for line in lines {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Listens on  {}", self.listen)?;
        let (requests, seconds) = (self.rate_limit_requests, self.rate_limit_seconds);
        writeln!(
            f,
            "Rate limit  {requests} requests in {seconds} s, per address and route"
        )?;
        let days = self.keep_results_seconds / 86_400.0;
        writeln!(f, "Results     {}, for {days} days", self.results.display())?;
        if let Some(log) = &self.log {
            writeln!(f, "Log         {}, and the terminal", log.display())?;
        }
        writeln!(f, "Containers  {}", self.containers.len())?;
        let width = self
            .containers
            .iter()
            .map(|container| container.id.chars().count())
            .max();
        for container in &self.containers {
            let (id, url, width) = (&container.id, &container.url, width.unwrap_or_default());
            write!(f, "  {id:width$}  {url}")?;
            if container.started {
                write!(f, "  started from {}", container.image)?;
            }
            let marks = [
                (!container.external, "only inside pipelines"),
                (container.generates_proofs, "proofs"),
                (container.restricted, "for some addresses only"),
                (container.bearer, "with a bearer token"),
            ];
            for (_, mark) in marks.into_iter().filter(|(holds, _)| *holds) {
                write!(f, ", {mark}")?;
            }
            if let Some(model) = &container.model {
                write!(f, ", the model {model} of the network")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
