//! Containers that a Docker engine starts, as the original node has them started: `manage_containers` in the configuration.
//!
//! ```text
//! manage ─▶ find ─▶ pull ─▶ create, start ─▶ answers ─▶ watch ─▶ stop
//! ```
//!
//! The node serves all the while. A container that exists already under its id is used as it is, whatever it was made with,
//! as in the original; one that does not is made of its image, with its port 3000 published on the configured one.

#[cfg(feature = "docker")]
mod answers;
#[cfg(feature = "docker")]
mod engine;
#[cfg(feature = "docker")]
mod manager;
#[cfg(feature = "docker")]
mod pull;
#[cfg(all(test, feature = "docker", unix))]
mod tests;

#[cfg(feature = "docker")]
pub(super) use manager::manage;

/// There is no engine in this build, of which the configuration was warned: what answers at the ports is used.
#[cfg(not(feature = "docker"))]
#[expect(clippy::unused_async, reason = "the same signature with and without the feature")]
pub(super) async fn manage(
    _: super::config::settings::DockerSettings,
    containers: Vec<super::config::settings::ContainerSettings>,
    running: std::sync::Arc<super::containers::Containers>,
    _: tokio_util::sync::CancellationToken,
) {
    let ids: Vec<_> = containers.iter().map(|container| &container.id).collect();
    running.set_running(&ids);
}
