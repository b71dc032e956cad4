//! What is the same for all commands that ask a model: how the request is sent, where its text comes from, what it would
//! cost.

use std::io::Read;
use std::time::Duration;

use clap::{Args, ValueEnum};
use resultity_client::CloudClient;
use resultity_client::core::api::cloud::CallOptions;
use resultity_client::core::api::jobs::{JobRequest, JobsApi, Quote};
use resultity_client::core::job::{Endpoint, Priority};
use serde::Serialize;

use crate::connection::Connection;
use crate::output::{Failure, Output};
use crate::table::{counted, json};

/// How a request is sent.
#[derive(Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct AskingArguments {
    /// Names the request: sent again with the same name, it gives the first answer and is paid once
    #[arg(long, value_name = "NAME")]
    idempotency_key: Option<String>,
    /// Tell what it could cost and whether a node could serve it, and ask nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How long the job may take in all, waiting included
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    ttl: Option<u64>,
    /// How urgent it is
    #[arg(long, value_enum)]
    priority: Option<Urgency>,
    /// Ask the nodes of this Subcloud alone
    #[arg(long, value_name = "NAME")]
    subcloud: Option<String>,
    /// Where the node should be, such as EU; one elsewhere will do if none there is free
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// The node must be in --region
    #[arg(long, requires = "region")]
    region_required: bool,
    /// Words that the name of a GPU of the node must have, such as "rtx 4090"
    #[arg(long, value_name = "WORDS")]
    gpu: Option<String>,
    /// The least memory of that GPU
    #[arg(long, value_name = "GIB", value_parser = clap::value_parser!(u32).range(1..=4096))]
    gpu_memory: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Urgency {
    Normal,
    Bulk,
}

impl AskingArguments {
    /// Whether this makes sense for one request alone.
    pub(crate) fn is_single(&self) -> bool {
        self.dry_run || self.idempotency_key.is_some()
    }

    /// The client that says this beside its requests.
    pub(crate) fn client(&self, connection: &Connection) -> CloudClient {
        let mut options = CallOptions::default();
        options.idempotency_key.clone_from(&self.idempotency_key);
        options.subcloud.clone_from(&self.subcloud);
        options.region.clone_from(&self.region);
        options.region_required = self.region_required;
        options.gpu.clone_from(&self.gpu);
        options.gpu_memory_gib = self.gpu_memory;
        options.ttl = self.ttl.map(Duration::from_secs);
        if matches!(self.priority, Some(Urgency::Bulk)) {
            options.priority = Priority::Bulk;
        }
        connection.client.with_options(options)
    }

    /// What the request would cost, told.
    pub(crate) async fn quote(
        &self,
        connection: &Connection,
        endpoint: Endpoint,
        request: &impl Serialize,
        as_json: bool,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let request = JobRequest::new(endpoint, request).map_err(|error| Failure::new(error.to_string()))?;
        let quote = self.client(connection).quote(request).await;
        let quote = quote.map_err(|error| connection.explain(error))?;
        if as_json {
            return output.write_line(&json(&quote.body)?);
        }
        output.write_line(&told(&quote.body))
    }
}

fn told(quote: &Quote) -> String {
    let served = if !quote.can_be_served {
        "No node that is online could serve it.".to_owned()
    } else if quote.queue_place == 0 {
        "A node could serve it at once.".to_owned()
    } else {
        let jobs = counted(quote.queue_place, "job");
        let wait = Duration::from_millis(quote.estimated_wait_ms).as_secs().max(1);
        format!("A node could serve it after {jobs}, in about {wait} s.")
    };
    let (most, available) = (quote.price_ceiling, quote.available);
    if most > available {
        return format!("Up to {most} credits, but only {available} may be spent: it would be refused.");
    }
    format!("At most {most} credits, of {available} that may be spent.\n{served}")
}

/// All of standard input.
pub(crate) async fn read_all() -> Result<String, Failure> {
    read_blocking(|| {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        Ok(text)
    })
    .await
}

/// Reads from standard input without holding up the rest.
pub(crate) async fn read_blocking<T: Send + 'static>(
    read: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(read)
        .await
        .map_err(std::io::Error::other)
        .flatten()
        .map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_quote_is_told_in_two_lines() {
        let quote = |can_be_served: bool, queue_place: u64| -> Quote {
            serde_json::from_value(json!({
                "object": "dry_run", "endpoint": "/v1/embeddings", "model": "m", "model_version": "1",
                "price_ceiling": "0.00012", "available": "5", "max_prompt_tokens": 9, "max_completion_tokens": 0,
                "can_be_served": can_be_served, "queue_place": queue_place, "estimated_wait_ms": 2500,
            }))
            .unwrap()
        };
        let first = "At most 0.00012 credits, of 5 that may be spent.\n";
        assert_eq!(told(&quote(true, 0)), format!("{first}A node could serve it at once."));
        let poor = Quote {
            available: resultity_client::core::credits::Credits::ZERO,
            ..quote(true, 0)
        };
        assert_eq!(
            told(&poor),
            "Up to 0.00012 credits, but only 0 may be spent: it would be refused."
        );
        assert_eq!(
            told(&quote(true, 1)),
            format!("{first}A node could serve it after 1 job, in about 2 s.")
        );
        assert_eq!(
            told(&quote(false, 0)),
            format!("{first}No node that is online could serve it.")
        );
    }
}
