//! `resultity login`, `logout` and `whoami`.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use resultity_client::core::api::gate::{
    AccountApi, AskWallet, ConfirmSignUp, LoginsApi, SecondFactor, SignIn, SignInApi, SignUp, SignedIn, WalletSignIn,
    WalletSignInApi,
};
use resultity_client::core::error::{ApiError, ErrorCode};
use resultity_client::core::signing::keystore;
use resultity_client::core::signing::{SiweMessage, eip191_hash};

use super::{Gate, store};
use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output, until_interrupted};
use crate::table::{json, moment, thing};

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity login                         asks for e-mail and password
  resultity login --sign-up               makes an account
  resultity login --keystore wallet.json  signs in with an EVM wallet
  resultity login --email me@example.org --password-stdin < password.txt

What it gets is kept in a file of yours alone; `resultity logout` ends it.")]
pub(crate) struct LoginArguments {
    /// The e-mail address
    #[arg(long)]
    email: Option<String>,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "keystore")]
    password_stdin: bool,
    /// Make an account; a code is sent to the address
    #[arg(long, conflicts_with = "keystore")]
    sign_up: bool,
    /// The code of an authenticator, or a recovery code, if it is not to be asked for
    #[arg(long, value_name = "CODE", env = "RESULTITY_SECOND_FACTOR", hide_env_values = true)]
    second_factor: Option<String>,
    /// An EVM wallet: a key file (Web3 Secret Storage)
    #[arg(long, value_name = "FILE")]
    keystore: Option<PathBuf>,
    /// The file with the wallet's passphrase, if it is not to be asked for
    #[arg(long, value_name = "FILE", requires = "keystore")]
    passphrase_file: Option<PathBuf>,
    /// Print what was made of it as JSON, without the token
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct LogoutArguments {
    /// End all sessions of the account
    #[arg(long)]
    everywhere: bool,
}

