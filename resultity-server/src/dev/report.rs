//! What `dev` prints when it is ready.

use std::io::{IsTerminal, Write};
use std::path::Path;

use super::DevDescription;

/// Prints the block for people, or the one JSON line for scripts, on standard output. A data directory that is not the default
/// has to be named to the command `resultity` too.
pub fn announce(description: &DevDescription, data_dir: Option<&Path>, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        let line = serde_json::to_string(description).map_err(std::io::Error::other)?;
        writeln!(out, "{line}")?;
    } else {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        write!(out, "{}", block(description, data_dir, colours))?;
    }
    out.flush()
}

fn block(description: &DevDescription, data_dir: Option<&Path>, colours: bool) -> String {
    let (bold, plain) = if colours { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
    let DevDescription {
        cloud,
        io,
        api_key,
        model,
        base_url,
        ..
    } = description;
    let node = match &description.node_id {
        Some(id) => id.clone(),
        None => "none yet: start one with the line below".into(),
    };
    let embeddings = match &description.embedding_model {
        Some(name) if name != model => format!("  embeddings       {name}\n"),
        _ => String::new(),
    };
    let docs = if cfg!(feature = "docs") {
        format!("  docs             {base_url}/docs\n")
    } else {
        String::new()
    };
    let found = match data_dir {
        Some(data_dir) => format!("--data-dir {} ", data_dir.display()),
        None => String::new(),
    };
    let other_node = format!("resultity-node run --io {io} --data-dir ./node2");
    format!(
        r#"
{bold}Resultity is ready{plain} at {base_url} ({environment}: credits for trying)

  OpenAI base URL  {cloud}
  API key          {api_key}
  model            {model}
{embeddings}  node             {node}
{docs}
{bold}Ask with curl{plain}
  curl {cloud}/chat/completions \
    -H "Authorization: Bearer {api_key}" \
    -H "Content-Type: application/json" \
    -d '{{"model": "{model}", "messages":
         [{{"role": "user", "content": "Name the capital of France."}}]}}'

{bold}Ask from Python{plain} (pip install openai)
  from openai import OpenAI
  client = OpenAI(base_url="{cloud}",
                  api_key="{api_key}")
  print(client.chat.completions.create(model="{model}", messages=[
      {{"role": "user", "content": "Name the capital of France."}}]))

{bold}Next{plain}
  resultity {found}chat "Tell me a story"       streams to the terminal; or
  cargo run --release -p resultity-client -- {found}chat "Tell me a story"
  {other_node}
  Ctrl-C stops everything; the same key works after the next start.
"#,
        environment = description.environment,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::environment::Environment;

    #[test]
    fn the_block_fits_a_terminal_and_holds_what_is_needed() {
        let base_url = "http://127.0.0.1:8080".to_owned();
        let description = DevDescription {
            cloud: format!("{base_url}/v1"),
            gate: format!("{base_url}/gate/v1"),
            io: "ws://127.0.0.1:8080/io/v1/ws".into(),
            status: format!("{base_url}/status/v1"),
            base_url,
            api_key: format!("rk_test_{}", "0".repeat(32)),
            admin_token: "secret".into(),
            model: "smollm2-135m".into(),
            embedding_model: Some("all-minilm-l6-v2".into()),
            environment: Environment::Testnet,
            network_key: "0x".into(),
            node_id: Some(format!("0x{}", "0".repeat(40))),
            pid: 1,
        };
        let block = block(&description, None, false);
        assert!(block.contains("curl http://127.0.0.1:8080/v1/chat/completions"));
        assert!(!block.contains("secret"), "the administrator's token is for scripts");
        for line in block.lines() {
            assert!(line.len() <= 80, "{} columns: {line}", line.len());
        }
    }
}
