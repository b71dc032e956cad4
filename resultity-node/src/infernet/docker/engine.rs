//! What is asked of a Docker engine.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, CreateImageInfo, DeviceRequest, HostConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ListContainersOptionsBuilder, StopContainerOptionsBuilder,
};
use futures::Stream;
use secrecy::ExposeSecret;

use crate::infernet::config::settings::{ContainerSettings, DockerSettings};

/// The port that containers listen on inside.
const INSIDE: &str = "3000/tcp";
/// How long the engine may take for something small.
const SOON: Duration = Duration::from_secs(30);
/// How long it may take for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a container may take to end by itself, as the original has it: seconds.
const STOP_SECONDS: u16 = 60;
/// Where the engine is unless it is told.
const USUAL_HOST: &str = if cfg!(windows) {
    "npipe:////./pipe/docker_engine"
} else {
    "unix:///var/run/docker.sock"
};

/// Why the engine did not do something.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// It cannot be reached.
    #[error("no Docker engine answers at {host}: {reason}")]
    Unreachable { host: String, reason: String },
    /// It takes too long.
    #[error("the Docker engine takes too long to {0}")]
    Slow(&'static str),
    /// It refuses.
    #[error("the Docker engine does not {what}: {reason}")]
    Refused { what: &'static str, reason: String },
}

/// A container that the engine knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) running: bool,
    /// The port of this machine that it was made with.
    pub(super) port: Option<u16>,
    pub(super) exit_code: Option<i64>,
}

/// A Docker engine that answers.
#[derive(Clone)]
pub(super) struct Engine(Docker);

impl Engine {
    /// Connects, and agrees on a version.
    pub(super) async fn connect(host: Option<&str>) -> Result<Self, EngineError> {
        let host = host.unwrap_or(USUAL_HOST);
        let unreachable = |reason: &dyn Display| EngineError::Unreachable {
            host: host.to_owned(),
            reason: reason.to_string(),
        };
        let docker = Docker::connect_with_host(host).map_err(|error| unreachable(&error))?;
        match tokio::time::timeout(CONNECT, docker.negotiate_version()).await {
            Ok(Ok(docker)) => Ok(Self(docker)),
            Ok(Err(error)) => Err(unreachable(&reason(error))),
            Err(_) => Err(unreachable(&"it takes too long")),
        }
    }

    /// The container of this name.
    pub(super) async fn find(&self, name: &str) -> Result<Option<Found>, EngineError> {
        let found = within(SOON, "look for a container", self.0.inspect_container(name, None)).await;
        let Some(found) = unless_missing(found)? else {
            return Ok(None);
        };
        let bindings = found
            .host_config
            .and_then(|host| host.port_bindings)
            .unwrap_or_default();
        let port = bindings
            .get(INSIDE)
            .and_then(|bindings| bindings.as_ref()?.first()?.host_port.clone());
        let state = found.state.unwrap_or_default();
        Ok(Some(Found {
            // One that ends again and again counts as running in between.
            running: state.running.unwrap_or(false) && !state.restarting.unwrap_or(false),
            port: port.and_then(|port| port.parse().ok()),
            exit_code: state.exit_code,
        }))
    }

    /// Makes a container, as the original node does.
    pub(super) async fn create(&self, container: &ContainerSettings, publish: IpAddr) -> Result<(), EngineError> {
        let options = CreateContainerOptionsBuilder::default().name(&container.id).build();
        let made = self.0.create_container(Some(options), body(container, publish));
        within(SOON, "make the container", made).await.map_err(refused)?;
        Ok(())
    }

    /// Starts a container. One that runs already runs on.
    pub(super) async fn start(&self, name: &str) -> Result<(), EngineError> {
        let started = self.0.start_container(name, None);
        within(SOON, "start the container", started).await.map_err(refused)
    }

    /// Stops a container. One that has ended, or is not there, is stopped.
    pub(super) async fn stop(&self, name: &str) -> Result<(), EngineError> {
        let options = StopContainerOptionsBuilder::default()
            .t(i32::from(STOP_SECONDS))
            .build();
        let limit = Duration::from_secs(u64::from(STOP_SECONDS)) + SOON;
        let stopped = self.0.stop_container(name, Some(options));
        unless_missing(within(limit, "stop the container", stopped).await).map(drop)
    }

