//! The whole surface over real sockets, in front of a node that says what it was asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use resultity_core::api::node::JobStream;
use resultity_core::infernet::resources::{ModelSupport, Said, ServiceResources};
use resultity_core::infernet::subscription::DelegatedRequest;
use resultity_core::infernet::{
    BatchAnswer, BatchRequest, ContainerResult, Health, HealthInfo, JobId, JobRequest, JobResponse, JobResult,
    JobStatus, NodeError, NodeErrorKind, NodeInfo, StatusUpdate,
};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;

mod answers;
mod connections;

/// A node that does what the names of containers say, and writes down what else it was asked.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Sessions for Told {
    type Session = ToldBy;

    fn session(&self, caller: IpAddr) -> ToldBy {
        ToldBy(self.clone(), caller)
    }
}

struct ToldBy(Told, IpAddr);

impl Told {
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.into()).unwrap()
}

/// Notes when it goes.
struct Gone(Told);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.note("gone".into());
    }
}

#[async_trait]
impl NodeApi for ToldBy {
    async fn health(&self) -> Result<HealthInfo, NodeError> {
        self.0.note(format!("health for {}", self.1));
        Ok(HealthInfo {
            status: Health::Healthy,
        })
    }

    async fn info(&self) -> Result<NodeInfo, NodeError> {
        Err(NodeError::new(NodeErrorKind::Internal, "the secret of the database"))
    }

    async fn resources(&self) -> Result<BTreeMap<String, Said<ServiceResources>>, NodeError> {
        Ok([("a".to_owned(), Said::new(raw(r#"{"any":1e999}"#)))].into())
    }

    async fn model_support(&self, model_id: &str) -> Result<BTreeMap<String, Said<ModelSupport>>, NodeError> {
        self.0.note(model_id.into());
        Ok(BTreeMap::new())
    }

    async fn create_job(&self, request: JobRequest) -> Result<JobId, NodeError> {
        match &*request.containers.concat() {
            "refused" => Err(NodeError::refused("Container not supported").with("container", "refused")),
            "busy" => Err(NodeError::new(NodeErrorKind::Busy, "full").retry_after(Duration::from_millis(2500))),
            _ => {
                self.0.note(request.data.get().into());
                Ok("an-id".into())
            }
        }
    }

    async fn create_delegated(&self, _: DelegatedRequest) -> Result<(), NodeError> {
        Ok(())
    }

    async fn create_batch(&self, requests: Vec<BatchRequest>) -> Result<Vec<BatchAnswer>, NodeError> {
        let mut answers = Vec::new();
        for request in requests {
            answers.push(match request {
                BatchRequest::Job(request) => match self.create_job(request).await {
                    Ok(id) => BatchAnswer::Job(JobResponse { id }),
                    Err(error) => BatchAnswer::Error(error.to_response()),
                },
                BatchRequest::Delegated(_) => BatchAnswer::Delegated,
            });
        }
        Ok(answers)
    }

    async fn stream_job(&self, request: JobRequest) -> Result<JobStream, NodeError> {
        let (told, pieces) = (self.0.clone(), request.containers);
        if pieces == ["refused"] {
            return Err(NodeError::refused("Container not supported"));
        }
        let bytes = futures::stream::unfold((pieces.into_iter(), Gone(told)), |(mut pieces, gone)| async move {
            let piece = match pieces.next()?.as_str() {
                "fail" => Err(NodeError::new(NodeErrorKind::Internal, "no")),
                "hang" => std::future::pending().await,
                "bytes" => Ok(Bytes::from_static(b"\xff\0")),
                piece => Ok(piece.to_owned().into()),
            };
            Some((piece, (pieces, gone)))
        });
        Ok(JobStream {
            id: "an-id".into(),
            bytes: bytes.boxed(),
        })
    }

    async fn job_results(&self, ids: &[JobId], intermediate: bool) -> Result<Vec<JobResult>, NodeError> {
        Ok(ids
            .iter()
            .map(|id| JobResult {
                id: id.clone(),
                status: JobStatus::Success,
                result: Some(ContainerResult::output("a", raw("18446744073709551616"))),
                intermediate_results: intermediate.then(Vec::new),
            })
            .collect())
    }

    async fn job_ids(&self, pending: Option<bool>) -> Result<Vec<JobId>, NodeError> {
        Ok(vec![JobId::new(format!("{pending:?}"))])
    }

    async fn set_status(&self, update: StatusUpdate) -> Result<(), NodeError> {
        self.0.note(format!("{} {} by {}", update.id, update.status, self.1));
        Ok(())
    }
}

struct Server {
    told: Told,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

fn settings() -> Settings {
    let mut settings = Settings::new("unused", Vec::new());
    settings.max_body_bytes = 10_000;
    settings.rate_limit.requests = 1_000_000;
    settings
}

impl Server {
    async fn start(settings: &Settings) -> Self {
        let told = Told::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let api = Arc::new(Api::new(told.clone(), settings));
        let serving = tokio::spawn(listen::run(listener, api, stop.clone(), Duration::from_secs(5)));
        Self {
            told,
            address,
            stop,
            serving,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends this and reads until the end.
    async fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut socket = self.connect().await;
        let (mut reader, mut writer) = socket.split();
        let mut answer = Vec::new();
        let write = async {
            // The node may answer before it has read everything.
            let _ = writer.write_all(request.as_ref()).await;
        };
        let ((), read) = tokio::join!(write, reader.read_to_end(&mut answer));
        read.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str) -> String {
        self.ask(format!("GET {path} HTTP/1.1\r\nconnection: close\r\n\r\n"))
            .await
    }

    async fn send(&self, line: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        let request =
            format!("{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
        self.ask(request).await
    }

    async fn post(&self, path: &str, body: &str) -> String {
        let headers = "content-type: application/json\r\n";
        self.send(&format!("POST {path}"), headers, body).await
    }
}

/// Status and body.
fn said(answer: &str) -> (u16, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect(answer);
    if !body.is_empty() && !head.contains("transfer-encoding") {
        let length = format!("content-length: {}", body.len());
        assert!(head.contains(&length), "{answer}");
    }
    (head[9..12].parse().unwrap(), body)
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(known, _)| *known == name).map(|(_, value)| value)
}

const JOB: &str = r#"{"containers":["a"],"data":{"n":1}}"#;
