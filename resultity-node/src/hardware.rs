//! What a node runs on, as it tells the network.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use resultity_core::wire::{Gpu, Hardware};
use sysinfo::{CpuRefreshKind, DiskRefreshKind, Disks, MemoryRefreshKind, RefreshKind, System};

/// How long the driver's tool may take.
const TOOL_TIMEOUT: Duration = Duration::from_secs(10);
/// The most GPUs that are told of.
const MAX_GPUS: usize = 64;

/// Reads the machine's facts; what doesn't change is read once.
#[derive(Debug)]
pub struct HardwareProbe {
    system: Option<System>,
    facts: Hardware,
}

impl HardwareProbe {
    /// Reads everything once. On a platform that tells nothing, the facts stay empty.
    pub fn new() -> Self {
        let refresh = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(refresh).ok();
        let mut facts = Hardware::default();
        if let Some(system) = &system {
            facts.cpu = system
                .cpus()
                .first()
                .map(|cpu| cpu.brand().trim().to_owned())
                .unwrap_or_default();
            facts.cpu_cores = system.cpus().len() as u32;
            facts.memory = system.total_memory();
            facts.memory_used = system.used_memory();
        }
        Self { system, facts }
    }

    /// Looks for GPUs, once: those that NVIDIA's driver tells of. Without its tool there are none.
    pub async fn find_gpus(&mut self) {
        let mut tool = tokio::process::Command::new("nvidia-smi");
        tool.args(["--query-gpu=name,memory.total", "--format=csv,noheader,nounits"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(TOOL_TIMEOUT, tool.output()).await;
        if let Ok(Ok(output)) = output
            && output.status.success()
        {
            self.facts.gpus = gpus(&String::from_utf8_lossy(&output.stdout));
        }
    }

    /// The facts with what is in use now: one small read, cheap enough for every heartbeat.
    pub fn read(&mut self) -> Hardware {
        if let Some(system) = &mut self.system {
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            self.facts.memory_used = system.used_memory();
        }
        self.facts.clone()
    }
}

/// Bytes of memory that this machine has, where it says so.
pub fn memory() -> Option<u64> {
    let refresh = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(refresh).ok()?;
    Some(system.total_memory()).filter(|bytes| *bytes > 0)
}

/// Bytes that are free on the disk where this folder is, or will be; nothing where that can't be seen.
pub fn free_space(dir: &Path) -> Option<u64> {
    let there = dir.ancestors().find_map(|path| path.canonicalize().ok())?;
    let disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_storage()).ok()?;
    let holds = disks.iter().filter(|disk| there.starts_with(disk.mount_point()));
    let nearest = holds.max_by_key(|disk| disk.mount_point().components().count())?;
    Some(nearest.available_space())
}

/// Lines of a name and mebibytes.
fn gpus(text: &str) -> Vec<Gpu> {
    let gpu = |line: &str| {
        let (name, memory) = line.rsplit_once(',')?;
        let mebibytes: u64 = memory.trim().parse().ok()?;
        Some(Gpu {
            name: name.trim().chars().take(100).collect(),
            memory: mebibytes.saturating_mul(1 << 20),
        })
    };
    text.lines().filter_map(gpu).take(MAX_GPUS).collect()
}

impl Default for HardwareProbe {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_drivers_tool_prints_is_read() {
        let text = "NVIDIA GeForce RTX 4090, 24564\nTesla T4, 15360\n[Unknown Error], [N/A]\n";
        let found = gpus(text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(
            (found[0].name.as_str(), found[0].memory),
            ("NVIDIA GeForce RTX 4090", 24_564 << 20)
        );
    }

    #[test]
    fn this_machine_has_processors_and_memory() {
        let facts = HardwareProbe::new().read();
        assert!(memory().unwrap() > 0);
        assert!(free_space(&std::env::temp_dir().join("not/there/yet")).is_some());
        assert!(
            facts.cpu_cores > 0 && facts.memory > 0 && facts.memory_used <= facts.memory,
            "{facts:?}"
        );
    }
}
