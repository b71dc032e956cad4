//! What a snapshot has to be before anyone acts on it.

use std::collections::{BTreeMap, HashSet};

use crate::capability::Capability;
use crate::credits::Credits;
use crate::model::{ModelFile, ModelKind, ModelSpec};
use crate::raw_json::RawJson;
use crate::snapshot::{JobParameters, Snapshot};
use crate::version::Version;

/// The most Runtimes that have a least version.
const MOST_RUNTIMES: usize = 100;

/// A snapshot that nobody should act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct InvalidSnapshot {
    /// The field, as a path such as `models[0].files[1].name`.
    pub path: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

fn require(holds: bool, path: impl Into<String>, problem: &'static str) -> Result<(), InvalidSnapshot> {
    if holds {
        Ok(())
    } else {
        Err(InvalidSnapshot {
            path: path.into(),
            problem,
        })
    }
}

pub(super) fn validate(snapshot: &Snapshot) -> Result<(), InvalidSnapshot> {
    require(snapshot.version > 0, "version", "must be above 0")?;
    require(
        snapshot.issued_at.as_millis() >= 0,
        "issued_at",
        "must not be before 1970",
    )?;
    require(
        snapshot.rolls_back != Some(snapshot.version),
        "rolls_back",
        "must be another version",
    )?;
    require(
        snapshot.heartbeat_interval_ms > 0,
        "heartbeat_interval_ms",
        "must be above 0",
    )?;
    jobs(&snapshot.jobs)?;

    let mut names = HashSet::new();
    for (index, spec) in snapshot.models.iter().enumerate() {
        let path = format!("models[{index}]");
        for name in std::iter::once(&spec.name).chain(&spec.aliases) {
            require(!name.is_empty(), &path, "has an empty name or alias")?;
            require(names.insert(name), &path, "has a name or alias that is used before")?;
        }
        model(spec, &path)?;
    }
    for (name, until) in &snapshot.retiring {
        let path = format!("retiring[{name}]");
        let is_model = snapshot.models.iter().any(|model| model.name == *name);
        require(is_model, &path, "is no model of this snapshot")?;
        require(until.as_millis() >= 0, &path, "must not be before 1970")?;
    }
    let core = snapshot.min_agent_version.split(['-', '+']).next().unwrap_or_default();
    let is_version = core.split('.').all(|part| part.parse::<u32>().is_ok());
    require(is_version, "min_agent_version", "must be a version such as 0.1.0")?;
    runtimes(&snapshot.min_runtime_versions)
}

fn runtimes(least: &BTreeMap<String, String>) -> Result<(), InvalidSnapshot> {
    require(
        least.len() <= MOST_RUNTIMES,
        "min_runtime_versions",
        "must name at most 100 Runtimes",
    )?;
    for (name, version) in least {
        let path = format!("min_runtime_versions[{name}]");
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
        require(
            is_name,
            &path,
            "must be named by 1 to 64 printable ASCII characters without spaces",
        )?;
        require(
            version.len() <= 64 && Version::parse(version).is_some(),
            &path,
            "must be a version such as 0.6.3, b4567 or 2024-11-05",
        )?;
    }
    Ok(())
}

fn jobs(jobs: &JobParameters) -> Result<(), InvalidSnapshot> {
    for (name, interval) in [
        ("jobs.deadline_ms", jobs.deadline_ms),
        ("jobs.queue_ttl_ms", jobs.queue_ttl_ms),
        ("jobs.lease_ms", jobs.lease_ms),
        ("jobs.accept_timeout_ms", jobs.accept_timeout_ms),
        ("jobs.max_attempts", jobs.max_attempts.into()),
    ] {
        require(interval > 0, name, "must be above 0")?;
    }
    require(
        jobs.node_share <= 10_000,
        "jobs.node_share",
        "must be at most 10000 basis points",
    )
}

