//! `resultity tokens`: access tokens for programs.

use clap::{Args, Subcommand};
use resultity_client::core::api::gate::{CreateToken, Scope, TokensApi};
use resultity_client::core::api::page::PageQuery;
use resultity_client::core::id::TokenId;

use super::keys::{from_now, seconds};
use super::{Gate, GateArguments};
use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output, until_interrupted};
use crate::table::{if_any, json, list, moment};

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity tokens create ci --scope read --scope keys --expires 90d
  RESULTITY_TOKEN=rt_… resultity keys
  resultity tokens delete tok_…

Scopes: read (see everything), keys, credits, nodes, account, admin.")]
pub(crate) struct TokensArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(Subcommand)]
enum Action {
    /// List them
    List,
    /// Make one; its secret is shown this once, alone on standard output
    Create {
        /// What it is for
        name: String,
        /// What it may do; may be repeated
        #[arg(long, required = true, value_name = "NAME", value_parser = scope)]
        scope: Vec<Scope>,
        /// When it ends: a time from now, such as 90d
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires: Option<u64>,
    },
    /// End one, at once
    Delete { token: TokenId },
}

fn scope(text: &str) -> Result<Scope, String> {
    text.parse::<Scope>().map_err(|error| error.message)
}

pub(crate) async fn run(
    arguments: TokensArguments,
    connection: &ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let gate = Gate::open(connection).await?;
    until_interrupted(act(arguments, &gate, output)).await
}

async fn act(arguments: TokensArguments, gate: &Gate, output: &mut Output) -> Result<(), Failure> {
    let GateArguments {
        environment,
        json: as_json,
    } = arguments.gate;
    match arguments.action.unwrap_or(Action::List) {
        Action::List => {
            let page = gate
                .client
                .tokens(PageQuery::first(100))
                .await
                .map_err(|error| gate.explain(error))?;
            if as_json {
                return output.write_line(&json(&page)?);
            }
            let rows = page.data.iter().map(|token| {
                let scopes: Vec<_> = token.scopes.iter().map(|scope| scope.as_str()).collect();
                vec![
                    token.name.clone(),
                    scopes.join(", "),
                    if_any(token.environment),
                    moment(token.expires_at),
                    token.last_used_at.map(moment).unwrap_or_default(),
                    token.id.to_string(),
                ]
            });
            output.write_line(&list(
                &["NAME", "SCOPES", "ONLY IN", "EXPIRES", "LAST USED", "ID"],
                rows,
            ))
        }
        Action::Create { name, scope, expires } => {
            let mut request = CreateToken::new(name, scope);
            request.environment = environment;
            request.expires_at = expires.map(from_now);
            let made = gate
                .client
                .create_token(request)
                .await
                .map_err(|error| gate.explain(error))?;
            if as_json {
                return output.write_line(&json(&made)?);
            }
            output.note(&format!(
                "Token {} ({}), until {}. This is its secret; it is not shown again:",
                made.token.name,
                made.token.id,
                moment(made.token.expires_at)
            ));
            output.write_line(&made.secret)
        }
        Action::Delete { token } => {
            gate.client
                .delete_token(token)
                .await
                .map_err(|error| gate.explain(error))?;
            output.write_line(&format!("{token} is gone."))
        }
    }
}
