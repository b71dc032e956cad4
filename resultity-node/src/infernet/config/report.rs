//! What is said of a configuration: what is wrong with it, what is not used and why.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

/// Something that the operator should know of a configuration that is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Note {
    /// How much it matters.
    pub level: NoteLevel,
    /// Which key, such as `containers[2].port`.
    pub path: String,
    /// What there is to know.
    pub message: String,
}

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NoteLevel {
    /// Something is not as in the original node, and nothing is lost.
    Note,
    /// Something is likely not as it was meant.
    Warning,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Something that is wrong in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// Where: a key such as `containers[2].port`, or `line 3, column 9`.
    pub path: String,
    /// What was expected, and what was found.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Everything that is wrong in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigErrors {
    /// What must be put right; never empty.
    pub problems: Vec<Problem>,
    /// What else there is to know.
    pub notes: Vec<Note>,
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    /// One problem a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// What is gathered while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
    notes: RefCell<Vec<Note>>,
    /// The keys that mean something, without indices: `containers[].port`.
    known: RefCell<BTreeSet<String>>,
    unknown: RefCell<Vec<String>>,
}

impl Report {
    pub(super) fn problem(&self, path: impl Into<String>, message: impl Into<String>) {
        let path = path.into();
        self.problems.borrow_mut().push(Problem {
            path: if path.is_empty() { "the file".to_owned() } else { path },
            message: message.into(),
        });
    }

    pub(super) fn note(&self, path: impl Into<String>, message: impl Into<String>) {
        self.say(NoteLevel::Note, path.into(), message.into());
    }

    pub(super) fn warning(&self, path: impl Into<String>, message: impl Into<String>) {
        self.say(NoteLevel::Warning, path.into(), message.into());
    }

    fn say(&self, level: NoteLevel, path: String, message: String) {
        self.notes.borrow_mut().push(Note { level, path, message });
    }

    /// A key that means something.
    pub(super) fn known(&self, path: &str) {
        self.known.borrow_mut().insert(without_indices(path));
    }

    #[cfg(test)]
    pub(super) fn known_keys(&self) -> Vec<String> {
        self.known.borrow().iter().cloned().collect()
    }

    /// A key that was found and means nothing.
    pub(super) fn unknown(&self, path: String) {
        self.unknown.borrow_mut().push(path);
    }

    /// What was gathered.
    pub(super) fn end<T>(self, read: Option<T>) -> Result<(T, Vec<Note>), ConfigErrors> {
        let (known, unknown) = (self.known.take(), self.unknown.take());
        for path in unknown {
            let meant = nearest(&without_indices(&path), &known);
            let meant = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
            self.warning(path, format!("unknown key, not used{meant}"));
        }
        let (problems, notes) = (self.problems.into_inner(), self.notes.into_inner());
        match read {
            Some(read) if problems.is_empty() => Ok((read, notes)),
            _ => Err(ConfigErrors { problems, notes }),
        }
    }
}

/// `containers[2].port` as `containers[].port`.
fn without_indices(path: &str) -> String {
    let mut kept = String::with_capacity(path.len());
    let mut inside = false;
    for character in path.chars() {
        inside &= character != ']';
        if !inside {
            kept.push(character);
        }
        inside |= character == '[';
    }
    kept
}

/// The known key that is most like this one: in the same section, or else of that name in another section.
fn nearest<'a>(path: &str, known: &'a BTreeSet<String>) -> Option<&'a str> {
    let (section, key) = split(path);
    let key = key.to_lowercase();
    let near = known.iter().filter(|known| split(known).0 == section);
    let near = near.map(|known| (strsim::damerau_levenshtein(&key, split(known).1), known));
    let near = near.min_by_key(|(distance, _)| *distance);
    let near = near.filter(|(distance, _)| *distance <= 1.max(key.len() / 3));
    let elsewhere = || known.iter().find(|known| split(known).1 == key);
    near.map(|(_, known)| known).or_else(elsewhere).map(String::as_str)
}

/// The section and the key of a path.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("containers[].extrenal", Some("containers[].external"))]
    #[case("containers[].allowed_ip", Some("containers[].allowed_ips"))]
    #[case("rate_limit", Some("server.rate_limit"))]
    #[case("sever", Some("server"))]
    #[case("Server", Some("server"))]
    #[case("colour", None)]
    fn an_unknown_key_is_likened_to_a_known_one(#[case] unknown: &str, #[case] meant: Option<&str>) {
        let known = [
            "server",
            "server.rate_limit",
            "containers[].external",
            "containers[].allowed_ips",
        ];
        let known = known.into_iter().map(str::to_owned).collect();
        assert_eq!(nearest(unknown, &known), meant);
    }

    #[test]
    fn indices_don_t_count() {
        assert_eq!(
            without_indices("containers[12].volumes[0].x"),
            "containers[].volumes[].x"
        );
    }
}