#[derive(Args)]
pub(crate) struct WhoamiArguments {
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(
    arguments: LoginArguments,
    connection: &ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let gate = Gate::door(connection)?;
    let signed_in = until_interrupted(async {
        match &arguments.keystore {
            Some(_) => by_wallet(&arguments, &gate).await,
            None if arguments.sign_up => sign_up(&arguments, &gate, output).await,
            None => by_password(&arguments, &gate).await,
        }
    })
    .await?;
    let token = signed_in.token.as_deref();
    let token = token.ok_or_else(|| Failure::new("the server answered without a token"))?;
    store::keep(&gate.url, Some(token))?;
    if arguments.json {
        let told = serde_json::json!({
            "account": signed_in.account, "login": signed_in.login, "expires_at": signed_in.expires_at, "gate": gate.url,
        });
        return output.write_line(&json(&told)?);
    }
    output.write_line(&format!(
        "Signed in at {} as account {}, until {} at the latest.",
        gate.url,
        signed_in.account,
        moment(signed_in.expires_at)
    ))
}

async fn by_password(arguments: &LoginArguments, gate: &Gate) -> Result<SignedIn, Failure> {
    let email = email(arguments)?;
    let password = password(arguments, "Password: ")?;
    let request = SignIn::new(email, password);
    let first = match &arguments.second_factor {
        Some(code) => request.clone().with_second_factor(factor(code)),
        None => request.clone(),
    };
    match gate.client.sign_in(first).await {
        Err(error) if asks_for_factor(&error) => {
            let request = request.with_second_factor(ask_factor()?);
            gate.client.sign_in(request).await.map_err(|error| gate.explain(error))
        }
        answer => answer.map_err(|error| gate.explain(error)),
    }
}

async fn sign_up(arguments: &LoginArguments, gate: &Gate, output: &mut Output) -> Result<SignedIn, Failure> {
    let email = email(arguments)?;
    let password = password(arguments, "New password: ")?;
    if !arguments.password_stdin && ask_hidden("The same again: ")? != password {
        return Err(Failure::new("the two passwords differ"));
    }
    let sent = gate.client.sign_up(SignUp::new(&email, password)).await;
    let sent = sent.map_err(|error| gate.explain(error))?;
    output.note(&format!(
        "A code was sent to {email}; it counts until {}.",
        moment(sent.expires_at)
    ));
    let code = ask("Code: ")?;
    let confirmed = gate.client.confirm_sign_up(ConfirmSignUp::new(sent.ticket, code)).await;
    confirmed.map_err(|error| gate.explain(error))
}

async fn by_wallet(arguments: &LoginArguments, gate: &Gate) -> Result<SignedIn, Failure> {
    let path = arguments.keystore.as_deref().unwrap_or(std::path::Path::new(""));
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("{} cannot be read: {error}", path.display())))?;
    let passphrase = match &arguments.passphrase_file {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Failure::new(format!("{} cannot be read: {error}", file.display())))?
            .trim_end_matches(['\r', '\n'])
            .to_owned(),
        None => ask_hidden("Passphrase of the wallet: ")?,
    };
    let key = keystore::decrypt(&text, passphrase.as_bytes())
        .map_err(|error| Failure::new(format!("{} cannot be unlocked: {error}", path.display())))?;
    let challenge = gate
        .client
        .wallet_challenge(ask_wallet(key.address().to_string(), gate))
        .await;
    let challenge = challenge.map_err(|error| gate.explain(error))?;
    check_challenge(&challenge.message, gate)?;
    let signature = key.sign(eip191_hash(&challenge.message)).to_string();
    let request = WalletSignIn::new(challenge.message, signature);
    let first = match &arguments.second_factor {
        Some(code) => request.clone().with_second_factor(factor(code)),
        None => request.clone(),
    };
    match gate.client.wallet_sign_in(first).await {
        Err(error) if asks_for_factor(&error) => {
            let request = request.with_second_factor(ask_factor()?);
            gate.client
                .wallet_sign_in(request)
                .await
                .map_err(|error| gate.explain(error))
        }
        answer => answer.map_err(|error| gate.explain(error)),
    }
}

/// The network says what its domain is; one of this machine is what it was asked as.
fn ask_wallet(address: String, gate: &Gate) -> AskWallet {
    let url = gate.client.base_url();
    let host = url.host_str().unwrap_or_default();
    let is_local = host == "localhost" || host == "[::1]" || host.starts_with("127.");
    let request = AskWallet::new(address);
    match url.port().filter(|_| is_local) {
        Some(port) => request.domain(format!("{host}:{port}")),
        None if is_local => request.domain(host),
        None => request,
    }
}

/// A wallet signs nothing but a sign-in at the very server that was named.
fn check_challenge(message: &str, gate: &Gate) -> Result<(), Failure> {
    let refuse = |why: String| {
        Failure::new(format!(
            "the server asks the wallet to sign something else than a sign-in: {why}"
        ))
        .hint("Nothing was signed. Check --base-url.")
    };
    let message: SiweMessage = message.parse().map_err(|error| refuse(format!("{error}")))?;
    let url = gate.client.base_url();
    let host = url.host_str().unwrap_or_default();
    let with_port = url.port().map(|port| format!("{host}:{port}"));
    // A network may have its API and its pages on different hosts of one domain.
    let of_domain = |domain: &str| host.ends_with(&format!(".{domain}")) || domain.ends_with(&format!(".{host}"));
    let domain = message.domain.as_str();
    if domain == host || Some(domain) == with_port.as_deref() || of_domain(domain) {
        Ok(())
    } else {
        Err(refuse(format!("it is for {domain}, not for {host}")))
    }
}

fn asks_for_factor(error: &ApiError) -> bool {
    error.code == ErrorCode::SecondFactorRequired && std::io::stdin().is_terminal()
}