fn model(spec: &ModelSpec, path: &str) -> Result<(), InvalidSnapshot> {
    let field = |name: &str| format!("{path}.{name}");
    require(!spec.version.is_empty(), field("version"), "must not be empty")?;
    let has_tokens = spec.kind != ModelKind::Container;
    for (name, tokens) in [
        ("context_length", spec.context_length),
        ("default_max_tokens", spec.default_max_tokens),
    ] {
        require(!has_tokens || tokens > 0, field(name), "must be above 0")?;
        require(
            has_tokens || tokens == 0,
            field(name),
            "must be 0 for a model of kind container, which has no tokens",
        )?;
    }
    require(
        spec.default_max_tokens <= spec.context_length,
        field("default_max_tokens"),
        "must be at most context_length",
    )?;
    require(
        !spec.test_prompt.trim().is_empty(),
        field("test_prompt"),
        "must not be empty",
    )?;
    for (name, price) in [
        ("price.input_per_million", spec.price.input_per_million),
        ("price.output_per_million", spec.price.output_per_million),
        ("price.per_request", spec.price.per_request),
    ] {
        require(price >= Credits::ZERO, field(name), "must not be negative")?;
    }
    // Names that this version does not know are fine: they belong to models for later ones.
    let mut capabilities = HashSet::new();
    for (index, name) in spec.capabilities.iter().enumerate() {
        let path = format!("{path}.capabilities[{index}]");
        require(!name.is_empty(), &path, "must not be empty")?;
        require(capabilities.insert(name), &path, "is named before")?;
    }
    match spec.kind {
        ModelKind::Gguf => require(!spec.files.is_empty(), field("files"), "must hold the GGUF file")?,
        ModelKind::Safetensors => require(
            spec.files.len() == 3,
            field("files"),
            "must hold the safetensors, tokenizer.json and config.json",
        )?,
        ModelKind::External => {
            require(
                spec.files.is_empty(),
                field("files"),
                "must be empty for a model of kind external",
            )?;
        }
        ModelKind::Container => {
            require(
                spec.files.is_empty(),
                field("files"),
                "must be empty for a model of kind container",
            )?;
            container(spec, path)?;
        }
    }
    require(
        spec.kind == ModelKind::Container || !spec.can(Capability::Container),
        field("capabilities"),
        "must name container for a model of that kind alone",
    )?;
    let mut names = HashSet::new();
    for (index, file) in spec.files.iter().enumerate() {
        let path = format!("{path}.files[{index}]");
        require(names.insert(&file.name), format!("{path}.name"), "is used before")?;
        model_file(file, &path)?;
    }
    Ok(())
}

/// A container takes and gives JSON of its own, and is paid by the request.
fn container(spec: &ModelSpec, path: &str) -> Result<(), InvalidSnapshot> {
    let field = |name: &str| format!("{path}.{name}");
    require(
        spec.can(Capability::Container),
        field("capabilities"),
        "must name container for a model of that kind",
    )?;
    let others = [Capability::Chat, Capability::Completions, Capability::Embeddings];
    require(
        !others.into_iter().any(|other| spec.can(other)),
        field("capabilities"),
        "must not name chat, completions or embeddings for a model of kind container",
    )?;
    for (name, price) in [
        ("price.input_per_million", spec.price.input_per_million),
        ("price.output_per_million", spec.price.output_per_million),
    ] {
        require(
            price == Credits::ZERO,
            field(name),
            "must be 0 for a model of kind container: its price is per_request",
        )?;
    }
    let data = spec.test_prompt.parse::<RawJson>();
    require(
        data.is_ok_and(|data| data.is_object() && data.compact().is_some()),
        field("test_prompt"),
        "must be a JSON object for a model of kind container",
    )
}

