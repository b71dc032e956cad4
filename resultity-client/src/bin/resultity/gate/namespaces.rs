//! `resultity namespaces`.

use clap::{Args, Subcommand};
use resultity_client::core::api::gate::{
    CreateNamespace, Namespace, NamespaceQuery, NamespacesApi, Retention, UpdateNamespace,
};

use super::{Gate, GateArguments};
use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output, until_interrupted};
use crate::table::{age, json, list, thing};

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity namespaces
  resultity namespaces create staging
  resultity namespaces rename staging production
  resultity namespaces retention staging full --days 7     keep every request and answer for a week
  resultity namespaces retention staging none              keep nothing
  resultity namespaces delete staging                      only when nothing is in it")]
pub(crate) struct NamespacesArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(Subcommand)]
enum Action {
    /// List them
    List,
    /// Make one
    Create { name: String },
    /// Call one otherwise
    Rename {
        /// Its name or id
        namespace: String,
        /// The new name
        name: String,
    },
    /// Say what is kept of its requests and answers; what is kept beyond that is deleted
    Retention {
        /// Its name or id
        namespace: String,
        /// none, metadata (hashes and counts; texts only where a request asks for that) or full
        retention: Retention,
        /// With full: for how many days [default: 30]
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// Delete one that has no credits left; its keys are revoked
    Delete {
        /// Its name or id
        namespace: String,
    },
}

pub(crate) async fn run(
    arguments: NamespacesArguments,
    connection: &ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let gate = Gate::open(connection).await?;
    until_interrupted(act(arguments, &gate, output)).await
}

async fn act(arguments: NamespacesArguments, gate: &Gate, output: &mut Output) -> Result<(), Failure> {
    let environment = arguments.gate.environment;
    let within = arguments.gate.within();
    let as_json = arguments.gate.json;
    match arguments.action.unwrap_or(Action::List) {
        Action::List => {
            let query = NamespaceQuery {
                environment,
                limit: Some(100),
                ..NamespaceQuery::default()
            };
            let page = gate
                .client
                .namespaces(query)
                .await
                .map_err(|error| gate.explain(error))?;
            if as_json {
                return output.write_line(&json(&page)?);
            }
            let rows = page.data.iter().map(|one| {
                vec![
                    one.name.clone(),
                    one.environment.to_string(),
                    one.keys.to_string(),
                    kept(one),
                    age(one.created_at),
                    one.id.to_string(),
                ]
            });
            output.write_line(&list(&["NAMESPACE", "ENVIRONMENT", "KEYS", "KEEPS", "AGE", "ID"], rows))
        }
        Action::Create { name } => {
            let mut request = CreateNamespace::new(name);
            request.environment = environment;
            let made = gate.client.create_namespace(request).await;
            show(&made.map_err(|error| gate.explain(error))?, as_json, output)
        }
        Action::Rename { namespace, name } => {
            let known = gate.namespace(Some(&namespace), environment).await?;
            let request = UpdateNamespace::name(name);
            let changed = gate.client.update_namespace(known.id, within, request).await;
            show(&changed.map_err(|error| gate.explain(error))?, as_json, output)
        }
        Action::Retention {
            namespace,
            retention,
            days,
        } => {
            let known = gate.namespace(Some(&namespace), environment).await?;
            let mut request = UpdateNamespace::retention(retention);
            request.retention_days = days;
            let changed = gate.client.update_namespace(known.id, within, request).await;
            show(&changed.map_err(|error| gate.explain(error))?, as_json, output)
        }
        Action::Delete { namespace } => {
            let known = gate.namespace(Some(&namespace), environment).await?;
            let deleted = gate.client.delete_namespace(known.id, within).await;
            let deleted = deleted.map_err(|error| gate.explain(error))?;
            if as_json {
                return output.write_line(&json(&deleted)?);
            }
            output.write_line(&format!(
                "{} is gone; {} keys were revoked.",
                known.name, deleted.keys_revoked
            ))
        }
    }
}

/// What is kept of its requests and answers.
fn kept(namespace: &Namespace) -> String {
    match namespace.retention_days {
        Some(days) => format!("{} ({days} days)", namespace.retention),
        None => namespace.retention.to_string(),
    }
}

fn show(namespace: &Namespace, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    if as_json {
        return output.write_line(&json(namespace)?);
    }
    output.write_line(&thing([
        ("namespace", namespace.name.clone()),
        ("environment", namespace.environment.to_string()),
        ("keys", namespace.keys.to_string()),
        ("keeps", kept(namespace)),
        ("kept now", format!("{} bytes", namespace.kept_bytes)),
        ("id", namespace.id.to_string()),
    ]))
}
