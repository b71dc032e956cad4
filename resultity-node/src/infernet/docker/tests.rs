#![expect(
    clippy::unwrap_used,
    reason = "tests stop at the first thing that is not as it should be"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::manage;
use crate::infernet::config::settings::{ContainerSettings, DockerSettings, Settings};
use crate::infernet::containers::Containers;

/// A Docker engine as far as the node asks it, with "containers" that listen on their ports.
#[derive(Clone, Default)]
struct FakeEngine(Arc<Mutex<Fake>>);

#[derive(Default)]
struct Fake {
    /// By name: what it was made of, and what runs.
    containers: BTreeMap<String, FakeContainer>,
    images: Vec<String>,
    /// What can be pulled.
    registry: Vec<String>,
    asked: Vec<String>,
    login: Option<Value>,
}

#[derive(Default)]
struct FakeContainer {
    body: Value,
    serving: Option<CancellationToken>,
    /// Ends as soon as it starts.
    is_broken: bool,
}

impl FakeContainer {
    fn port(&self) -> u16 {
        let port = &self.body["HostConfig"]["PortBindings"]["3000/tcp"][0]["HostPort"];
        port.as_str().unwrap().parse().unwrap()
    }

    fn is_running(&self) -> bool {
        self.serving.as_ref().is_some_and(|serving| !serving.is_cancelled())
    }
}

type Asked = (Method, Uri, Query<BTreeMap<String, String>>, HeaderMap, Bytes);

impl FakeEngine {
    /// Listens on a socket.
    fn serve(&self) -> (TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let answer = |State(fake): State<Self>, method, uri, query, headers, body| async move {
            fake.answer((method, uri, query, headers, body)).await
        };
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (dir, format!("unix://{}", path.display()))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Fake) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn asked(&self) -> Vec<String> {
        self.with(|fake| fake.asked.clone())
    }

    /// Starts the container as an engine would: something listens on its port.
    async fn start(&self, name: &str) -> Response {
        let (port, is_broken) = self.with(|fake| {
            let container = &fake.containers[name];
            (container.port(), container.is_broken)
        });
        if !is_broken {
            let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
            let serving = CancellationToken::new();
            let stop = serving.clone();
            tokio::spawn(async move {
                let router = Router::new().fallback(|| async { StatusCode::NOT_FOUND });
                stop.run_until_cancelled(async { axum::serve(listener, router).await })
                    .await;
            });
            self.with(|fake| fake.containers.get_mut(name).unwrap().serving = Some(serving));
        }
        StatusCode::NO_CONTENT.into_response()
    }

