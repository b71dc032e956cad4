//! What a node runs on, as it tells the network.

use resultity_core::wire::Hardware;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

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

    /// The facts with what is in use now: one small read, cheap enough for every heartbeat.
    pub fn read(&mut self) -> Hardware {
        if let Some(system) = &mut self.system {
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            self.facts.memory_used = system.used_memory();
        }
        self.facts.clone()
    }
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
    fn this_machine_has_processors_and_memory() {
        let facts = HardwareProbe::new().read();
        assert!(
            facts.cpu_cores > 0 && facts.memory > 0 && facts.memory_used <= facts.memory,
            "{facts:?}"
        );
    }
}
