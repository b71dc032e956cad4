//! A server in a process of its own, which can be killed.

use std::path::Path;
use std::process::Stdio;

use resultity_server::dev::DevDescription;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::node::TestNode;
use super::soon;

/// A server process that dies with the test.
pub struct Process {
    child: Child,
    pub description: DevDescription,
}

impl Process {
    pub async fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &[]).await
    }

    /// The same with more arguments.
    pub async fn start_with(data_dir: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_resultity-server"))
            .args(["dev", "--no-node", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = soon("the server's line", lines.next_line())
            .await
            .unwrap()
            .expect("the server did not start");
        Self {
            child,
            description: serde_json::from_str(&line).unwrap(),
        }
    }

    /// SIGKILL; gone when this returns.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub async fn node(&self, slots: u32) -> TestNode {
        TestNode::ready(&self.description.io, &self.description.model, slots).await
    }
}
