//! A picture of a network, from what is in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use resultity_core::api::status::{
    ConfigChange, ConfigStatus, Epoch, Epochs, JobsStatus, LatencyStatus, LoadStatus, ModelStatus, Models,
    NetworkStatus, NodesStatus, PriceStatus, Pricing, RegionStatus, Regions, VersionCount, Versions,
};
use resultity_core::environment::Environment;
use resultity_core::snapshot::{SignedSnapshot, Snapshot};
use tokio::time::Instant;

use super::{Part, Picture};
use crate::flow::Flow;
use crate::flow::fleet::{NodeView, membership};
use crate::flow::schedule::Loads;
use crate::store::epochs::{EpochRecord, begins_at, epoch_of};
use crate::store::{Store, StoreError};

/// How many snapshots are told of.
const MOST_CHANGES: u32 = 50;

/// How many epochs are told of: a year, and the open one.
pub(super) const MOST_EPOCHS: u32 = 53;

/// What is to be known of a node: nothing that tells which one it is.
#[derive(Debug, Clone, Default)]
struct NodeSeen {
    region: Option<String>,
    agent: String,
    runtime: String,
    gpus: u64,
    gpu_memory: u64,
    cpu_cores: u64,
    slots: u64,
    in_use: u64,
    models: Vec<String>,
    in_rotation: bool,
}

/// Everything that can be seen of an environment now.
pub(super) fn look(flow: &Flow, history: &[ConfigChange], epochs: &[EpochRecord]) -> Picture {
    let now = flow.clock.now();
    let current = flow.current();
    let snapshot = &current.snapshot;
    let mut loads = flow.loads();
    // What is not for anybody is no capacity of the network.
    loads.nodes.retain(|_, load| !load.is_isolated);
    // Nor is what waits for the nodes of a Subcloud its load.
    for (model, addressed) in &loads.addressed {
        if let Some(waiting) = loads.waiting.get_mut(model) {
            *waiting = waiting.saturating_sub(*addressed);
        }
    }
    let nodes = nodes(flow, &loads);
    let models = models(snapshot, &loads);
    let network = network(flow, &nodes, &loads, &models);
    let config = ConfigStatus {
        digest: current.digest,
        version: snapshot.version,
        issued_at: snapshot.issued_at.as_seconds(),
        network_key: format!("{:#x}", flow.network_key().address()),
        genesis: format!("{:#x}", flow.genesis),
        history: history.to_vec(),
    };
    let pricing = Pricing {
        prices: (snapshot.models.iter())
            .map(|model| PriceStatus {
                model: model.name.clone(),
                price: model.price.into(),
            })
            .collect(),
        node_share: snapshot.jobs.node_share,
    };
    let (environment, as_of) = (flow.environment, now.as_seconds());
    Picture {
        made: Instant::now(),
        network: Part::new(environment, as_of, network),
        models: Part::new(environment, as_of, models),
        regions: Part::new(environment, as_of, regions(&nodes)),
        versions: Part::new(environment, as_of, versions(snapshot, &nodes)),
        pricing: Part::new(environment, as_of, pricing),
        config: Part::new(environment, as_of, config),
        epochs: Part::new(environment, as_of, told_epochs(epochs, epoch_of(now))),
    }
}

fn network(flow: &Flow, nodes: &[NodeSeen], loads: &Loads, models: &Models) -> NetworkStatus {
    let lately = flow.stats.lately(flow.clock.now());
    let sum = |of: fn(&NodeSeen) -> u64| nodes.iter().map(of).fold(0, u64::saturating_add);
    let slots: u64 = loads.nodes.values().map(|load| u64::from(load.slots)).sum();
    let in_use: u64 = loads.nodes.values().map(|load| u64::from(load.taken)).sum();
    NetworkStatus {
        takes_jobs: flow.takes_jobs(),
        nodes: NodesStatus {
            connected: nodes.len() as u64,
            in_rotation: nodes.iter().filter(|node| node.in_rotation).count() as u64,
            gpus: sum(|node| node.gpus),
            gpu_memory: sum(|node| node.gpu_memory),
            cpu_cores: sum(|node| node.cpu_cores),
        },
        jobs: JobsStatus {
            running: in_use,
            waiting: loads.waiting.values().sum(),
            per_second: lately.per_second,
            last_hour: lately.last_hour,
            success_rate: part(lately.answered, lately.last_hour).unwrap_or(1.0),
            tokens_per_second: lately.tokens_per_second,
        },
        latency: LatencyStatus {
            mean_ms: lately.mean_ms,
            p50_ms: lately.p50_ms,
            p95_ms: lately.p95_ms,
        },
        load: LoadStatus {
            slots,
            slots_in_use: in_use,
            utilisation: part(in_use, slots).unwrap_or_default().min(1.0),
        },
        models: models.models.iter().filter(|model| model.available).count() as u64,
    }
}

/// A part of a whole, to four decimals; none of nothing.
fn part(of: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (of as f64 / whole as f64 * 10_000.0).round() / 10_000.0)
}

