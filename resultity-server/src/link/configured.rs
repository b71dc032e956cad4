//! A new snapshot comes into force while a node is linked.

use std::time::Duration;

use resultity_core::model::{ModelSpec, ModelState};
use resultity_core::wire::{Config, EngineInfo, NodeModel};

use crate::link::actor::Actor;

impl Actor {
    /// Tells the node, and takes away what it can't be asked any more: models that are gone, or are to be tested anew.
    pub(super) fn configured(&mut self) {
        let current = self.flow.current();
        self.send(Config { digest: current.digest });
        let before = std::mem::replace(&mut self.snapshot, self.flow.snapshot());
        let is_same = |name: &String| match (listed(&before.models, name), listed(&self.snapshot.models, name)) {
            (Some(old), Some(new)) => is_tested_alike(old, new),
            _ => false,
        };
        self.ready.retain(is_same);
        self.failed.retain(|name, _| is_same(name));
        self.route();
        self.test_models();
        self.publish();
    }

    /// How often the node reports. A new interval counts once the node says that it has the snapshot with it.
    pub(super) fn adopt_interval(&mut self) {
        let current = self.flow.current();
        if self.view.config_digest == Some(current.digest) {
            self.interval = Duration::from_millis(current.snapshot.heartbeat_interval_ms);
        }
    }

    /// The models that the node says it can be asked, as the snapshot in force has them, if what makes the answers is new
    /// enough for it.
    pub(super) fn offered(&self) -> impl Iterator<Item = &ModelSpec> {
        let active = self.models.iter().filter(|model| model.state == ModelState::Active);
        let able = active.filter(|model| self.too_old(model).is_none());
        able.filter_map(|model| listed(&self.snapshot.models, &model.id).filter(|spec| is_this(model, spec)))
    }

    /// The version that the model's engine has to have and does not. A node that names no engine has one of its Runtime's
    /// kind.
    pub(super) fn too_old(&self, model: &NodeModel) -> Option<(EngineInfo, &str)> {
        let runtime = &self.view.runtime;
        let engine = model.engine.clone().unwrap_or_else(|| EngineInfo {
            name: runtime.kind.clone(),
            version: runtime.version.clone(),
        });
        let least = self.snapshot.too_old(&engine)?;
        Some((engine, least))
    }
}

/// The entry of this name; aliases do not count.
pub(super) fn listed<'a>(models: &'a [ModelSpec], name: &str) -> Option<&'a ModelSpec> {
    models.iter().find(|model| model.name == name)
}

/// Whether what the node has is what the snapshot means by the name: it may be about to fetch another version.
pub(super) fn is_this(model: &NodeModel, spec: &ModelSpec) -> bool {
    let pinned = spec.files.first().map(|file| &file.sha256);
    let same_file = pinned.is_none() || model.digest.is_none() || model.digest.as_ref() == pinned;
    model.version == spec.version && same_file
}

/// Whether a test of one tells of the other: prices and names apart, they are the same.
pub(super) fn is_tested_alike(one: &ModelSpec, other: &ModelSpec) -> bool {
    let tested = |spec: &ModelSpec| ModelSpec {
        price: resultity_core::credits::Price::default(),
        aliases: Vec::new(),
        default_max_tokens: 0,
        ..spec.clone()
    };
    tested(one) == tested(other)
}
