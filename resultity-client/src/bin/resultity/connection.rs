//! Which server is talked to, and with which key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use directories::ProjectDirs;
use resultity_client::core::api::cloud::{ModelsApi, ReplyMeta};
use resultity_client::core::api::jobs::JobsApi;
use resultity_client::core::capability::Capability;
use resultity_client::core::error::{ApiError, ErrorCode};
use resultity_client::core::openai::model::Model;
use resultity_client::core::{DEV_FILE, PROJECT};
use resultity_client::{CloudClient, StatusClient};
use serde::Deserialize;
use serde_json::Value;

use crate::output::Failure;

#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArguments {
    /// Where the API is, such as https://HOST/v1
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "RESULTITY_BASE_URL",
        hide_env_values = true
    )]
    base_url: Option<String>,
    /// The API key; better given by the variable, which others on this machine cannot see
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "RESULTITY_API_KEY",
        hide_env_values = true
    )]
    api_key: Option<String>,
    /// A token of `resultity login`'s kind, or an access token; better given by the variable
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "RESULTITY_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// Where a running `dev` keeps its data [default: the platform's data folder]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How long an answer may take; where it is streamed, to begin
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: u64,
}

/// What a running `resultity-server dev` tells about itself.
#[derive(Deserialize)]
struct DevFile {
    cloud: String,
    api_key: String,
    model: Option<String>,
    #[serde(default)]
    embedding_model: Option<String>,
    #[serde(default)]
    network_key: Option<String>,
    /// What its administrator signs in with.
    #[serde(default)]
    admin_email: Option<String>,
    #[serde(default)]
    admin_password: Option<String>,
}

/// Where a Gate API is, and with which token it may be asked.
pub(crate) struct GatePlace {
    pub(crate) url: String,
    /// The token that was given.
    pub(crate) token: Option<String>,
    /// What the administrator of the `dev` that runs here signs in with: address and password.
    pub(crate) dev: Option<(String, String)>,
}

impl DevFile {
    /// Nothing where no `dev` runs.
    fn read(data_dir: Option<&Path>) -> Result<Option<Self>, Failure> {
        let data_dir = match data_dir {
            Some(given) => given.to_owned(),
            None => {
                let (qualifier, organisation, application) = PROJECT;
                let Some(folders) = ProjectDirs::from(qualifier, organisation, application) else {
                    return Ok(None);
                };
                folders.data_dir().to_owned()
            }
        };
        let path = data_dir.join(DEV_FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::new(format!("{} cannot be read: {error}", path.display()))),
        };
        // The cause is left out: it could quote the key.
        serde_json::from_slice(&text).map(Some).map_err(|_| {
            Failure::new(format!("{} is not what `resultity-server dev` writes", path.display()))
                .hint("Start `resultity-server dev` again, or give --base-url and --api-key.")
        })
    }
}

/// A client, and what is known about the server.
pub(crate) struct Connection {
    pub(crate) client: CloudClient,
    model: Option<String>,
    embedding_model: Option<String>,
    has_key: bool,
    is_given: bool,
}

impl ConnectionArguments {
    /// Flags, then environment, then a running `dev`. A key that `dev` wrote only goes to that `dev`.
    pub(crate) fn connect(self) -> Result<Connection, Failure> {
        let given = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let (base_url, api_key) = (given(self.base_url), given(self.api_key));
        let is_given = base_url.is_some();
        let dev = if is_given && api_key.is_some() {
            None
        } else {
            DevFile::read(self.data_dir.as_deref())?
        };
        let dev = dev.filter(|dev| base_url.as_deref().is_none_or(|url| same_place(url, &dev.cloud)));
        let mut builder = CloudClient::builder().timeout(Duration::from_secs(self.timeout));
        let (mut model, mut embedding_model, mut known_key) = (None, None, api_key);
        let mut url = base_url;
        if let Some(dev) = dev {
            model = dev.model;
            embedding_model = dev.embedding_model;
            url = url.or(Some(dev.cloud));
            known_key = known_key.or(Some(dev.api_key));
        } else if url.is_none() && known_key.is_none() {
            return Err(
                Failure::new("no server is known: no `resultity-server dev` runs on this machine")
                    .hint("Start it, or give --base-url and --api-key (RESULTITY_BASE_URL, RESULTITY_API_KEY)."),
            );
        }
        if let Some(url) = url {
            builder = builder.base_url(url);
        }
        let has_key = known_key.is_some();
        if let Some(key) = known_key {
            builder = builder.api_key(key);
        }
        let client = builder
            .user_agent(concat!("resultity/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Connection {
            client,
            model,
            embedding_model,
            has_key,
            is_given,
        })
    }
}