fn models(snapshot: &Snapshot, loads: &Loads) -> Models {
    let models = snapshot.models.iter().map(|model| {
        let serving = || loads.nodes.values().filter(|load| load.models.contains(&model.name));
        let kind = serde_json::to_value(model.kind).ok();
        ModelStatus {
            name: model.name.clone(),
            version: model.version.clone(),
            aliases: model.aliases.clone(),
            kind: kind
                .as_ref()
                .and_then(|kind| kind.as_str())
                .unwrap_or_default()
                .to_owned(),
            capabilities: model.capabilities.clone(),
            context_length: model.context_length,
            available: serving().next().is_some(),
            nodes: serving().count() as u64,
            slots: serving().map(|load| u64::from(load.slots)).sum(),
            waiting: loads.waiting.get(&model.name).copied().unwrap_or_default(),
            price: model.price.into(),
        }
    });
    Models {
        models: models.collect(),
    }
}

fn regions(nodes: &[NodeSeen]) -> Regions {
    let mut regions: BTreeMap<Option<String>, RegionStatus> = BTreeMap::new();
    for node in nodes {
        let region = regions.entry(node.region.clone()).or_insert_with(|| RegionStatus {
            region: node.region.clone(),
            ..RegionStatus::default()
        });
        region.nodes += 1;
        region.gpus = region.gpus.saturating_add(node.gpus);
        if node.in_rotation {
            region.in_rotation += 1;
            region.slots += node.slots;
            region.slots_in_use += node.in_use;
            for model in &node.models {
                if let Err(place) = region.models.binary_search(model) {
                    region.models.insert(place, model.clone());
                }
            }
        }
    }
    Regions {
        regions: regions.into_values().collect(),
    }
}

fn versions(snapshot: &Snapshot, nodes: &[NodeSeen]) -> Versions {
    let count = |of: fn(&NodeSeen) -> &String| {
        let mut counts: BTreeMap<&String, u64> = BTreeMap::new();
        for node in nodes {
            *counts.entry(of(node)).or_default() += 1;
        }
        let counts = counts.into_iter().map(|(version, nodes)| VersionCount {
            version: version.clone(),
            nodes,
        });
        counts.collect()
    };
    let here = env!("CARGO_PKG_VERSION").to_owned();
    Versions {
        required_agent: snapshot.min_agent_version.clone(),
        required_runtimes: snapshot.min_runtime_versions.clone(),
        current_agent: here.clone(),
        server: here,
        agents: count(|node| &node.agent),
        runtimes: count(|node| &node.runtime),
    }
}

fn told_epochs(known: &[EpochRecord], open: u64) -> Epochs {
    let of = |number: u64, record: Option<&EpochRecord>| Epoch {
        number,
        starts_at: begins_at(number).as_seconds(),
        ends_at: begins_at(number + 1).as_seconds(),
        closed: record.is_some_and(|record| record.root.is_some()),
        points: record.map_or(0, |record| record.points),
        nodes: record.map_or(0, |record| record.nodes),
        root: record.and_then(|record| record.root),
    };
    let first = known.iter().find(|record| record.number == open);
    let earlier = known.iter().filter(|record| record.number != open);
    let epochs = std::iter::once(of(open, first)).chain(earlier.map(|record| of(record.number, Some(record))));
    Epochs {
        epochs: epochs.take(MOST_EPOCHS as usize).collect(),
    }
}

/// The last snapshots, newest first.
pub(super) async fn history(store: &dyn Store, environment: Environment) -> Result<Vec<ConfigChange>, StoreError> {
    let published = store.last_snapshots(environment, MOST_CHANGES).await?;
    let changes = published.iter().filter_map(|json| {
        let signed: SignedSnapshot = serde_json::from_str(json).ok()?;
        let snapshot: Snapshot = serde_json::from_str(signed.snapshot.get()).ok()?;
        Some(ConfigChange {
            version: snapshot.version,
            digest: signed.digest,
            issued_at: snapshot.issued_at.as_seconds(),
            rolls_back: snapshot.rolls_back,
            models: snapshot.models.len() as u64,
            min_agent_version: snapshot.min_agent_version,
        })
    });
    Ok(changes.collect())
}

/// What is to be seen of the nodes that are connected and take jobs of anybody. What they say of themselves is shortened: anybody may connect.
fn nodes(flow: &Flow, loads: &Loads) -> Vec<NodeSeen> {
    let now = flow.clock.now();
    let is_public = |node: &Arc<NodeView>| node.is_connected() && !membership(&node.standing).is_isolated;
    let connected = flow.fleet.all().into_iter().filter(is_public);
    let seen = connected.map(|node| {
        let load = loads.nodes.get(&node.node);
        let runtime = format!("{} {}", node.runtime.kind, node.runtime.version);
        NodeSeen {
            region: node.region.as_deref().map(short).filter(|region| !region.is_empty()),
            agent: short(&node.agent_version),
            runtime: short(runtime.trim()),
            gpus: node.hardware.gpus.len() as u64,
            gpu_memory: node
                .hardware
                .gpus
                .iter()
                .map(|gpu| gpu.memory)
                .fold(0, u64::saturating_add),
            cpu_cores: u64::from(node.hardware.cpu_cores),
            slots: load.map_or(0, |load| u64::from(load.slots)),
            in_use: load.map_or(0, |load| u64::from(load.taken)),
            models: load
                .map(|load| load.models.iter().cloned().collect())
                .unwrap_or_default(),
            in_rotation: node.is_routed(now),
        }
    });
    seen.collect()
}

/// The longest text of a node that is shown, in characters.
const SHOWN: usize = 64;

fn short(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}
