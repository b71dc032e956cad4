//! `resultity receipt`: proof of what was asked, answered and paid.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use resultity_client::core::Address;
use resultity_client::core::api::jobs::JobsApi;
use resultity_client::core::id::JobId;
use resultity_client::core::openai::chat::ChatCompletion;
use resultity_client::core::openai::completion::Completion;
use resultity_client::core::receipt::{Receipt, SignedReceipt};
use resultity_client::core::signing::{Domain, KeyChain};
use resultity_client::core::wire::output_hash;

use crate::asking::read_all;
use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output, until_interrupted};
use crate::table::{json, moment, thing};

#[derive(Args)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  resultity receipt get JOB > receipt.json
  resultity receipt verify receipt.json --network 0x5aAe...
  resultity receipt verify receipt.json --answer answer.json
  curl -s https://NETWORK/io/v1/keys | resultity receipt verify receipt.json --network 0x5aAe... --keys -"
)]
pub(crate) struct ReceiptArguments {
    #[command(subcommand)]
    command: ReceiptCommand,
}

#[derive(Subcommand)]
enum ReceiptCommand {
    /// Print the receipt of a job
    Get(GetArguments),
    /// Check a receipt, without asking anybody
    Verify(VerifyArguments),
}

#[derive(Args)]
struct GetArguments {
    /// The job, which `resultity chat -v` tells, or the id of its answer (chatcmpl-… or cmpl-…)
    #[arg(value_parser = crate::jobs::job_id)]
    job: JobId,
}

#[derive(Args)]
struct VerifyArguments {
    /// The receipt; `-` reads it from standard input
    file: PathBuf,
    /// The address of the network's first key, as the network publishes it [default: that of a running `dev`]
    #[arg(long, value_name = "ADDRESS", env = "RESULTITY_NETWORK")]
    network: Option<Address>,
    /// The address of the key that signs now, if the network has changed it
    #[arg(long, value_name = "ADDRESS", conflicts_with = "keys")]
    key: Option<Address>,
    /// The network's keys, if it has changed them: the JSON that it serves at /io/v1/keys; `-` reads it from standard input
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Check too that it is for this answer: a completion as JSON, or the text
    #[arg(long, value_name = "FILE")]
    answer: Option<PathBuf>,
    /// Print what the receipt says as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(
    arguments: ReceiptArguments,
    connection: ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    match arguments.command {
        ReceiptCommand::Get(arguments) => {
            let connection = connection.connect()?;
            until_interrupted(async {
                let receipt = connection.client.receipt(arguments.job).await;
                let receipt = receipt.map_err(|error| connection.explain_listed(error, "resultity jobs list"))?;
                output.write_line(&json(&receipt.body)?)
            })
            .await
        }
        ReceiptCommand::Verify(arguments) => until_interrupted(verify(arguments, connection, output)).await,
    }
}

async fn verify(
    arguments: VerifyArguments,
    connection: ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let network = network(arguments.network, &connection)?;
    let text = read(&arguments.file).await?;
    let signed: SignedReceipt = serde_json::from_str(&text).map_err(|error| {
        Failure::new(format!("{} is not a receipt: {error}", arguments.file.display()))
            .hint("`resultity receipt get JOB` prints one.")
    })?;
    let receipt = &signed.receipt;
    let key = arguments.key.unwrap_or(network);
    let verified = match &arguments.keys {
        Some(path) => signed.verify_by_chain(&chain(path, network).await?),
        None => signed.verify(&Domain::new(receipt.environment, network), key),
    };
    if let Err(error) = verified {
        let sentence = format!("the receipt is not genuine: {error}");
        let hint = if signed.network_key == key || arguments.keys.is_some() {
            "It was changed, or made by somebody else."
        } else {
            "It names another key. Check --network; if the network has changed its key, give the chain of its keys with --keys."
        };
        return Err(Failure::new(sentence).hint(hint));
    }
    if let Some(path) = &arguments.answer {
        let answer = read(path).await?;
        if !is_of(receipt, &answer) {
            let sentence = format!("the receipt is genuine, but not for the answer in {}", path.display());
            return Err(Failure::new(sentence).hint("It has to be the answer as it came, character for character."));
        }
    }
    if arguments.json {
        return output.write_line(&json(receipt)?);
    }
    let of_answer = if arguments.answer.is_some() {
        ", and for this answer"
    } else {
        ""
    };
    output.note(&format!("The receipt is genuine{of_answer}."));
    let node = receipt.node.map_or_else(
        || "not told".to_owned(),
        |node| format!("{node} (its pseudonym of that week)"),
    );
    output.write_line(&thing([
        ("job", receipt.job_id.to_string()),
        ("environment", receipt.environment.to_string()),
        ("model", format!("{} ({})", receipt.model, receipt.model_version)),
        (
            "tokens",
            format!("{} in, {} out", receipt.prompt_tokens, receipt.completion_tokens),
        ),
        ("ended by", receipt.finish_reason.clone()),
        ("cost", format!("{} credits", receipt.cost)),
        ("finished", moment(receipt.finished_at.as_seconds())),
        ("request", receipt.request_hash.to_string()),
        ("answer", receipt.output_hash.to_string()),
        ("signed by", format!("{:#x}", signed.network_key)),
        ("node", node),
    ]))
}

fn network(named: Option<Address>, connection: &ConnectionArguments) -> Result<Address, Failure> {
    if let Some(network) = named {
        return Ok(network);
    }
    let of_dev = connection.network_of_dev()?;
    of_dev.and_then(|network| network.parse().ok()).ok_or_else(|| {
        Failure::usage("which network signed it? Nothing names one")
            .hint("Give the network's address with --network or RESULTITY_NETWORK.")
    })
}

/// The network's keys, each of which names the next, from the first one on, which is known.
async fn chain(path: &Path, network: Address) -> Result<KeyChain, Failure> {
    let text = read(path).await?;
    let bad = |why: String| {
        Failure::new(format!(
            "{} proves nothing of the network's keys: {why}",
            path.display()
        ))
        .hint("The network serves its keys at /io/v1/keys.")
    };
    let chain: KeyChain = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    if chain.genesis != network {
        return Err(bad(format!(
            "it begins with {:#x}, not with {network:#x}",
            chain.genesis
        )));
    }
    chain.verify().map_err(|error| bad(error.to_string()))?;
    Ok(chain)
}

async fn read(path: &Path) -> Result<String, Failure> {
    if path.as_os_str() == "-" {
        return read_all().await;
    }
    tokio::fs::read_to_string(path)
        .await
        .map_err(|error| Failure::new(format!("{} cannot be read: {error}", path.display())))
}

/// Whether the receipt is for this answer: a completion as JSON, or its text; one line break at the end does not count.
fn is_of(receipt: &Receipt, answer: &str) -> bool {
    let hash = if let Ok(chat) = serde_json::from_str::<ChatCompletion>(answer) {
        let texts = chat
            .choices
            .iter()
            .map(|choice| (choice.index, choice.message.content.as_deref().unwrap_or_default()));
        output_hash(texts)
    } else if let Ok(completion) = serde_json::from_str::<Completion>(answer) {
        output_hash(
            completion
                .choices
                .iter()
                .map(|choice| (choice.index, choice.text.as_str())),
        )
    } else {
        let text = answer.strip_suffix('\n').unwrap_or(answer);
        let whole = output_hash([(0, answer)]);
        if whole == receipt.output_hash {
            return true;
        }
        output_hash([(0, text)])
    };
    hash == receipt.output_hash
}
