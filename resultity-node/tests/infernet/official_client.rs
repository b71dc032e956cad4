//! The original node's own client, `infernet-client` from PyPI, works unchanged: every method of its `NodeClient` and its
//! command line. The checks themselves are in `client`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use resultity_core::Address;
use resultity_core::infernet::NodeError;
use resultity_core::infernet::subscription::CoordinatorDomain;
use resultity_node::infernet::chain::{Chain, Delegated};
use resultity_node::infernet::node::Parts;
use serde_json::{Value, json};

use crate::harness::{Containers, Process, Served, free_port, or_leave_out};
use crate::packages::{self, Python, run};

/// How long all checks of one test may take together.
const CHECKS: Duration = Duration::from_mins(5);

const COORDINATOR: &str = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
const WALLET: &str = "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0";

/// The client, and containers: ours, and one that the ecosystem's library made.
struct Setup {
    python: Python,
    containers: Containers,
    service: Containers,
}

impl Setup {
    async fn new() -> Option<Self> {
        let python = or_leave_out(packages::python().await)?;
        let mut service = python.command();
        service.arg("service.py");
        let (containers, service) = tokio::join!(Containers::start(), Containers::start_with(service));
        Some(Self {
            python,
            containers: containers?,
            service: service.unwrap(),
        })
    }

    fn with_service(&self, config: &mut Value) {
        let service = json!({"id": "service", "image": "test/service:1", "url": self.service.url("")});
        config["containers"].as_array_mut().unwrap().push(service);
    }

    /// Runs the modules against a node, and gives what they printed.
    async fn check(&self, modules: &[&str], node: &str, wallet: Option<&str>) -> String {
        let mut command = self.python.unittest(modules);
        let containers = self.containers.url("");
        command
            .env("INFERNET_NODE", node)
            .env("INFERNET_CONTAINERS", containers.trim_end_matches('/'));
        if let Some(wallet) = wallet {
            command.env("INFERNET_WALLET", wallet);
        }
        run(&mut command, CHECKS)
            .await
            .unwrap_or_else(|findings| panic!("{findings}"))
    }
}

/// A chain that takes everything down.
struct Notes(Mutex<Vec<Delegated>>);

#[async_trait]
impl Chain for Notes {
    fn domain(&self) -> CoordinatorDomain {
        CoordinatorDomain {
            chain_id: 31_337,
            coordinator: COORDINATOR.parse().unwrap(),
        }
    }

    fn address(&self) -> Address {
        WALLET.parse().unwrap()
    }

    fn pending(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    async fn track(&self, subscription: Delegated) -> Result<(), NodeError> {
        self.0.lock().unwrap().push(subscription);
        Ok(())
    }
}

/// The command serves the client. Its signatures are recovered by a node with a chain, which no command has yet.
#[tokio::test]
async fn it_works_unchanged() {
    let Some(setup) = Setup::new().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut config = setup.containers.config(&dir.path().join("data"), free_port().await);
    setup.with_service(&mut config);
    let process = Process::start(&config, dir.path()).await;
    let node = process.url("");
    let methods = setup.check(&["methods"], &node, None);
    let commands = setup.check(&["commands"], &node, None);
    tokio::join!(methods, commands, check_signatures(&setup));
    process.terminate().await;
    process.ended().await;
}

async fn check_signatures(setup: &Setup) {
    let notes = Arc::new(Notes(Mutex::default()));
    let mut parts = Parts::default();
    parts.chain = Some(notes.clone());
    let served = Served::with(&setup.containers, |config| setup.with_service(config), parts).await;
    let node = format!("http://{}", served.address());
    let tests = [
        "methods.Methods.test_get_info",
        "methods.Methods.test_request_delegated_subscription",
        "commands.Commands.test_sub",
    ];
    let out = setup.check(&tests, &node, Some(WALLET)).await;
    let signer = out.lines().find_map(|line| line.strip_prefix("signed by "));
    let signer: Address = signer.expect("it says who signed").parse().unwrap();
    let notes = notes.0.lock().unwrap();
    // Twenty by the method, one by the command.
    assert_eq!(notes.len(), 21);
    for delegated in &*notes {
        assert_eq!(delegated.signer, signer);
        assert_eq!(delegated.containers, ["echo", "upper"]);
        assert_eq!(delegated.request.data.get(), r#"{"text": "a"}"#);
    }
}