/// A node writes the file under this name: it must not leave the model's directory, on any system.
fn model_file(file: &ModelFile, path: &str) -> Result<(), InvalidSnapshot> {
    let plain = !file.name.is_empty()
        && !file.name.starts_with('.')
        && !file
            .name
            .chars()
            .any(|char| char.is_control() || matches!(char, '/' | '\\' | ':'));
    require(
        plain,
        format!("{path}.name"),
        "must be a plain file name without directories, not starting with a dot",
    )?;
    let digest = file.sha256.len() == 64
        && file
            .sha256
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    require(
        digest,
        format!("{path}.sha256"),
        "must be 64 lower-case hexadecimal digits",
    )?;
    require(file.size > 0, format!("{path}.size"), "must be above 0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::snapshot::signed::tests::snapshot;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[test]
    fn a_good_one_passes() {
        assert_eq!(snapshot(3).validate(), Ok(()));
    }

    #[test]
    fn only_its_own_models_retire() {
        for (name, wrong) in [
            ("demo", None),
            ("tiny", Some("retiring[tiny]")),
            ("x", Some("retiring[x]")),
        ] {
            let mut snapshot = snapshot(3);
            snapshot.retiring.insert(name.into(), Timestamp::from_millis(1));
            assert_eq!(snapshot.validate().err().map(|invalid| invalid.path).as_deref(), wrong);
        }
    }

    #[rstest]
    #[case("llama-server", "b4567", true)]
    #[case("embedded", "0.3.0", true)]
    #[case("x", "2024-11-05", true)]
    #[case("x", "", false)]
    #[case("x", "new", false)]
    #[case("", "1", false)]
    #[case("my engine", "1", false)]
    fn least_versions_of_runtimes_can_be_compared(#[case] name: &str, #[case] version: &str, #[case] good: bool) {
        let mut snapshot = snapshot(3);
        snapshot.min_runtime_versions.insert(name.into(), version.into());
        let path = format!("min_runtime_versions[{name}]");
        let expected = if good { None } else { Some(path) };
        assert_eq!(snapshot.validate().err().map(|invalid| invalid.path), expected);
    }

    #[rstest]
    #[case("/version", json!(0), "version")]
    #[case("/issued_at", json!(-1), "issued_at")]
    #[case("/rolls_back", json!(3), "rolls_back")]
    #[case("/heartbeat_interval_ms", json!(0), "heartbeat_interval_ms")]
    #[case("/min_agent_version", json!(""), "min_agent_version")]
    #[case("/min_agent_version", json!("new"), "min_agent_version")]
    #[case("/jobs/deadline_ms", json!(0), "jobs.deadline_ms")]
    #[case("/jobs/queue_ttl_ms", json!(0), "jobs.queue_ttl_ms")]
    #[case("/jobs/lease_ms", json!(0), "jobs.lease_ms")]
    #[case("/jobs/accept_timeout_ms", json!(0), "jobs.accept_timeout_ms")]
    #[case("/jobs/max_attempts", json!(0), "jobs.max_attempts")]
    #[case("/jobs/node_share", json!(10_001), "jobs.node_share")]
    #[case("/models/0/name", json!(""), "models[0]")]
    #[case("/models/1/name", json!("demo"), "models[1]")]
    #[case("/models/1/aliases", json!(["demo"]), "models[1]")]
    #[case("/models/1/aliases", json!(["tiny"]), "models[1]")]
    #[case("/models/1/aliases", json!(["x", "x"]), "models[1]")]
    #[case("/models/0/version", json!(""), "models[0].version")]
    #[case("/models/0/context_length", json!(0), "models[0].context_length")]
    #[case("/models/0/default_max_tokens", json!(0), "models[0].default_max_tokens")]
    #[case("/models/0/default_max_tokens", json!(2049), "models[0].default_max_tokens")]
    #[case("/models/0/test_prompt", json!(" "), "models[0].test_prompt")]
    #[case("/models/0/price/input_per_million", json!(-1), "models[0].price.input_per_million")]
    #[case("/models/0/price/output_per_million", json!(-1), "models[0].price.output_per_million")]
    #[case("/models/0/price/per_request", json!(-1), "models[0].price.per_request")]
    #[case("/models/0/capabilities", json!(["chat", "chat"]), "models[0].capabilities[1]")]
    #[case("/models/0/capabilities", json!([""]), "models[0].capabilities[0]")]
    #[case("/models/0/files", json!([]), "models[0].files")]
    #[case("/models/0/kind", json!("external"), "models[0].files")]
    #[case("/models/0/files/0/name", json!(""), "models[0].files[0].name")]
    #[case("/models/0/files/0/name", json!("../x"), "models[0].files[0].name")]
    #[case("/models/0/files/0/name", json!(".."), "models[0].files[0].name")]
    #[case("/models/0/files/0/name", json!("/etc/passwd"), "models[0].files[0].name")]
    #[case("/models/0/files/0/name", json!("a\\b"), "models[0].files[0].name")]
    #[case("/models/0/files/0/name", json!("C:x"), "models[0].files[0].name")]
    #[case("/models/0/files/0/name", json!("a\u{0}"), "models[0].files[0].name")]
    #[case("/models/0/files/1/name", json!("demo.gguf"), "models[0].files[1].name")]
    #[case("/models/0/files/0/sha256", json!("AB".repeat(32)), "models[0].files[0].sha256")]
    #[case("/models/0/files/0/sha256", json!("ab".repeat(31)), "models[0].files[0].sha256")]
    #[case("/models/0/files/0/size", json!(0), "models[0].files[0].size")]
    fn what_is_wrong_is_named(#[case] field: &str, #[case] value: Value, #[case] path: &str) {
        let mut json = serde_json::to_value(snapshot(3)).unwrap();
        json["rolls_back"] = Value::Null;
        *json.pointer_mut(field).unwrap() = value;
        let changed: Snapshot = serde_json::from_value(json).unwrap();
        assert_eq!(changed.validate().unwrap_err().path, path);
    }

    #[rstest]
    #[case(json!({}), None)]
    #[case(json!({"test_prompt": "{\"n\": [1, 18446744073709551616]}"}), None)]
    #[case(json!({"capabilities": ["container", "proofs", "of_a_later_version"]}), None)]
    #[case(json!({"price": {"input_per_million": 0, "output_per_million": 0, "per_request": 0}}), None)]
    #[case(json!({"test_prompt": "Say yes."}), Some("test_prompt"))]
    #[case(json!({"test_prompt": "[]"}), Some("test_prompt"))]
    #[case(json!({"test_prompt": "{} {}"}), Some("test_prompt"))]
    #[case(json!({"capabilities": []}), Some("capabilities"))]
    #[case(json!({"capabilities": ["container", "chat"]}), Some("capabilities"))]
    #[case(json!({"context_length": 1}), Some("context_length"))]
    #[case(json!({"default_max_tokens": 1}), Some("default_max_tokens"))]
    #[case(json!({"kind": "external", "context_length": 1, "default_max_tokens": 1}), Some("capabilities"))]
    #[case(json!({"files": [{"name": "a", "sha256": "ab".repeat(32), "size": 1, "sources": []}]}), Some("files"))]
    #[case(
        json!({"price": {"input_per_million": 1, "output_per_million": 0, "per_request": 0}}),
        Some("price.input_per_million")
    )]
    fn a_container_has_its_own_rules(#[case] changes: Value, #[case] wrong: Option<&str>) {
        let mut json = serde_json::to_value(snapshot(3)).unwrap();
        let mut container = json!({
            "name": "c", "version": "1", "kind": "container", "context_length": 0, "default_max_tokens": 0,
            "capabilities": ["container"], "test_prompt": "{}",
            "price": {"input_per_million": 0, "output_per_million": 0, "per_request": 5},
        });
        for (name, value) in changes.as_object().unwrap() {
            container[name] = value.clone();
        }
        json["models"].as_array_mut().unwrap().push(container);
        let changed: Snapshot = serde_json::from_value(json).unwrap();
        let found = changed.validate().map_err(|invalid| invalid.path);
        assert_eq!(found, wrong.map_or(Ok(()), |field| Err(format!("models[2].{field}"))));
    }
}
