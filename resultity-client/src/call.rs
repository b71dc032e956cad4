//! What is asked for: method, place, headers, body, and whether it may be repeated.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use resultity_core::api::cloud::CallOptions;
use resultity_core::api::gate::is_subcloud_name;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::job::Priority;
use serde::Serialize;
use serde_json::Value;
use url::Url;

use crate::retry::Repeat;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TTL: HeaderName = HeaderName::from_static("x-resultity-ttl");
const REGION: HeaderName = HeaderName::from_static("x-resultity-region");
const REGION_REQUIRED: HeaderName = HeaderName::from_static("x-resultity-region-required");
const GPU: HeaderName = HeaderName::from_static("x-resultity-gpu");
const GPU_MEMORY: HeaderName = HeaderName::from_static("x-resultity-gpu-memory");
const PRIORITY: HeaderName = HeaderName::from_static("x-resultity-priority");
const SUBCLOUD: HeaderName = HeaderName::from_static("x-resultity-subcloud");
const DRY_RUN: HeaderName = HeaderName::from_static("x-resultity-dry-run");

/// One request, ready to be sent as often as it takes.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    pub(crate) accept: &'static str,
    pub(crate) repeat: Repeat,
}

impl Call {
    /// A call without a body.
    pub(crate) fn new(method: Method, url: Url) -> Self {
        let repeat = if method == Method::GET {
            Repeat::Harmless
        } else {
            Repeat::OnlyIfUndone
        };
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            accept: "application/json",
            repeat,
        }
    }

    /// With this body, as JSON.
    pub(crate) fn with_json(mut self, body: &impl Serialize) -> Result<Self, ApiError> {
        let body = serde_json::to_vec(body).map_err(|error| {
            ApiError::new(
                ErrorCode::InvalidValue,
                format!("the request cannot be written as JSON: {error}"),
            )
        })?;
        self.body = Some(body.into());
        Ok(self)
    }

    /// With what stands after the question mark: the fields of this that say something.
    pub(crate) fn with_query(mut self, query: &impl Serialize) -> Result<Self, ApiError> {
        let query = serde_json::to_value(query)
            .map_err(|error| ApiError::new(ErrorCode::InvalidValue, format!("the query cannot be written: {error}")))?;
        let Value::Object(fields) = query else { return Ok(self) };
        let fields: Vec<(String, String)> = fields
            .into_iter()
            .filter_map(|(name, value)| match value {
                Value::Null => None,
                Value::String(text) => Some((name, text)),
                other => Some((name, other.to_string())),
            })
            .collect();
        if !fields.is_empty() {
            self.url.query_pairs_mut().extend_pairs(fields);
        }
        Ok(self)
    }

    /// A streamed answer is wanted.
    pub(crate) fn accepting_events(mut self) -> Self {
        self.accept = "text/event-stream";
        self
    }

    /// An answer of this kind is wanted.
    pub(crate) fn accepting(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    /// Done twice it does no more than once.
    pub(crate) fn repeatable(mut self) -> Self {
        self.repeat = Repeat::Harmless;
        self
    }

    /// It is sent once, whatever becomes of it.
    pub(crate) fn once(mut self) -> Self {
        self.repeat = Repeat::Never;
        self
    }

    /// With what the caller says beside the request. One that an idempotency key names may be repeated: the server gives the
    /// first outcome again.
    pub(crate) fn with_options(mut self, options: &CallOptions) -> Result<Self, ApiError> {
        if let Some(key) = &options.idempotency_key {
            let value = HeaderValue::from_str(key).map_err(|_| {
                ApiError::new(
                    ErrorCode::InvalidValue,
                    "an idempotency key must have 1 to 255 printable ASCII characters",
                )
                .with_param("Idempotency-Key")
            })?;
            self.headers.insert(IDEMPOTENCY_KEY, value);
            self.repeat = Repeat::Harmless;
        }
        if let Some(ttl) = options.ttl {
            // A part of a second still is time to live.
            let seconds = ttl.as_millis().div_ceil(1000);
            self.headers.insert(TTL, number(seconds));
        }
        if options.priority != Priority::default() {
            let name = HeaderValue::from_static(options.priority.as_str());
            self.headers.insert(PRIORITY, name);
        }
        if let Some(region) = &options.region {
            self.headers.insert(REGION, text(&REGION, region)?);
            if options.region_required {
                self.headers.insert(REGION_REQUIRED, HeaderValue::from_static("true"));
            }
        }
        if let Some(gpu) = &options.gpu {
            self.headers.insert(GPU, text(&GPU, gpu)?);
        }
        if let Some(memory) = options.gpu_memory_gib {
            self.headers.insert(GPU_MEMORY, memory.into());
        }
        self.with_subcloud(options)
    }

    /// With whose nodes are meant, and nothing else of what the caller says.
    pub(crate) fn with_subcloud(mut self, options: &CallOptions) -> Result<Self, ApiError> {
        if let Some(subcloud) = &options.subcloud {
            let name = Some(subcloud).filter(|name| is_subcloud_name(name));
            let name = name.and_then(|name| HeaderValue::from_str(name).ok()).ok_or_else(|| {
                let message = "the name of a Subcloud has 1 to 40 of a to z, 0 to 9 and -";
                ApiError::new(ErrorCode::InvalidValue, message).with_param(SUBCLOUD.as_str())
            })?;
            self.headers.insert(SUBCLOUD, name);
        }
        Ok(self)
    }

    /// Only asks what it would cost.
    pub(crate) fn dry_run(mut self) -> Self {
        self.headers.insert(DRY_RUN, HeaderValue::from_static("true"));
        // Nothing is run for it.
        self.repeatable()
    }
}

