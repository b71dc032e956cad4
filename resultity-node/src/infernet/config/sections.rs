//! The sections of the file, one function each. What they give may be wrong where a problem was told.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::Listen;
use super::fields::Object;
use super::report::Report;
use super::settings::{CallSettings, DEFAULT_PORT, LogSettings, OnRestart, QueueSettings, RateLimit, ResultSettings};
use resultity_core::networks::Networks;

/// The longest time that can be configured: a year, in seconds.
const YEAR: f64 = 365.0 * 24.0 * 3600.0;
const DAY: f64 = 24.0 * 3600.0;

/// The original's file, where it names none.
const LOG_FILE: &str = "infernet_node.log";

/// A port of this machine.
pub(super) fn port(item: &super::fields::Item<'_>) -> Option<u16> {
    item.whole(1..=65535, "a port between 1 and 65535")
        .and_then(|port| u16::try_from(port).ok())
}

/// `server`: the port, and how often one may ask.
pub(super) fn server(root: &mut Object<'_>) -> (u16, RateLimit) {
    let mut server = root.section("server");
    let port = server.take("port").and_then(|item| port(&item));
    let mut limit = server.section("rate_limit");
    let default = RateLimit::default();
    let requests = limit.count("num_requests", u64::from(u32::MAX));
    let rate_limit = RateLimit {
        requests: requests.map_or(default.requests, |requests| requests as u32),
        period: limit.seconds("period", 0.001..=YEAR).unwrap_or(default.period),
    };
    limit.end();
    server.end();
    (port.unwrap_or(DEFAULT_PORT), rate_limit)
}

/// `log`, or `log_path` in older files: only where the file has one of them.
pub(super) fn log(root: &mut Object<'_>, report: &Report) -> Option<LogSettings> {
    let older = root.text("log_path").filter(|path| !path.is_empty());
    let found = root.take("log");
    let is_there = found.is_some();
    let mut log = match found {
        Some(item) => item.object(),
        None => root.section("log"),
    };
    let path = log.text("path").filter(|path| !path.is_empty());
    let settings = LogSettings {
        path: path.or(older.clone()).unwrap_or_else(|| LOG_FILE.to_owned()).into(),
        max_file_size: log.take("max_file_size").map_or(Some(1 << 30), |item| {
            item.whole(0..=u64::MAX, "a number of bytes; 0: without end")
        })?,
        backup_count: log.take("backup_count").map_or(Some(2), |item| {
            item.whole(0..=1000, "a whole number between 0 and 1000")
        })? as u32,
    };
    log.end();
    if older.is_some() {
        report.note("log_path", "is now called `log.path`; it is used");
    }
    (is_there || older.is_some()).then_some(settings)
}

/// `docker`: the login at the registry. Whether the section is there, and what it says.
pub(super) fn docker(root: &mut Object<'_>, report: &Report) -> (bool, Option<(String, SecretString)>) {
    let found = root.take("docker");
    let is_there = found.is_some();
    let mut docker = match found {
        Some(item) => item.object(),
        None => root.section("docker"),
    };
    let username = docker.text("username").filter(|username| !username.is_empty());
    let password = docker.take("password").and_then(|item| item.secret().text());
    let password = password.filter(|password| !password.is_empty());
    docker.end();
    match (username, password) {
        (Some(username), Some(password)) => (is_there, Some((username, password.into()))),
        (None, None) => (is_there, None),
        _ => {
            report.warning(
                "docker",
                "has no username or no password: images are pulled without a login",
            );
            (is_there, None)
        }
    }
}

/// `redis` and `forward_stats`, which this node has no use for.
pub(super) fn not_needed(root: &mut Object<'_>, report: &Report, results: &std::path::Path) {
    if let Some(item) = root.take("redis") {
        let mut redis = item.object();
        redis.text("host");
        redis.take("port").map(|item| port(&item));
        redis.end();
        report.note(
            "redis",
            format!("not needed: results are kept in {}", results.display()),
        );
    }
    if root.flag("forward_stats") == Some(true) {
        report.note("forward_stats", "not used: this node sends no statistics to anybody");
    }
}

