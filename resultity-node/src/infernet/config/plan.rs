//! The whole file put together, and what there is to say of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::containers::{Common, read as read_containers};
use super::fields::Object;
use super::report::Report;
use super::sections::{chain, docker, is_local, log, not_needed, own, server};
use super::settings::{ContainerSettings, DockerSettings, Settings};
use super::{Listen, Overrides};

/// The settings, of no use where the report has problems.
pub(super) fn settings(mut root: Object<'_>, overrides: &Overrides, report: &Report) -> Settings {
    let (port, rate_limit) = server(&mut root);
    let log = log(&mut root, report);
    let mut own_keys = root.section("resultity");
    let own = own(&mut own_keys);
    let listen = listen(overrides.listen.or(own.listen), port, report);
    let data_dir = overrides.data_dir.clone().or(own.data_dir.clone());
    let data_dir = data_dir.or_else(|| overrides.default_data_dir.clone());
    let results = own.results(data_dir.unwrap_or_else(crate::data_dir::default_data_dir));
    not_needed(&mut root, report, &results.path);
    chain(&mut root, report);
    let docker = managed(&mut root, overrides, report);
    let common = Common {
        managed: docker.is_some(),
        own_port: listen.port(),
        host: overrides.containers_host.as_deref(),
        report,
    };
    let containers = read_containers(&mut root, &mut own_keys, &common);
    own_keys.end();
    root.end();
    say(&containers, docker.as_ref(), report);

    let mut settings = Settings::new(results.path.clone(), containers);
    settings.listen = listen;
    settings.rate_limit = rate_limit;
    settings.trusted_proxies = own.trusted_proxies;
    settings.status_networks = own.status_networks;
    settings.queue = own.queue;
    settings.calls = own.calls;
    settings.results = results;
    settings.max_body_bytes = own.max_body_bytes.unwrap_or(settings.max_body_bytes);
    settings.docker = docker;
    settings.log = log;
    settings
}

/// Where to listen: what was told, else loopback and the port of `server`.
fn listen(told: Option<Listen>, port: u16, report: &Report) -> SocketAddr {
    let address = told.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |told| told.address);
    let listen = SocketAddr::new(address, told.and_then(|told| told.port).unwrap_or(port));
    if is_local(address) {
        let port = listen.port();
        report.note(
            "server",
            format!(
                "listens on {listen}: only this machine can reach it. The original node listens on all addresses, which is `--listen 0.0.0.0:{port}`, or \"listen\" in \"resultity\""
            ),
        );
    }
    listen
}

/// `manage_containers`, with `docker` and `startup_wait`: none if the containers run already.
fn managed(root: &mut Object<'_>, overrides: &Overrides, report: &Report) -> Option<DockerSettings> {
    let told = root.flag("manage_containers");
    let startup_wait = root.seconds("startup_wait", 0.0..=86_400.0);
    let (has_section, login) = docker(root, report);
    if told == Some(false) {
        if startup_wait.is_some() {
            report.note(
                "startup_wait",
                "not used: the containers run already (`manage_containers` is false)",
            );
        }
        if has_section {
            report.note(
                "docker",
                "not used: the containers run already (`manage_containers` is false)",
            );
        }
        return None;
    }
    let mut settings = DockerSettings {
        host: overrides.docker_host.clone(),
        ..DockerSettings::default()
    };
    if let Some(startup_wait) = startup_wait {
        settings.startup_wait = startup_wait;
    }
    if let Some((username, password)) = login {
        settings.username = Some(username);
        settings.password = Some(password);
    }
    if overrides.containers_host.is_some() {
        // From inside a container, loopback of the machine is out of reach.
        settings.publish = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    }
    if told.is_none() {
        let message = "not in the file: as in the original node, a Docker engine is asked to start the containers; `false` if they run already";
        report.note("manage_containers", message);
    }
    if cfg!(not(feature = "docker")) {
        let message = "this build cannot start containers (it lacks the feature `docker`): start them yourself; what answers at their ports is used";
        report.warning("manage_containers", message);
    }
    Some(settings)
}

/// What there is to say of all containers together.
fn say(containers: &[ContainerSettings], docker: Option<&DockerSettings>, report: &Report) {
    if containers.is_empty() {
        report.warning("containers", "there are none: every job is refused");
    }
    let started = containers.iter().any(|container| container.port.is_some());
    if let Some(docker) = docker.filter(|docker| started && is_local(docker.publish)) {
        let message = format!(
            "ports of containers are published on {} only; the original node publishes them on all addresses",
            docker.publish
        );
        report.note("manage_containers", message);
    }
    let is_said = |said: fn(&ContainerSettings) -> bool| containers.iter().any(said);
    let for_chains = [
        (
            "accepted_payments",
            is_said(|container| !container.accepted_payments.is_empty()),
        ),
        (
            "allowed_addresses",
            is_said(|container| !container.allowed_addresses.is_empty()),
        ),
        (
            "allowed_delegate_addresses",
            is_said(|container| !container.allowed_delegate_addresses.is_empty()),
        ),
    ];
    let for_chains: Vec<_> = for_chains.into_iter().filter(|(_, is_said)| *is_said).collect();
    if !for_chains.is_empty() {
        let keys: Vec<_> = for_chains.into_iter().map(|(key, _)| key).collect();
        let message = format!("of no effect without a chain: {}", keys.join(", "));
        report.note("containers", message);
    }
    let for_docker = [
        ("command", is_said(|container| !container.command.is_empty())),
        ("env", is_said(|container| !container.env.is_empty())),
        ("volumes", is_said(|container| !container.volumes.is_empty())),
        ("gpu", is_said(|container| container.gpu)),
    ];
    let for_docker: Vec<_> = for_docker.into_iter().filter(|(_, is_said)| *is_said).collect();
    if docker.is_none() && !for_docker.is_empty() {
        let keys: Vec<_> = for_docker.into_iter().map(|(key, _)| key).collect();
        let message = format!("not used, the containers run already: {}", keys.join(", "));
        report.note("containers", message);
    }
}