impl ConnectionArguments {
    /// How long an answer may take.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The server that is meant, without the path of an API; and the `dev` that it is, if one runs here.
    fn server(&self) -> Result<(String, Option<DevFile>), Failure> {
        let given = self.base_url.as_deref().map(str::trim).filter(|url| !url.is_empty());
        let dev = DevFile::read(self.data_dir.as_deref());
        let (cloud, dev) = match (given, dev) {
            (Some(url), Ok(Some(dev))) if same_place(url, &dev.cloud) => (url.to_owned(), Some(dev)),
            (Some(url), _) => (url.to_owned(), None),
            (None, dev) => {
                let dev = dev?.ok_or_else(|| {
                    Failure::new("no server is known: no `resultity-server dev` runs on this machine")
                        .hint("Start it, or give --base-url (RESULTITY_BASE_URL), such as https://HOST/v1.")
                })?;
                (dev.cloud.clone(), Some(dev))
            }
        };
        let url = cloud.trim_end_matches('/').trim_end_matches("/v1").to_owned();
        Ok((url, dev))
    }

    /// Where the Gate API of the server that is meant is, and with which token.
    pub(crate) fn gate(&self) -> Result<GatePlace, Failure> {
        let (server, dev) = self.server()?;
        let token = self.token.as_deref().map(str::trim).filter(|token| !token.is_empty());
        Ok(GatePlace {
            url: format!("{server}/gate/v1"),
            token: token.map(str::to_owned),
            dev: dev.and_then(|dev| dev.admin_email.zip(dev.admin_password)),
        })
    }

