//! The node that is measured.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use super::config_path;
use crate::error::LoadError;
use crate::http;
use crate::process::Process;
use crate::rig::{Engine, built};

/// How many containers it is told of.
const CONTAINERS: usize = 20;

const READY_TIMEOUT: Duration = Duration::from_secs(20);
const DONE_TIMEOUT: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(2);

/// A node with an Infernet API.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) process: Process,
    pub(super) address: SocketAddr,
    /// From its start to its first answer.
    pub(super) start_time: Duration,
}

impl Node {
    pub(super) async fn start(folder: &Path, engine: &Engine) -> Result<Self, LoadError> {
        let program = built("resultity-node")?;
        let address = free_address().map_err(LoadError::io("finding a free port"))?;
        let container = engine.url().trim_end_matches("/v1");
        let containers: Vec<_> = (0..CONTAINERS)
            .map(|number| json!({"id": format!("echo-{number}"), "image": "echo", "url": container}))
            .collect();
        let config = json!({
            "manage_containers": false,
            "server": {"port": address.port(), "rate_limit": {"num_requests": 100_000_000, "period": 1}},
            "containers": containers,
            "resultity": {"data_dir": folder.join("node")},
        });
        let path = config_path(folder);
        std::fs::write(&path, config.to_string()).map_err(LoadError::io("writing the node's configuration"))?;
        let arguments = [
            "infernet".as_ref(),
            "--config".as_ref(),
            path.as_os_str(),
            "--log-level".as_ref(),
            "warn".as_ref(),
        ];
        let began = Instant::now();
        let mut process = Process::start("node", &program, arguments, folder)?;
        let health = http::request(&address.to_string(), "/health", "", None);
        while !matches!(http::fetch(address, &health).await, Ok((200, _))) {
            process.check()?;
            if began.elapsed() > READY_TIMEOUT {
                return Err(process.failed("did not become ready"));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(Self {
            process,
            address,
            start_time: began.elapsed(),
        })
    }

    /// Waits until no job is pending.
    pub(super) async fn wait_until_done(&mut self) -> Result<(), LoadError> {
        #[derive(Deserialize)]
        struct Info {
            pending: Pending,
        }
        #[derive(Deserialize)]
        struct Pending {
            offchain: u64,
        }
        let request = http::request(&self.address.to_string(), "/info", "", None);
        let limit = Instant::now() + DONE_TIMEOUT;
        loop {
            let answer = http::fetch(self.address, &request).await;
            let pending = answer
                .ok()
                .and_then(|(_, body)| serde_json::from_slice::<Info>(&body).ok());
            match pending {
                Some(info) if info.pending.offchain == 0 => return Ok(()),
                _ if Instant::now() > limit => return Err(self.process.failed("did not finish its jobs")),
                _ => tokio::time::sleep(POLL).await,
            }
        }
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
