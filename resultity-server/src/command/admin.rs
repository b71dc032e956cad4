//! `resultity-server admin`: administrators made from the shell.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use resultity_core::clock::{SystemClock, SystemEntropy};
use secrecy::SecretString;

use super::{CommandError, StoreArguments, existing_store};
use crate::session::checked_email;
use crate::store::IdentityStore as _;
use crate::store::identity::AdministratorMade;
use crate::tenant;

/// `admin`.
#[derive(Debug, Args)]
pub struct AdminArguments {
    #[command(subcommand)]
    command: AdminCommand,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Make an account of an administrator, or an administrator of an account
    Create(CreateArguments),
}

/// `admin create`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  resultity-server admin create --data-dir ./resultity-data --email ada@example.org\n  resultity-server admin create --data-dir ./resultity-data --email ada@example.org --password-file secret.txt\n\nAn account that has the address keeps its password unless one is given. The server may run meanwhile."
)]
struct CreateArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The address to sign in with
    #[arg(long)]
    email: String,
    /// What to call the account
    #[arg(long, default_value = "")]
    name: String,
    /// A file whose first line is the password; without it, it is asked for, or read from standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(super) async fn run(arguments: AdminArguments) -> Result<ExitCode, CommandError> {
    let AdminCommand::Create(arguments) = arguments.command;
    let store = existing_store(&arguments.store)?;
    let email = checked_email(&arguments.email)?;
    let known = store.account_by_email(&email).await?;
    let has_password = known.is_some_and(|account| account.password.is_some());
    let password = match &arguments.password_file {
        Some(path) => Some(of_file(path)?),
        None if has_password => None,
        None => Some(asked()?),
    };
    let made = tenant::administrator(
        &store,
        &email,
        &arguments.name,
        password.as_ref(),
        &SystemClock,
        &SystemEntropy,
    )
    .await?;
    let mut out = std::io::stdout().lock();
    match made {
        AdministratorMade::Made(id) => writeln!(out, "{email} is an administrator: account {id}")?,
        AdministratorMade::Promoted(id) => {
            let password = if password.is_some() { "a new" } else { "its old" };
            writeln!(
                out,
                "account {id} ({email}) is an administrator now, with {password} password"
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn of_file(path: &Path) -> Result<SecretString, CommandError> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned().into())
}

/// Typed twice by a person, or one line of a script.
fn asked() -> Result<SecretString, CommandError> {
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned().into());
    }
    let password = rpassword::prompt_password("Password (10 characters or more): ")?;
    if rpassword::prompt_password("Once more: ")? != password {
        return Err("the two are not the same".into());
    }
    Ok(password.into())
}