    /// The Status API of the server that is meant, which needs no key: beside its Cloud API.
    pub(crate) fn status(&self) -> Result<StatusClient, Failure> {
        let (server, _) = self.server()?;
        StatusClient::builder()
            .base_url(format!("{server}/status/v1"))
            .timeout(self.timeout())
            .user_agent(concat!("resultity/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::usage(error.to_string()))
    }

    /// The address of the network of a `dev` that runs here.
    pub(crate) fn network_of_dev(&self) -> Result<Option<String>, Failure> {
        Ok(DevFile::read(self.data_dir.as_deref())?.and_then(|dev| dev.network_key))
    }
}

/// What a model can do, where the server says so.
pub(crate) fn capabilities(model: &Model) -> impl Iterator<Item = &str> {
    let listed = model.extra.get("capabilities").and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(Value::as_str)
}

fn same_place(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

impl Connection {
    /// The model that was named, else `dev`'s, else the first that the server lists, if there is one that makes text.
    pub(crate) async fn model(&self, named: Option<String>) -> Result<String, Failure> {
        if let Some(model) = named.or_else(|| self.model.clone()) {
            return Ok(model);
        }
        let models = self.client.models().await.map_err(|error| self.explain(error))?;
        let others = [Capability::Embeddings, Capability::Container].map(Capability::as_str);
        let makes_text = |model: &&Model| !capabilities(model).any(|name| others.contains(&name));
        let first = models.data.iter().find(makes_text);
        first
            .or(models.data.first())
            .map(|model| model.id.clone())
            .ok_or_else(|| {
                Failure::new("the server offers no model now")
                    .hint("Start a node that serves one, or name one with --model.")
            })
    }

    /// The model that was named, else `dev`'s, else the first that the server lists as one that can do this.
    pub(crate) async fn model_that_can(&self, named: Option<String>, wanted: Capability) -> Result<String, Failure> {
        let of_dev = self
            .embedding_model
            .clone()
            .filter(|_| wanted == Capability::Embeddings);
        if let Some(model) = named.or(of_dev) {
            return Ok(model);
        }
        let models = self.client.models().await.map_err(|error| self.explain(error))?;
        let can = |model: &&Model| capabilities(model).any(|name| name == wanted.as_str());
        models
            .data
            .iter()
            .find(can)
            .map(|model| model.id.clone())
            .ok_or_else(|| {
                Failure::new(format!("the server lists no model for {wanted} now"))
                    .hint("Start a node that serves one, or name one with --model.")
            })
    }

    /// What a stream took. Its headers came before its cost was known, so its job is asked for that.
    pub(crate) async fn meta_of_stream(&self, meta: &ReplyMeta) -> ReplyMeta {
        let mut meta = meta.clone();
        if let (None, Some(job)) = (meta.cost, meta.job_id) {
            meta.cost = self.client.job(job).await.ok().and_then(|job| job.body.cost);
        }
        meta
    }

    /// What went wrong with something that this command lists.
    pub(crate) fn explain_listed(&self, error: ApiError, list: &str) -> Failure {
        // What names a request comes from the server itself, not from something else at that address.
        if error.code == ErrorCode::NotFound && error.request_id.is_some() {
            return Failure::api(error, Some(format!("`{list}` lists what is there.")));
        }
        self.explain(error)
    }

    /// What went wrong, and what to do about it.
    pub(crate) fn explain(&self, error: ApiError) -> Failure {
        let again = |what: &str| match error.retry_after {
            Some(wait) => format!("Try again in {} s{what}.", wait.as_secs().max(1)),
            None => format!("Try again in a moment{what}."),
        };
        let hint = match error.code {
            ErrorCode::Connection if self.is_given => "Check --base-url, and that the server runs.".to_owned(),
            ErrorCode::Connection => "Check that `resultity-server dev` runs, or give --base-url.".to_owned(),
            ErrorCode::InvalidApiKey if self.has_key => "Check --api-key or RESULTITY_API_KEY.".to_owned(),
            ErrorCode::InvalidApiKey => "Give a key with --api-key or RESULTITY_API_KEY.".to_owned(),
            ErrorCode::InsufficientQuota => "Add credits, or use another key.".to_owned(),
            ErrorCode::ModelNotFound => "`resultity models` lists what can be asked.".to_owned(),
            ErrorCode::Conflict
                if error.message.contains("Idempotency-Key") || error.message.contains("idempotency") =>
            {
                "Name another request with another --idempotency-key.".to_owned()
            }
            ErrorCode::ContextLengthExceeded => "Shorten the prompt, or lower --max-tokens.".to_owned(),
            ErrorCode::NotFound | ErrorCode::MethodNotAllowed | ErrorCode::InvalidResponse => {
                format!("Check --base-url ({}): it usually ends in /v1.", self.client.base_url())
            }
            ErrorCode::Timeout => again(", or allow more with --timeout"),
            ErrorCode::RateLimitExceeded | ErrorCode::NoCapacity | ErrorCode::StreamCut => again(""),
            ErrorCode::DeadlineExceeded => again(", or allow more with --ttl"),
            ErrorCode::NodeFailed | ErrorCode::Internal => match &error.request_id {
                Some(id) => again(&format!("; if it stays, tell the operator the request id {id}")),
                None => again(""),
            },
            _ => return Failure::api(error, None),
        };
        Failure::api(error, Some(hint))
    }
}