fn text(name: &HeaderName, text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(text).map_err(|_| {
        let message = format!("{name} must have printable ASCII characters alone");
        ApiError::new(ErrorCode::InvalidValue, message).with_param(name.as_str())
    })
}

fn number(number: u128) -> HeaderValue {
    u64::try_from(number).unwrap_or(u64::MAX).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use resultity_core::api::jobs::JobQuery;
    use resultity_core::job::JobState;
    use rstest::rstest;

    use super::*;

    fn post() -> Call {
        Call::new(Method::POST, Url::parse("http://a/v1/x").unwrap())
    }

    #[rstest]
    #[case::nothing(CallOptions::default(), &[], Repeat::OnlyIfUndone)]
    #[case::subcloud(
        CallOptions::default().subcloud("farm"),
        &[("x-resultity-subcloud", "farm")],
        Repeat::OnlyIfUndone
    )]
    #[case::all(
        CallOptions::idempotent("k 1").ttl(Duration::from_millis(1500)).priority(Priority::Bulk),
        &[("idempotency-key", "k 1"), ("x-resultity-ttl", "2"), ("x-resultity-priority", "bulk")],
        Repeat::Harmless
    )]
    #[case::node(
        CallOptions::default().only_region("EU").gpu("rtx 4090").gpu_memory(24),
        &[
            ("x-resultity-region", "EU"),
            ("x-resultity-region-required", "true"),
            ("x-resultity-gpu", "rtx 4090"),
            ("x-resultity-gpu-memory", "24")
        ],
        Repeat::OnlyIfUndone
    )]
    #[case::without_key(
        CallOptions::default().ttl(Duration::from_secs(30)),
        &[("x-resultity-ttl", "30")],
        Repeat::OnlyIfUndone
    )]
    fn options_become_headers(
        #[case] options: CallOptions,
        #[case] headers: &[(&'static str, &str)],
        #[case] repeat: Repeat,
    ) {
        let call = post().with_options(&options).unwrap();
        assert_eq!(call.headers.len(), headers.len());
        for (name, value) in headers {
            assert_eq!(call.headers[*name], value);
        }
        assert_eq!(call.repeat, repeat);
    }

    #[test]
    fn a_key_that_cannot_be_sent_is_refused_by_name() {
        let error = post().with_options(&CallOptions::idempotent("a\nb")).err().unwrap();
        assert_eq!(error.param.as_deref(), Some("Idempotency-Key"));
    }

    #[test]
    fn a_query_holds_what_was_said() {
        let query = JobQuery {
            status: Some(JobState::Running),
            model: Some("a b&c".into()),
            limit: Some(5),
            ..JobQuery::default()
        };
        let call = post().with_query(&query).unwrap();
        assert_eq!(call.url.query(), Some("limit=5&model=a+b%26c&status=running"));
        assert_eq!(post().with_query(&JobQuery::default()).unwrap().url.query(), None);
    }
}