    /// The names of the containers that run.
    pub(super) async fn running(&self) -> Result<HashSet<String>, EngineError> {
        let filters = HashMap::from([("status", vec!["running"])]);
        let options = ListContainersOptionsBuilder::default().filters(&filters).build();
        let listed = self.0.list_containers(Some(options));
        let listed = within(SOON, "list its containers", listed).await.map_err(refused)?;
        let names = listed
            .into_iter()
            .flat_map(|container| container.names.unwrap_or_default());
        Ok(names.map(|name| name.trim_start_matches('/').to_owned()).collect())
    }

    /// Whether the image is here.
    pub(super) async fn has_image(&self, image: &str) -> Result<bool, EngineError> {
        let found = within(SOON, "look for an image", self.0.inspect_image(image)).await;
        Ok(unless_missing(found)?.is_some())
    }

    /// Pulls an image; what comes tells how far it is.
    pub(super) fn pull(
        &self,
        image: &str,
        settings: &DockerSettings,
    ) -> impl Stream<Item = Result<CreateImageInfo, EngineError>> + use<> {
        let options = CreateImageOptionsBuilder::default()
            .from_image(&with_tag(image))
            .build();
        let login = settings.username.as_ref().zip(settings.password.as_ref());
        let login = login.map(|(username, password)| DockerCredentials {
            username: Some(username.clone()),
            password: Some(password.expose_secret().to_owned()),
            ..DockerCredentials::default()
        });
        let pulled = self.0.create_image(Some(options), None, login);
        futures::StreamExt::map(pulled, |info| {
            info.map_err(|error| EngineError::Refused {
                what: "pull the image",
                reason: reason(error),
            })
        })
    }
}

/// What a container is made of.
fn body(container: &ContainerSettings, publish: IpAddr) -> ContainerCreateBody {
    let binding = PortBinding {
        host_ip: Some(publish.to_string()),
        host_port: container.port.map(|port| port.to_string()),
    };
    let gpus = DeviceRequest {
        count: Some(-1),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    };
    let host = HostConfig {
        port_bindings: Some(HashMap::from([(INSIDE.to_owned(), Some(vec![binding]))])),
        binds: (!container.volumes.is_empty()).then(|| container.volumes.clone()),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::ON_FAILURE),
            maximum_retry_count: Some(5),
        }),
        device_requests: container.gpu.then(|| vec![gpus]),
        // So that a container reaches what listens on this machine, such as an inference engine.
        extra_hosts: Some(vec!["host.docker.internal:host-gateway".to_owned()]),
        ..HostConfig::default()
    };
    let env = container.env.iter().map(|(name, value)| format!("{name}={value}"));
    ContainerCreateBody {
        image: Some(container.image.clone()),
        cmd: (!container.command.is_empty()).then(|| container.command.clone()),
        env: Some(env.collect()),
        exposed_ports: Some(vec![INSIDE.to_owned()]),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// The image with a tag: without one, an engine pulls all there are.
pub(super) fn with_tag(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains([':', '@']) {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

type Failed = (&'static str, Option<Error>);

async fn within<T>(
    limit: Duration,
    what: &'static str,
    asked: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(limit, asked).await {
        Ok(answer) => answer.map_err(|error| (what, Some(error))),
        Err(_) => Err((what, None)),
    }
}

fn refused((what, error): Failed) -> EngineError {
    match error {
        None | Some(Error::RequestTimeoutError) => EngineError::Slow(what),
        Some(error) => EngineError::Refused {
            what,
            reason: reason(error),
        },
    }
}

/// What the engine says, without how it says it.
fn reason(error: Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message,
        Error::DockerStreamError { error } => error,
        error => error.to_string(),
    }
}

/// None where the engine says that there is no such thing.
fn unless_missing<T>(answer: Result<T, Failed>) -> Result<Option<T>, EngineError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err((_, Some(Error::DockerResponseServerError { status_code: 404, .. }))) => Ok(None),
        Err(failed) => Err(refused(failed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("echo", "echo:latest")]
    #[case("org/echo", "org/echo:latest")]
    #[case("org/echo:1.2", "org/echo:1.2")]
    #[case("registry.example:5000/echo", "registry.example:5000/echo:latest")]
    #[case("org/echo@sha256:00", "org/echo@sha256:00")]
    fn an_image_without_a_tag_is_the_latest(#[case] image: &str, #[case] pulled: &str) {
        assert_eq!(with_tag(image), pulled);
    }
}