    async fn answer(&self, (method, uri, Query(query), headers, body): Asked) -> Response {
        // The version is in front.
        let path = uri.path().trim_start_matches('/');
        let path = path.strip_prefix("v1.41/").unwrap_or(path).to_owned();
        let parts: Vec<_> = path.split('/').collect();
        if method == Method::POST {
            self.with(|fake| fake.asked.push(path.clone()));
        }
        let missing = || (StatusCode::NOT_FOUND, axum::Json(json!({"message": "no such thing"}))).into_response();
        match parts[..] {
            ["version"] => axum::Json(json!({"ApiVersion": "1.41", "Version": "20.10"})).into_response(),
            [.., "version"] => axum::Json(json!({"ApiVersion": "1.41"})).into_response(),
            ["containers", "json"] => {
                assert_eq!(query["filters"], r#"{"status":["running"]}"#);
                let running = self.with(|fake| {
                    let running = fake.containers.iter().filter(|(_, container)| container.is_running());
                    running
                        .map(|(name, _)| json!({"Names": [format!("/{name}")]}))
                        .collect::<Vec<_>>()
                });
                axum::Json(running).into_response()
            }
            ["containers", "create"] => {
                let body: Value = serde_json::from_slice(&body).unwrap();
                let image = body["Image"].as_str().unwrap().to_owned();
                let name = query["name"].clone();
                self.with(|fake| {
                    if !fake.images.iter().any(|known| known.starts_with(&image)) {
                        return missing();
                    }
                    let is_broken = image.contains("broken");
                    let container = FakeContainer {
                        body,
                        is_broken,
                        ..FakeContainer::default()
                    };
                    fake.containers.insert(name, container);
                    (StatusCode::CREATED, axum::Json(json!({"Id": "1", "Warnings": []}))).into_response()
                })
            }
            ["containers", name, "json"] => self.with(|fake| {
                let Some(container) = fake.containers.get(name) else {
                    return missing();
                };
                let state = json!({"Running": container.is_running(), "ExitCode": 3});
                axum::Json(json!({"State": state, "HostConfig": container.body["HostConfig"]})).into_response()
            }),
            ["containers", name, "start"] => self.start(name).await,
            ["containers", name, "stop"] => self.with(|fake| {
                assert_eq!(query["t"], "60");
                let Some(container) = fake.containers.get_mut(name) else {
                    return missing();
                };
                if let Some(serving) = container.serving.take() {
                    serving.cancel();
                }
                StatusCode::NO_CONTENT.into_response()
            }),
            ["images", "create"] => self.with(|fake| {
                let image = query["fromImage"].clone();
                let login = headers.get("x-registry-auth").map(|login| {
                    let login = base64::engine::general_purpose::STANDARD.decode(login).unwrap();
                    serde_json::from_slice(&login).unwrap()
                });
                fake.login = login;
                if !fake.registry.contains(&image) {
                    let error = "pull access denied";
                    return json!({"errorDetail": {"message": error}, "error": error})
                        .to_string()
                        .into_response();
                }
                fake.images.push(image);
                let lines = [
                    json!({"status": "Pulling from org/echo", "id": "latest"}),
                    json!({"status": "Downloading", "id": "a1", "progressDetail": {"current": 5, "total": 10}}),
                    json!({"status": "Download complete", "id": "a1", "progressDetail": {}}),
                ];
                lines.map(|line| format!("{line}\r\n")).concat().into_response()
            }),
            ["images", .., "json"] => {
                let image = path["images/".len()..].trim_end_matches("/json").to_owned();
                let is_here = self.with(|fake| fake.images.iter().any(|known| known.starts_with(&image)));
                if is_here {
                    axum::Json(json!({"Id": "1"})).into_response()
                } else {
                    missing()
                }
            }
            _ => missing(),
        }
    }
}

/// A port that nothing listens on, another one each time, and not one of those that systems give to whoever asks for any.
async fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 21_000 + (std::process::id() % 5_000) as u16 * 2;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 500;
        if TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            return port;
        }
    }
}

async fn container(id: &str, image: &str) -> ContainerSettings {
    let port = free_port().await;
    let mut container = ContainerSettings::new(id, Url::parse(&format!("http://127.0.0.1:{port}")).unwrap());
    container.port = Some(port);
    image.clone_into(&mut container.image);
    container
}

