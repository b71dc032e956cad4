//! What the tests share: the containers, a node in this process, and the command as a process of its own.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use resultity_core::testing::node::{CLOSED, DOWN, ECHO, FAIL, INTERNAL, PROVER, SLOW, STREAM, UPPER};
use resultity_node::infernet::config::settings::Settings;
use resultity_node::infernet::config::{Overrides, read};
use resultity_node::infernet::http::serve;
use resultity_node::infernet::node::{InfernetNode, Parts};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How long anything in a test may take before it counts as hanging.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Who asks, unless a test says otherwise.
pub(crate) const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Somebody else, on the same machine.
pub(crate) const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A container that answers as it is told.
pub(crate) const PUPPET: &str = "puppet";

/// A container that wants a bearer token, and what it is.
pub(crate) const GUARDED: &str = "guarded";
const TOKEN: &str = "open sesame";

/// Set where nothing may be left out: in CI.
const REQUIRED: &str = "RESULTITY_REQUIRE_SDKS";

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Asks again until the answer is there.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// What a test needs, or nothing where it may be left out.
pub(crate) fn or_leave_out<T>(found: Result<T, String>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(reason) if std::env::var_os(REQUIRED).is_some() => panic!("{REQUIRED} is set, but: {reason}"),
        Err(reason) => {
            // What is printed by macros is not seen where a test passes.
            let _ = writeln!(std::io::stderr(), "\n*** LEFT OUT, a test with containers: {reason}\n");
            None
        }
    }
}

/// An HTTP client that asks from this address and waits for as long as the test does.
pub(crate) fn http_from(address: IpAddr) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().local_address(address).build().unwrap()
}

/// The folder of these tests.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/infernet")
}

/// The Python process with the containers.
pub(crate) struct Containers {
    child: Child,
    port: u16,
    http: Client,
}

impl Containers {
    /// Starts them, if there is a Python.
    pub(crate) async fn start() -> Option<Self> {
        let mut python = Command::new("python3");
        python.arg(sources().join("container.py"));
        or_leave_out(Self::start_with(python).await)
    }

    /// Starts a program that prints the port that it listens on.
    pub(crate) async fn start_with(mut python: Command) -> Result<Self, String> {
        let mut child = python
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("it needs `python3` 3.10 or newer: {error}"))?;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = soon("the port of the containers", lines.next_line()).await.unwrap();
        let port = line.and_then(|line| line.parse().ok());
        let port = port.ok_or("it needs `python3` 3.10 or newer; why it did not start stands above")?;
        // Reads on, so that the pipe never fills.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            child,
            port,
            http: http_from(CALLER),
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// Opens a gate.
    pub(crate) fn open(&self, gate: &str) -> impl Future<Output = ()> + Send + use<> {
        let mut url = url::Url::parse(&self.url("gates")).unwrap();
        url.path_segments_mut().unwrap().push(gate);
        let request = self.http.post(url);
        async move {
            request.send().await.unwrap().error_for_status().unwrap();
        }
    }

    /// All calls so far, the oldest first.
    pub(crate) async fn calls(&self) -> Vec<Value> {
        let response = self.http.get(self.url("calls")).send().await.unwrap();
        response.json().await.unwrap()
    }

    /// How many calls of a container there were that are in this state.
    pub(crate) async fn count(&self, container: &str, state: &str) -> usize {
        let calls = self.calls().await;
        let found = calls
            .iter()
            .filter(|call| call["container"] == container && call["state"] == state);
        found.count()
    }

    /// Waits until so many calls of a container are in this state.
    pub(crate) async fn until_count(&self, container: &str, state: &str, count: usize) {
        let what = format!("{count} calls of {container} that are {state}");
        until(&what, async || {
            (self.count(container, state).await == count).then_some(())
        })
        .await;
    }

    /// SIGKILL; gone when this returns.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// The original's `config.json` for these containers, on this port, with what is ours beside it.
    pub(crate) fn config(&self, data_dir: &Path, port: u16) -> Value {
        let container = |id: &str| json!({"id": id, "image": format!("test/{id}:1"), "url": self.url(id)});
        let mut containers: Vec<Value> = [UPPER, FAIL, SLOW, STREAM, PUPPET].map(container).to_vec();
        // Without a URL it is at this port.
        let description = "gives back what it gets";
        containers.push(json!({"id": ECHO, "image": "test/echo:1", "port": self.port, "description": description}));
        let special = [
            (INTERNAL, "external", json!(false)),
            (PROVER, "generates_proofs", json!(true)),
            (CLOSED, "allowed_ips", json!(["10.0.0.0/8", "fd00::1"])),
            (GUARDED, "bearer", json!(TOKEN)),
            // Nobody listens on the port for discarding.
            (DOWN, "url", json!("http://127.0.0.1:9")),
        ];
        for (id, key, value) in special {
            let mut container = container(id);
            container[key] = value;
            containers.push(container);
        }
        json!({
            "manage_containers": false,
            "forward_stats": false,
            "startup_wait": 1.0,
            "server": {"port": port, "rate_limit": {"num_requests": 1_000_000, "period": 60}},
            "chain": {"enabled": false},
            "redis": {"host": "redis", "port": 6379},
            "containers": containers,
            "resultity": {"data_dir": data_dir},
        })
    }
}

