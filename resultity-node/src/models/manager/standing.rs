//! Where models stand, for people and programs.

use std::fmt;
use std::path::PathBuf;

use resultity_core::clock::Timestamp;
use resultity_core::model::ModelState;
use serde::{Deserialize, Serialize};

/// Why a model that the network lists is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeftOut {
    /// The node is to serve others.
    NotChosen,
    /// It was removed here by hand.
    Removed,
    /// It does not fit into the memory beside the others.
    Memory,
    /// It does not fit on the disk beside the others.
    Disk,
}

impl LeftOut {
    /// The same for people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::NotChosen => "this node is to serve others",
            Self::Removed => "it was removed here; `resultity-node models fetch` brings it back",
            Self::Memory => "it needs more memory than models may take here",
            Self::Disk => "it needs more room on the disk than models may take here",
        }
    }
}

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TroubleKind {
    /// No source could be reached, or none has it.
    Source,
    /// What came is something else, and lies in quarantine.
    Mismatch,
    /// The disk is full.
    DiskFull,
    /// Something else of this machine.
    Machine,
    /// The engine can't load it.
    Load,
    /// It did not answer its test prompt.
    Test,
}

/// What went wrong with a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Which kind of thing.
    pub kind: TroubleKind,
    /// For people.
    pub message: String,
}

impl Trouble {
    /// Something went wrong.
    pub fn new(kind: TroubleKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
        }
    }
}

/// A model of the node, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelStanding {
    /// Its name in the snapshot.
    pub name: String,
    /// Its version there.
    pub version: String,
    /// Where it stands.
    pub state: ModelState,
    /// What is being done to it: `fetching`, `loading` or `testing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doing: Option<String>,
    /// Bytes of its files.
    pub size: u64,
    /// Bytes of them that are here, while they are fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<u64>,
    /// Where its files are, as far as they are here.
    pub paths: Vec<PathBuf>,
    /// Why it is not served, if it was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
    /// What went wrong, until it is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// When it is tried or tested next: milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
}

impl ModelStanding {
    /// One of this name and version, of which nothing else is known.
    pub fn new(name: impl Into<String>, version: impl Into<String>, state: ModelState) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            state,
            doing: None,
            size: 0,
            fetched: None,
            paths: Vec::new(),
            left_out: None,
            trouble: None,
            next_at: None,
        }
    }
}
