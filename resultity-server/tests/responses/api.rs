//! The API as one key sees it, over HTTP.

use futures::StreamExt;
use resultity_core::credits::Credits;
use resultity_core::id::{JobId, ResponseId};
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::signing::Outcome;
use resultity_core::wire::Job;
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::harness::node::{Sent, TestNode};
use crate::harness::{TestServer, soon};

/// Three prompt tokens and two made, at the price of the harness: what an answer of a test node costs.
pub(crate) const COST: Credits = Credits::from_micros(10 + 3 + 4);

/// The API as one key sees it.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) key: String,
}

impl Api {
    pub(crate) fn new(server: &TestServer) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: format!("{}/v1", server.base_url()),
            key: server.api_key.expose_secret().to_owned(),
        }
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = soon("an answer", request.bearer_auth(&self.key).send()).await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn create(&self, body: Value) -> (u16, Value) {
        self.send(self.http.post(format!("{}/responses", self.base)).json(&body))
            .await
    }

    pub(crate) async fn post(&self, path: &str) -> (u16, Value) {
        self.send(self.http.post(format!("{}{path}", self.base))).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        self.send(self.http.delete(format!("{}{path}", self.base))).await
    }

    pub(crate) async fn events(&self, request: reqwest::RequestBuilder) -> Events {
        let answer = soon("an answer", request.bearer_auth(&self.key).send()).await.unwrap();
        assert_eq!(answer.status(), 200);
        Events {
            bytes: answer.bytes_stream().boxed(),
            text: String::new(),
        }
    }

    pub(crate) async fn create_stream(&self, body: Value) -> Events {
        self.events(self.http.post(format!("{}/responses", self.base)).json(&body))
            .await
    }

    pub(crate) async fn follow(&self, id: &str, starting_after: Option<u64>) -> Events {
        let after = starting_after.map_or(String::new(), |after| format!("&starting_after={after}"));
        let path = format!("{}/responses/{id}?stream=true{after}", self.base);
        self.events(self.http.get(path)).await
    }

    /// Waits until the response has this status.
    pub(crate) async fn until(&self, id: &str, status: &str) -> Value {
        soon("a status", async {
            loop {
                let (code, response) = self.get(&format!("/responses/{id}")).await;
                assert_eq!(code, 200);
                if response["status"] == status {
                    return response;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

/// Server-sent events on their way.
pub(crate) struct Events {
    pub(crate) bytes: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    pub(crate) text: String,
}

impl Events {
    /// The next one; none at the end. Its name is that of its type.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (name, data) = event.split_once('\n').expect("an event has a name and data");
                let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                assert_eq!(data["type"], name.strip_prefix("event: ").unwrap());
                self.text = rest.into();
                return Some(data);
            }
            let bytes = soon("an event", self.bytes.next()).await?.unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    pub(crate) async fn all(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

pub(crate) fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

pub(crate) async fn started() -> (TestServer, TestNode, Api) {
    let server = TestServer::start().await;
    let node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let api = Api::new(&server);
    (server, node, api)
}

pub(crate) async fn stream_answer(node: &mut TestNode, job: &Job, pieces: &[&str]) {
    node.accept(job).await;
    let mut sent = Sent::default();
    for piece in pieces {
        node.chunk(job, &mut sent, &[ChunkChoice::text(0, *piece)]).await;
    }
    let result = node.stream_result(job, &sent, Outcome::Complete);
    node.send(result).await;
}

pub(crate) fn job_of(id: &Value) -> JobId {
    id.as_str().unwrap().parse::<ResponseId>().unwrap().into()
}

/// Asks, while the node answers.
pub(crate) async fn answered(api: &Api, node: &mut TestNode, body: Value, text: &str) -> (Value, Value) {
    let asked = tokio::spawn({
        let api = api.clone();
        async move { api.create(body).await }
    });
    let job = node.next_job().await;
    node.answer(&job, text).await;
    let (status, response) = soon("the response", asked).await.unwrap();
    assert_eq!(status, 200, "{response}");
    (serde_json::from_str(job.body.get()).unwrap(), response)
}

/// Asks in the background, while the node answers, and waits for the end.
pub(crate) async fn answered_in_background(api: &Api, node: &mut TestNode, body: Value, text: &str) -> (Value, Value) {
    let (_, response) = api.create(body).await;
    let job = node.next_job().await;
    node.answer(&job, text).await;
    let done = api.until(response["id"].as_str().unwrap(), "completed").await;
    (serde_json::from_str(job.body.get()).unwrap(), done)
}