/// Six digits are of an authenticator; anything else is a recovery code.
fn factor(code: &str) -> SecondFactor {
    let code = code.trim();
    if code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()) {
        SecondFactor::Totp(code.to_owned())
    } else {
        SecondFactor::RecoveryCode(code.to_owned())
    }
}

fn ask_factor() -> Result<SecondFactor, Failure> {
    Ok(factor(&ask("Code of your authenticator, or a recovery code: ")?))
}

fn email(arguments: &LoginArguments) -> Result<String, Failure> {
    match &arguments.email {
        Some(email) => Ok(email.clone()),
        None if arguments.password_stdin => Err(Failure::usage("--password-stdin needs --email")),
        None => ask("E-mail: "),
    }
}

fn password(arguments: &LoginArguments, prompt: &str) -> Result<String, Failure> {
    if arguments.password_stdin {
        return line();
    }
    ask_hidden(prompt)
}

fn line() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().read_line(&mut text);
    match read {
        Ok(0) => Err(Failure::new("the input ended before an answer")),
        Ok(_) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => Err(Failure::new(format!("the input cannot be read: {error}"))),
    }
}

fn ask(prompt: &str) -> Result<String, Failure> {
    let mut out = std::io::stderr().lock();
    write!(out, "{prompt}")?;
    out.flush()?;
    drop(out);
    line()
}

fn ask_hidden(prompt: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new("there is no terminal to ask for the password at")
            .hint("Use --email and --password-stdin, or give an access token with RESULTITY_TOKEN."));
    }
    rpassword::prompt_password(prompt).map_err(|error| Failure::new(format!("the password cannot be read: {error}")))
}

pub(crate) async fn run_logout(
    arguments: LogoutArguments,
    connection: &ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let gate = Gate::open(connection).await?;
    let ended = until_interrupted(async {
        if arguments.everywhere {
            gate.client
                .end_other_logins()
                .await
                .map_err(|error| gate.explain(error))?;
        }
        gate.client.sign_out().await.map_err(|error| gate.explain(error))
    })
    .await;
    // What does not count any more is of no use either way.
    store::keep(&gate.url, None)?;
    ended?;
    output.write_line("Signed out.")
}

pub(crate) async fn run_whoami(
    arguments: WhoamiArguments,
    connection: &ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let gate = Gate::open(connection).await?;
    let (session, account) = until_interrupted(async {
        let session = gate.client.session().await.map_err(|error| gate.explain(error))?;
        let account = match session.account {
            Some(_) => Some(gate.client.own_account().await.map_err(|error| gate.explain(error))?),
            None => None,
        };
        Ok::<_, Failure>((session, account))
    })
    .await?;
    if arguments.json {
        return output.write_line(&json(&serde_json::json!({ "session": session, "account": account }))?);
    }
    let environments: Vec<_> = session.environments.iter().map(ToString::to_string).collect();
    let lines = match &account {
        Some(account) => [
            ("account", account.id.to_string()),
            ("name", account.name.clone()),
            ("e-mail", account.email.clone().unwrap_or_default()),
            ("role", account.role.as_str().to_owned()),
            (
                "wallets",
                if account.wallets == 0 {
                    String::new()
                } else {
                    account.wallets.to_string()
                },
            ),
            (
                "second factor",
                if account.second_factor { "yes" } else { "no" }.to_owned(),
            ),
            (
                "environment",
                format!("{} (of {})", session.environment, environments.join(", ")),
            ),
            ("server", gate.url.clone()),
        ],
        None => {
            let empty = || ("", String::new());
            [
                ("caller", "the operator".to_owned()),
                ("role", session.role.as_str().to_owned()),
                (
                    "environment",
                    format!("{} (of {})", session.environment, environments.join(", ")),
                ),
                ("server", gate.url.clone()),
                empty(),
                empty(),
                empty(),
                empty(),
            ]
        }
    };
    output.write_line(&thing(lines))
}
