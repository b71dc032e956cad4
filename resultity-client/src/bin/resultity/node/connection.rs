//! Which node is asked, and what to do where it does not answer.

use clap::Args;
use resultity_client::InfernetClient;
use resultity_client::core::infernet::{NodeError, NodeErrorKind};

use crate::connection::ConnectionArguments;
use crate::output::Failure;

#[derive(Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct NodeConnectionArguments {
    /// Where the node's REST API is
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "RESULTITY_NODE_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:4000"
    )]
    url: String,
    // What the network is reached with means nothing to a node: it stays out of the help.
    #[arg(long, global = true, hide = true)]
    base_url: Option<String>,
    #[arg(long, global = true, hide = true)]
    api_key: Option<String>,
    #[arg(long, global = true, hide = true)]
    data_dir: Option<std::path::PathBuf>,
}

/// The node that is asked.
pub(crate) struct Node {
    pub(crate) client: InfernetClient,
}

impl NodeConnectionArguments {
    pub(crate) fn connect(&self, connection: &ConnectionArguments) -> Result<Node, Failure> {
        let client = InfernetClient::builder()
            .base_url(&self.url)
            .timeout(connection.timeout())
            .user_agent(concat!("resultity/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Node { client })
    }
}

impl Node {
    /// What went wrong, and what to do about it.
    pub(crate) fn explain(&self, error: &NodeError) -> Failure {
        let again = |what: &str| match error.when_to_retry() {
            Some(wait) => format!("Try again in {} s{what}.", wait.as_secs().max(1)),
            None => format!("Try again in a moment{what}."),
        };
        let url = self.client.base_url();
        let hint = match error.kind() {
            NodeErrorKind::Connection => "Check --url, and that the node runs.".to_owned(),
            NodeErrorKind::NotFound | NodeErrorKind::InvalidAnswer => {
                format!("Check --url ({url}): it has to be where a node's REST API is.")
            }
            NodeErrorKind::Refused if error.message().starts_with("Container not allowed") => {
                "The node's configuration says who may ask it: its `allowed_ips`.".to_owned()
            }
            NodeErrorKind::Refused if error.message().contains("ontainer") => {
                "`resultity node info` lists the containers.".to_owned()
            }
            NodeErrorKind::Refused if error.message() == "Chain not enabled" => {
                "It takes a node that delivers to a chain: `resultity node info` says whether it does.".to_owned()
            }
            NodeErrorKind::Unauthorized => "The node takes this only from its own machine.".to_owned(),
            NodeErrorKind::Timeout => again(", or allow more with --timeout"),
            NodeErrorKind::RateLimited | NodeErrorKind::Busy | NodeErrorKind::Internal => again(""),
            _ => return Failure::new(error.to_string()),
        };
        Failure::new(error.to_string()).hint(hint)
    }
}