/// The settings that a `config.json` gives.
pub(crate) fn settings(config: &Value) -> Settings {
    let (settings, _notes) = read(&config.to_string(), &Overrides::default()).unwrap();
    settings
}

/// A node in this process, over HTTP too.
pub(crate) struct Served {
    pub(crate) node: InfernetNode,
    address: SocketAddr,
    _data_dir: TempDir,
    _task: AbortOnDropHandle<()>,
}

impl Served {
    pub(crate) async fn start(containers: &Containers) -> Self {
        Self::with(containers, |_| (), Parts::default()).await
    }

    /// One whose `config.json` and parts the test chooses.
    pub(crate) async fn with(containers: &Containers, change: impl FnOnce(&mut Value), parts: Parts) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let mut config = containers.config(data_dir.path(), 4000);
        change(&mut config);
        let node = InfernetNode::start(settings(&config), parts).await.unwrap();
        let listener = TcpListener::bind((CALLER, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = serve(node.clone(), listener, CancellationToken::new());
        let task = AbortOnDropHandle::new(tokio::spawn(async move { serving.await.unwrap() }));
        Self {
            node,
            address,
            _data_dir: data_dir,
            _task: task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// `resultity-node infernet` as a process of its own, which ends with the test at the latest.
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Starts it with a configuration that has this port as its own, and waits until it answers.
    pub(crate) async fn start(config: &Value, dir: &Path) -> Self {
        let file = dir.join("config.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let log = dir.join("log");
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_resultity-node"))
            .arg("infernet")
            .arg("--config")
            .arg(&file)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let port = u16::try_from(config["server"]["port"].as_u64().unwrap()).unwrap();
        let mut process = Self {
            child,
            address: SocketAddr::new(CALLER, port),
        };
        let http = http_from(CALLER);
        let url = process.url("/health");
        until("the node's first answer", async || {
            if let Some(status) = process.child.try_wait().unwrap() {
                panic!("it ended with {status}:\n{}", std::fs::read_to_string(&log).unwrap());
            }
            let answer = http.get(&url).send().await;
            answer.is_ok_and(|answer| answer.status() == 200).then_some(())
        })
        .await;
        process
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// SIGKILL; gone when this returns.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to stop, as an operator would.
    pub(crate) async fn terminate(&self) {
        let pid = self.child.id().unwrap().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended by itself, which has to be well.
    pub(crate) async fn ended(mut self) {
        let status = soon("the end of the node", self.child.wait()).await.unwrap();
        assert!(status.success(), "{status}");
    }
}

/// A port that is free, another one each time, and not one of those that systems give to whoever asks for any.
pub(crate) async fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 21_000 + (std::process::id() % 5_000) as u16 * 2;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 500;
        if TcpListener::bind((CALLER, port)).await.is_ok() {
            return port;
        }
    }
}

/// What is asked over HTTP, by one address.
pub(crate) struct Asker {
    http: Client,
    base: String,
}

impl Asker {
    pub(crate) fn new(address: SocketAddr, from: IpAddr) -> Self {
        Self {
            http: http_from(from),
            base: format!("http://{address}"),
        }
    }

    pub(crate) fn of(process: &Process) -> Self {
        Self::new(process.address, CALLER)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Begins a job and gives its id.
    pub(crate) async fn begin(&self, containers: &[&str], data: Value) -> String {
        let body = json!({"containers": containers, "data": data});
        let request = self.request(Method::POST, "/api/jobs").json(&body);
        let response = soon("an answer", request.send()).await.unwrap();
        assert_eq!(response.status(), 200);
        let answer: Value = response.json().await.unwrap();
        answer["id"].as_str().unwrap().to_owned()
    }

    /// Begins a stream and gives its id, when the container has begun.
    pub(crate) async fn begin_stream(&self, containers: &[&str], data: Value) -> (String, reqwest::Response) {
        let body = json!({"containers": containers, "data": data});
        let request = self.request(Method::POST, "/api/jobs/stream").json(&body);
        let mut response = soon("an answer", request.send()).await.unwrap();
        assert_eq!(response.status(), 200);
        let first = soon("the id", response.chunk()).await.unwrap().unwrap();
        let first = String::from_utf8(first.to_vec()).unwrap();
        (first.trim_end().to_owned(), response)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = soon("an answer", self.request(Method::GET, path).send()).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }

    /// What is known of a job.
    pub(crate) async fn job(&self, id: &str) -> Value {
        let mut jobs = self.get(&format!("/api/jobs?id={id}&intermediate=true")).await;
        assert_eq!(jobs.as_array().unwrap().len(), 1, "{id}: {jobs}");
        jobs[0].take()
    }

    /// The job when it has ended.
    pub(crate) async fn ended(&self, id: &str) -> Value {
        until("the end of a job", async || {
            let job = self.job(id).await;
            (job["status"] != "running").then_some(job)
        })
        .await
    }

    /// The job's last output, when it has ended well.
    pub(crate) async fn output(&self, id: &str) -> Value {
        let job = self.ended(id).await;
        assert_eq!(job["status"], "success", "{job}");
        job["result"]["output"].clone()
    }

    /// What went wrong with the job, when it has ended.
    pub(crate) async fn error(&self, id: &str) -> String {
        let job = self.ended(id).await;
        assert_eq!(job["status"], "failed", "{job}");
        job["result"]["error"].as_str().unwrap().to_owned()
    }
}
