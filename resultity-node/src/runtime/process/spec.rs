//! What is run as an engine, and how.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::supervisor::Patience;

/// How much an engine is shut in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Isolation {
    /// It does not start unless it has no network, sees no files but its own, and has no way to other programs.
    Required,
    /// As far as the system allows; what it does not allow is said.
    #[default]
    BestEffort,
    /// Not at all: it runs as any program of this user does, with a cleared environment.
    None,
}

/// Where an engine listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listen {
    /// On a Unix socket, `{socket}`, in a folder that only this user can enter.
    Socket,
    /// On a port of loopback, `{host}` and `{port}`. In a sandbox that port is in a network of its own, and the sandbox passes
    /// a Unix socket on to it.
    Port,
}

/// An engine as a process: what is run, how it is asked, what it may touch.
///
/// Arguments and values of the environment may hold placeholders: `{model}` (the file or folder), `{name}` (the model's
/// name), `{socket}`, `{host}`, `{port}`, `{context}` (tokens of one request), `{slots}`, `{total_context}` (both multiplied),
/// `{work}` (the one folder that it may write to).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProcessSpec {
    /// What it is, in a word, such as `llama-server`.
    pub kind: &'static str,
    /// The program: a path, or a name that is looked up in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment; all else is cleared.
    pub environment: BTreeMap<String, String>,
    /// Variables of our own environment that it gets too, such as `CUDA_VISIBLE_DEVICES`.
    pub inherited: Vec<String>,
    /// The model's file or folder, which it can read.
    pub model: Option<PathBuf>,
    /// The name by which it is asked for the model.
    pub name: Option<String>,
    /// Prompt and answer of one request together, in tokens.
    pub context: u64,
    /// How many requests it works on at once.
    pub slots: u32,
    /// Where it listens.
    pub listen: Listen,
    /// The variable in which it gets the key that it then wants as a bearer token; a new random one for each start.
    pub key_variable: Option<&'static str>,
    /// What is asked to see whether it is well, such as `/health`.
    pub health_path: String,
    /// How patient we are with it.
    pub patience: Patience,
    /// How much it is shut in.
    pub isolation: Isolation,
    /// The program that shuts it in: one that calls [`take_over`](super::sandbox::take_over) first of all, as
    /// `resultity-node` does. Without one nothing shuts it in.
    pub sandbox: Option<PathBuf>,
    /// What else it may read and run: files, or folders with all that is in them.
    pub readable: Vec<PathBuf>,
    /// What else it may write to.
    pub writable: Vec<PathBuf>,
    /// Whether it opens connections to itself: then loopback stays open to it.
    pub uses_loopback: bool,
    /// The largest file that it may write: bytes.
    pub max_file_bytes: Option<u64>,
}

/// Why a [`ProcessSpec`] can't be run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecError {
    /// The program is not there.
    #[error("{0:?} is no program: give its path, or the name of one in PATH")]
    NoProgram(PathBuf),
    /// The model's file is not there.
    #[error("the model {} cannot be read: {reason}", .path.display())]
    NoModel {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// An argument needs what was not given.
    #[error("{argument:?} needs {needs}")]
    Missing {
        /// The argument.
        argument: String,
        /// What it needs, such as `a model`.
        needs: &'static str,
    },
}

impl ProcessSpec {
    /// Any program that speaks OpenAI's API.
    pub fn new(program: impl Into<PathBuf>, listen: Listen) -> Self {
        Self {
            kind: "process",
            program: program.into(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            inherited: Vec::new(),
            model: None,
            name: None,
            context: 4096,
            slots: 1,
            listen,
            key_variable: None,
            health_path: "/health".to_owned(),
            patience: Patience::default(),
            isolation: Isolation::default(),
            sandbox: None,
            readable: Vec::new(),
            writable: Vec::new(),
            uses_loopback: listen == Listen::Port,
            max_file_bytes: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: Into<String>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Sets the model: its file or folder, and its name.
    #[must_use]
    pub fn model(mut self, path: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        self.model = Some(path.into());
        self.name = Some(name.into());
        self
    }

    /// Sets how many requests it works on at once, and how many tokens each may have, prompt and answer together.
    #[must_use]
    pub fn slots(mut self, slots: u32, context: u64) -> Self {
        self.slots = slots.max(1);
        self.context = context.max(1);
        self
    }

    /// Sets how patient we are with it.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Sets how much it is shut in.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Sets the program that shuts it in; see [`ProcessSpec::sandbox`](#structfield.sandbox).
    #[must_use]
    pub fn sandbox(mut self, program: impl Into<PathBuf>) -> Self {
        self.sandbox = Some(program.into());
        self
    }
}

/// A [`ProcessSpec`] with the values of one start.
#[derive(Debug, Clone)]
pub(super) struct Filled {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) model: Option<PathBuf>,
}

/// What a start gives to the placeholders.
#[derive(Debug)]
pub(super) struct Places<'a> {
    pub(super) socket: &'a Path,
    pub(super) port: u16,
    pub(super) work: &'a Path,
}

impl ProcessSpec {
    /// Finds program and model and fills in the placeholders.
    pub(super) fn fill(&self, places: &Places<'_>) -> Result<Filled, SpecError> {
        let program = find(&self.program).ok_or_else(|| SpecError::NoProgram(self.program.clone()))?;
        let model = self.model.as_ref().map(|path| {
            std::fs::canonicalize(path).map_err(|error| SpecError::NoModel {
                path: path.clone(),
                reason: error.to_string(),
            })
        });
        let model = model.transpose()?;
        let fill = |text: &String| self.filled(text, model.as_deref(), places);
        let arguments = self.arguments.iter().map(fill).collect::<Result<_, _>>()?;
        let mut environment = BTreeMap::new();
        let inherited = self.inherited.iter().map(String::as_str);
        for name in ["PATH", "LANG", "TZ"].into_iter().chain(inherited) {
            if let Ok(value) = std::env::var(name) {
                environment.insert(name.to_owned(), value);
            }
        }
        let work = places.work.display().to_string();
        for name in ["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            environment.insert(name.to_owned(), work.clone());
        }
        for (name, value) in &self.environment {
            environment.insert(name.clone(), fill(value)?);
        }
        Ok(Filled {
            program,
            arguments,
            environment,
            model,
        })
    }