/// `chain`, which this version doesn't serve. Only the types of its values are looked at.
pub(super) fn chain(root: &mut Object<'_>, report: &Report) {
    let mut chain = root.section("chain");
    let enabled = chain.flag("enabled") == Some(true);
    let mut seen = Vec::new();
    let number = |object: &mut Object<'_>, key, seen: &mut Vec<String>| {
        if let Some(item) = object.take(key) {
            item.whole(0..=u64::MAX, "a whole number");
            seen.push(object.path(key));
        }
    };
    let text = |object: &mut Object<'_>, key, seen: &mut Vec<String>| {
        if object.text(key).is_some_and(|text| !text.is_empty()) {
            seen.push(object.path(key));
        }
    };
    text(&mut chain, "rpc_url", &mut seen);
    text(&mut chain, "registry_address", &mut seen);
    text(&mut chain, "coordinator_address", &mut seen);
    number(&mut chain, "trail_head_blocks", &mut seen);
    let mut wallet = chain.section("wallet");
    number(&mut wallet, "max_gas_limit", &mut seen);
    text(&mut wallet, "payment_address", &mut seen);
    if !wallet.texts("allowed_sim_errors").is_empty() {
        seen.push(wallet.path("allowed_sim_errors"));
    }
    // Read as a text to see that it is one, and forgotten at once.
    let key = wallet.take("private_key").and_then(|item| item.secret().text());
    let has_key = key.is_some_and(|key| !key.is_empty());
    wallet.end();
    // Before 1.0 it was beside `chain`.
    let older = root.section("snapshot_sync");
    let newer = chain.section("snapshot_sync");
    for mut sync in [newer, older] {
        for key in ["sleep", "sync_period"] {
            if sync.seconds(key, 0.0..=YEAR).is_some() {
                seen.push(sync.path(key));
            }
        }
        number(&mut sync, "batch_size", &mut seen);
        number(&mut sync, "starting_sub_id", &mut seen);
        sync.end();
    }
    chain.end();
    if !enabled {
        return;
    }
    report.warning(
        "chain.enabled",
        "on-chain delivery is not part of this version: delegated subscriptions are refused with `Chain not enabled`",
    );
    if has_key {
        report.note("chain.wallet.private_key", "not needed: never kept, logged or shown");
    }
    if !seen.is_empty() {
        report.note("chain", format!("not used: {}", seen.join(", ")));
    }
}

/// What `resultity` says of the node itself.
pub(super) struct Own {
    pub(super) listen: Option<Listen>,
    pub(super) trusted_proxies: Networks,
    pub(super) status_networks: Networks,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) queue: QueueSettings,
    pub(super) calls: CallSettings,
    pub(super) keep_for: Option<Duration>,
    pub(super) max_results: Option<u64>,
    pub(super) max_results_bytes: Option<u64>,
    pub(super) on_restart: OnRestart,
    pub(super) max_body_bytes: Option<usize>,
}

/// `resultity`, but for its `containers`.
pub(super) fn own(object: &mut Object<'_>) -> Own {
    let listen = object.take("listen").and_then(|item| {
        let listen = item.text()?.parse::<Listen>();
        listen
            .map_err(|error| item.expected(&error.to_string()["expected ".len()..]))
            .ok()
    });
    let (queue, calls) = (QueueSettings::default(), CallSettings::default());
    let bytes = |object: &mut Object<'_>, key, default: usize| {
        object.count(key, 1 << 40).map_or(default, |bytes| bytes as usize)
    };
    Own {
        listen,
        trusted_proxies: networks(object, "trusted_proxies"),
        status_networks: networks(object, "status_networks"),
        data_dir: object
            .text("data_dir")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        queue: QueueSettings {
            max_running: object
                .count("max_running", 65_536)
                .map_or(queue.max_running, |count| count as usize),
            max_pending: object
                .count("max_pending", 10_000_000)
                .map_or(queue.max_pending, |count| count as usize),
            max_pending_bytes: bytes(object, "max_pending_bytes", queue.max_pending_bytes),
        },
        calls: CallSettings {
            timeout: object.seconds("timeout", 0.001..=DAY).unwrap_or(calls.timeout),
            stream_timeout: object
                .seconds("stream_timeout", 0.001..=DAY)
                .unwrap_or(calls.stream_timeout),
            resources_timeout: object
                .seconds("resources_timeout", 0.001..=3600.0)
                .unwrap_or(calls.resources_timeout),
            max_answer_bytes: bytes(object, "max_answer_bytes", calls.max_answer_bytes),
        },
        keep_for: object.seconds("keep_results_for", 1.0..=100.0 * YEAR),
        max_results: object.count("max_results", 1_000_000_000_000),
        max_results_bytes: object.count("max_results_bytes", 1 << 50),
        on_restart: on_restart(object).unwrap_or_default(),
        max_body_bytes: object.count("max_body_bytes", 1 << 32).map(|bytes| bytes as usize),
    }
}

impl Own {
    /// Where the results are, and how long.
    pub(super) fn results(&self, data_dir: PathBuf) -> ResultSettings {
        let mut results = ResultSettings::new(data_dir.join("infernet.db"));
        results.keep_for = self.keep_for.unwrap_or(results.keep_for);
        results.max_count = self.max_results.unwrap_or(results.max_count);
        results.max_bytes = self.max_results_bytes.unwrap_or(results.max_bytes);
        results.on_restart = self.on_restart;
        results
    }
}

fn on_restart(object: &mut Object<'_>) -> Option<OnRestart> {
    let item = object.take("on_restart")?;
    match item.text()?.as_str() {
        "fail" => Some(OnRestart::Fail),
        "rerun" => Some(OnRestart::Rerun),
        _ => {
            item.expected("\"fail\" or \"rerun\"");
            None
        }
    }
}

/// A list of addresses and networks; each wrong one is told of.
pub(super) fn networks(object: &mut Object<'_>, key: &str) -> Networks {
    let texts = object.texts(key).into_iter();
    let good = texts.filter_map(|(item, text)| match Networks::parse([&text]) {
        Ok(_) => Some(text),
        Err(_) => {
            item.expected("an address or a network, such as 10.0.0.1, 10.0.0.0/8, ::1 or fd00::/8");
            None
        }
    });
    Networks::parse(good.collect::<Vec<_>>()).unwrap_or_default()
}

/// Whether only this machine reaches the address.
pub(super) fn is_local(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
