//! Calls over HTTP as they are, without a client that knows better.

use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{TestServer, soon};

pub struct Api {
    http: reqwest::Client,
    base: String,
    pub key: String,
}

/// An answer: status, header of this name, body.
pub struct Said {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}: {}", self.status, self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Api {
    pub fn new(server: &TestServer) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: reqwest::Client::new(),
            base: server.base_url(),
            key: server.api_key.expose_secret().to_owned(),
        }
    }

    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Said {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        Said {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Value {
        let said = self.call(Method::GET, path, &[], None).await;
        assert_eq!(said.status, 200, "{}", said.body);
        said.json()
    }

    pub async fn post(&self, path: &str, body: Value) -> Said {
        self.call(Method::POST, path, &[], Some(body)).await
    }

    /// Asks once more and again until a job is in this state.
    pub async fn until(&self, id: &str, status: &str) -> Value {
        soon(status, async {
            loop {
                let job = self.get(&format!("/v1/jobs/{id}")).await;
                if job["status"] == status {
                    return job;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

/// A chat request of little cost.
pub fn chat() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 10})
}