    /// A text with its placeholders filled in. Other braces stay: arguments may hold JSON.
    fn filled(&self, text: &str, model: Option<&Path>, places: &Places<'_>) -> Result<String, SpecError> {
        let values = [
            ("{model}", model.map(|path| path.display().to_string()), "a model"),
            ("{name}", self.name.clone(), "the name of a model"),
            ("{socket}", Some(places.socket.display().to_string()), "a socket"),
            ("{host}", Some("127.0.0.1".to_owned()), "a host"),
            ("{port}", Some(places.port.to_string()), "a port"),
            ("{context}", Some(self.context.to_string()), "a context"),
            ("{slots}", Some(self.slots.to_string()), "slots"),
            (
                "{total_context}",
                Some(self.context.saturating_mul(self.slots.into()).to_string()),
                "a context",
            ),
            ("{work}", Some(places.work.display().to_string()), "a folder"),
        ];
        let mut filled = text.to_owned();
        for (place, value, needs) in values {
            if text.contains(place) {
                let value = value.ok_or_else(|| SpecError::Missing {
                    argument: text.to_owned(),
                    needs,
                })?;
                filled = filled.replace(place, &value);
            }
        }
        Ok(filled)
    }
}

/// The path of a program, links followed: what is looked up in `PATH` is a name alone.
fn find(program: &Path) -> Option<PathBuf> {
    let is_name = program.components().count() == 1 && !program.as_os_str().is_empty() && !program.is_absolute();
    let candidates: Vec<PathBuf> = if is_name {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|folder| folder.join(program))
            .collect()
    } else {
        vec![program.to_owned()]
    };
    // The name stays as it is, since some programs look at the name that they are called by; the folder is resolved.
    candidates.into_iter().find(|path| is_program(path)).and_then(|path| {
        let folder = std::fs::canonicalize(path.parent()?).ok()?;
        Some(folder.join(path.file_name()?))
    })
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = std::fs::metadata(path);
    metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn places<'a>() -> Places<'a> {
        Places {
            socket: Path::new("/run/e.sock"),
            port: 81,
            work: Path::new("/w"),
        }
    }

    #[rstest]
    #[case("--ctx={total_context}", Ok("--ctx=4000"))]
    #[case("{host}:{port} {socket}", Ok("127.0.0.1:81 /run/e.sock"))]
    #[case(r#"{"slots":{slots},"x":{}}"#, Ok(r#"{"slots":4,"x":{}}"#))]
    #[case("{name}", Err("\"{name}\" needs the name of a model"))]
    #[case("{model}", Err("\"{model}\" needs a model"))]
    fn placeholders_are_filled_in(#[case] text: &str, #[case] expected: Result<&str, &str>) {
        let spec = ProcessSpec::new("sh", Listen::Socket).slots(4, 1000).args([text]);
        let filled = spec.fill(&places()).map_err(|error| error.to_string());
        let argument = filled.map(|filled| filled.arguments[0].clone());
        assert_eq!(argument.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn the_environment_is_what_was_named() {
        let spec = ProcessSpec::new("sh", Listen::Socket).env("SLOTS", "{slots}");
        let filled = spec.fill(&places()).unwrap();
        assert_eq!(
            (&*filled.environment["SLOTS"], &*filled.environment["HOME"]),
            ("1", "/w")
        );
        assert!(!filled.environment.contains_key("CARGO_MANIFEST_DIR"));
    }

    #[test]
    fn what_is_not_there_is_said() {
        let no_program = ProcessSpec::new("no-such-program-anywhere", Listen::Socket);
        assert!(matches!(no_program.fill(&places()), Err(SpecError::NoProgram(_))));
        let no_model = ProcessSpec::new("sh", Listen::Socket).model("/no/model", "m");
        assert!(matches!(no_model.fill(&places()), Err(SpecError::NoModel { .. })));
    }
}