/// A manager at work.
struct Managed {
    running: Arc<Containers>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Managed {
    fn start(host: String, containers: Vec<ContainerSettings>) -> Self {
        Self::start_with(
            DockerSettings {
                host: Some(host),
                ..DockerSettings::default()
            },
            containers,
        )
    }

    fn start_with(docker: DockerSettings, containers: Vec<ContainerSettings>) -> Self {
        let mut settings = Settings::new(PathBuf::from("unused"), containers.clone());
        settings.docker = Some(docker.clone());
        let running = Arc::new(Containers::new(&settings).unwrap());
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(manage(docker, containers, Arc::clone(&running), stop.clone()));
        tasks.close();
        Self { running, stop, tasks }
    }

    fn running(&self) -> Vec<String> {
        self.running.info().into_iter().map(|container| container.id).collect()
    }

    async fn until_running(&self, expected: &[&str]) {
        until(|| self.running() == expected).await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    tokio::time::timeout(Duration::from_mins(2), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it comes about in time");
}

#[tokio::test]
async fn containers_are_pulled_made_started_and_stopped() {
    let engine = FakeEngine::default();
    engine.with(|fake| fake.registry = vec!["org/echo:latest".to_owned()]);
    let (_dir, host) = engine.serve();
    let mut one = container("one", "org/echo").await;
    one.command = vec!["--workers=2".to_owned()];
    one.env.insert("KEY".to_owned(), "value".to_owned());
    one.volumes = vec!["data:/data:ro".to_owned()];
    one.gpu = true;
    let port = one.port.unwrap().to_string();
    let docker = DockerSettings {
        host: Some(host),
        username: Some("me".to_owned()),
        password: Some("secret".into()),
        ..DockerSettings::default()
    };
    let managed = Managed::start_with(docker, vec![one, container("two", "org/echo").await]);
    managed.until_running(&["one", "two"]).await;
    let body = engine.with(|fake| fake.containers["one"].body.clone());
    assert_eq!(
        body,
        json!({
            "Image": "org/echo", "Cmd": ["--workers=2"], "Env": ["KEY=value"], "ExposedPorts": {"3000/tcp": {}},
            "HostConfig": {
                "Binds": ["data:/data:ro"],
                "PortBindings": {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]},
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5},
                "DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}],
                "ExtraHosts": ["host.docker.internal:host-gateway"],
            },
        })
    );
    let login = engine.with(|fake| fake.login.clone()).unwrap();
    assert_eq!(
        (&login["username"], &login["password"]),
        (&json!("me"), &json!("secret"))
    );
    // One image, one pull.
    let pulls = engine.asked().iter().filter(|asked| *asked == "images/create").count();
    assert_eq!(pulls, 1);
    managed.stop().await;
    assert!(engine.with(|fake| fake.containers.values().all(|container| !container.is_running())));
}

#[tokio::test]
async fn a_container_that_exists_is_started_as_it_is() {
    let engine = FakeEngine::default();
    let (_dir, host) = engine.serve();
    let settings = container("one", "org/echo").await;
    let port = settings.port.unwrap().to_string();
    let body = json!({"HostConfig": {"PortBindings": {"3000/tcp": [{"HostPort": port}]}}});
    let existing = FakeContainer {
        body,
        ..FakeContainer::default()
    };
    engine.with(|fake| fake.containers.insert("one".to_owned(), existing));
    let managed = Managed::start(host, vec![settings]);
    managed.until_running(&["one"]).await;
    assert_eq!(engine.asked(), ["containers/one/start"]);
    managed.stop().await;
}

#[tokio::test]
async fn one_that_fails_does_not_hold_up_the_others() {
    let engine = FakeEngine::default();
    engine.with(|fake| {
        fake.registry = vec!["org/echo:latest".to_owned(), "broken:latest".to_owned()];
        // It cannot be pulled, and is here.
        fake.images = vec!["local:latest".to_owned()];
    });
    let (_dir, host) = engine.serve();
    let mut elsewhere = ContainerSettings::new("elsewhere", Url::parse("http://10.0.0.5").unwrap());
    elsewhere.image = "unused".to_owned();
    let containers = vec![
        container("nowhere", "org/nowhere").await,
        container("broken", "broken").await,
        container("local", "local").await,
        container("one", "org/echo").await,
        elsewhere,
    ];
    let docker = DockerSettings {
        host: Some(host),
        startup_wait: Duration::from_secs(3),
        ..DockerSettings::default()
    };
    let managed = Managed::start_with(docker, containers);
    managed.until_running(&["local", "one", "elsewhere"]).await;
    managed.stop().await;
}

#[tokio::test]
async fn what_answers_at_the_ports_is_used_without_an_engine() {
    let engine = FakeEngine::default();
    engine.with(|fake| fake.registry = vec!["org/echo:latest".to_owned()]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock");
    let containers = vec![container("one", "org/echo").await];
    let managed = Managed::start(format!("unix://{}", path.display()), containers);
    managed.until_running(&["one"]).await;
    assert_eq!(engine.asked(), Vec::<String>::new());
    managed.stop().await;
}

#[tokio::test]
async fn containers_that_stop_and_start_are_noticed() {
    let engine = FakeEngine::default();
    engine.with(|fake| fake.registry = vec!["org/echo:latest".to_owned()]);
    let (_dir, host) = engine.serve();
    let managed = Managed::start(
        host,
        vec![container("one", "org/echo").await, container("two", "org/echo").await],
    );
    managed.until_running(&["one", "two"]).await;
    engine.with(|fake| fake.containers["two"].serving.as_ref().unwrap().cancel());
    // Ten seconds go by at once.
    tokio::time::pause();
    managed.until_running(&["one"]).await;
    tokio::time::resume();
    engine.start("two").await;
    tokio::time::pause();
    managed.until_running(&["one", "two"]).await;
    tokio::time::resume();
    managed.stop().await;
}
