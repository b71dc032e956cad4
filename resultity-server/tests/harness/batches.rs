//! Files and batches over plain HTTP.

use reqwest::{Client, RequestBuilder};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{TestServer, soon};

/// The API as one key sees it.
#[derive(Clone)]
pub struct Api {
    http: Client,
    base: String,
    key: String,
}

/// What separates the parts of a form.
const BOUNDARY: &str = "a-boundary";

impl Api {
    pub fn new(server: &TestServer) -> Self {
        Self::at(&format!("{}/v1", server.base_url()), server.api_key.expose_secret())
    }

    /// The API at this address.
    pub fn at(base: &str, key: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: Client::builder().no_proxy().build().unwrap(),
            base: base.to_owned(),
            key: key.to_owned(),
        }
    }

    pub async fn send(&self, request: RequestBuilder) -> (u16, Value) {
        let answer = soon("an answer", request.bearer_auth(&self.key).send()).await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    pub async fn delete(&self, path: &str) -> (u16, Value) {
        self.send(self.http.delete(format!("{}{path}", self.base))).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(self.http.post(format!("{}{path}", self.base)).json(&body))
            .await
    }

    /// The same, named by an idempotency key.
    pub async fn post_named(&self, key: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.base)).json(&body);
        self.send(request.header("idempotency-key", key)).await
    }

    /// Uploads a form of these parts: name, file name, content.
    pub async fn form(&self, parts: &[(&str, Option<&str>, &[u8])]) -> (u16, Value) {
        let mut body = Vec::new();
        for (name, filename, content) in parts {
            let filename = filename.map_or(String::new(), |name| format!("; filename=\"{name}\""));
            let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        let request = self
            .http
            .post(format!("{}/files", self.base))
            .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
            .body(body);
        self.send(request).await
    }

    /// Stores a file for a batch; gives its id.
    pub async fn upload(&self, content: &str) -> String {
        let (status, file) = self
            .form(&[
                ("purpose", None, b"batch"),
                ("file", Some("in.jsonl"), content.as_bytes()),
            ])
            .await;
        assert_eq!(status, 200, "{file}");
        file["id"].as_str().unwrap().to_owned()
    }

    /// The content of a file.
    pub async fn content(&self, id: &str) -> (u16, reqwest::header::HeaderMap, Vec<u8>) {
        let request = self.http.get(format!("{}/files/{id}/content", self.base));
        let answer = soon("a file", request.bearer_auth(&self.key).send()).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        (status, headers, answer.bytes().await.unwrap().to_vec())
    }

    /// The lines of a file that a batch wrote; none if there is no such file.
    pub async fn lines(&self, id: &Value) -> Vec<Value> {
        let Some(id) = id.as_str() else { return Vec::new() };
        let (status, _, content) = self.content(id).await;
        assert_eq!(status, 200);
        let text = String::from_utf8(content).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Makes a batch of this file.
    pub async fn create(&self, file: &str, endpoint: &str) -> Value {
        let body = json!({"input_file_id": file, "endpoint": endpoint, "completion_window": "24h"});
        let (status, batch) = self.post("/batches", body).await;
        assert_eq!((status, &batch["status"]), (200, &json!("validating")), "{batch}");
        batch
    }

    /// Makes a batch of these lines; gives its id.
    pub async fn batch(&self, lines: &[Value], endpoint: &str) -> String {
        let file = self.upload(&jsonl(lines)).await;
        self.create(&file, endpoint).await["id"].as_str().unwrap().to_owned()
    }

    /// Waits until the batch is as it should be.
    pub async fn until(&self, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        soon("a change of the batch", async {
            loop {
                let (status, batch) = self.get(&format!("/batches/{id}")).await;
                assert_eq!(status, 200, "{batch}");
                if is_so(&batch) {
                    return batch;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// Waits until the batch has this status.
    pub async fn until_status(&self, id: &str, status: &str) -> Value {
        self.until(id, |batch| batch["status"] == status).await
    }
}

/// Lines of a file.
pub fn jsonl(lines: &[Value]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.to_string());
        text.push('\n');
    }
    text
}

/// A line that asks the model `m` a question.
pub fn chat_line(custom_id: &str, model: &str) -> Value {
    json!({
        "custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions",
        "body": {"model": model, "messages": [{"role": "user", "content": custom_id}], "max_tokens": 10},
    })
}
