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
    let container = match &description.container_model {
        Some(name) if name != model => format!("  container        {name}\n"),
        _ => String::new(),
    };
    let admin = if description.admin_is_new {
        format!(
            "  administrator    {}, password {}\n                   (shown this once; dev-credentials.json keeps it)\n",
            description.admin_email, description.admin_password
        )
    } else {
        String::new()
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
    let containers = match &description.container_model {
        Some(name) => format!(
            r#" \
    --infernet config.json
  where that file has
    "resultity": {{"containers": {{"ID": {{"model": "{name}"}}}}}}"#
        ),
        None => String::new(),
    };
    let other_node = format!("resultity-node run --io {io} --data-dir ./node2{containers}");
    let asking = if description.container_model.as_ref() == Some(model) {
        containers_alone(description, &found, bold, plain)
    } else {
        models(description, &found, bold, plain)
    };
    format!(
        r"
{bold}Resultity is ready{plain} at {base_url} ({environment}: credits for trying)

  OpenAI base URL  {cloud}
  API key          {api_key}
  model            {model}
{embeddings}{container}  node             {node}
{docs}{admin}
{asking}  {other_node}
  Ctrl-C stops everything; the same key works after the next start.
",
        environment = description.environment,
    )
}

/// How models are asked.
fn models(description: &DevDescription, found: &str, bold: &str, plain: &str) -> String {
    let DevDescription {
        cloud, api_key, model, ..
    } = description;
    format!(
        r#"{bold}Ask with curl{plain}
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
"#
    )
}

/// How containers are asked, where there are no models.
fn containers_alone(description: &DevDescription, found: &str, bold: &str, plain: &str) -> String {
    let DevDescription {
        cloud, api_key, model, ..
    } = description;
    format!(
        r#"{bold}Ask with curl{plain}, once a node is there
  curl {cloud}/compute \
    -H "Authorization: Bearer {api_key}" \
    -H "Content-Type: application/json" \
    -d '{{"model": "{model}", "data": {{}}}}'

{bold}Next{plain}
  resultity {found}compute --model {model} --data '{{}}'
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::environment::Environment;

    fn description() -> DevDescription {
        let base_url = "http://127.0.0.1:8080".to_owned();
        DevDescription {
            cloud: format!("{base_url}/v1"),
            gate: format!("{base_url}/gate/v1"),
            io: "ws://127.0.0.1:8080/io/v1/ws".into(),
            status: format!("{base_url}/status/v1"),
            base_url,
            api_key: format!("rk_test_{}", "0".repeat(32)),
            admin_token: "secret".into(),
            admin_email: "admin@localhost".into(),
            admin_password: "p".repeat(20),
            admin_is_new: false,
            model: "smollm2-135m".into(),
            embedding_model: Some("all-minilm-l6-v2".into()),
            container_model: None,
            environment: Environment::Testnet,
            network_key: "0x".into(),
            node_id: Some(format!("0x{}", "0".repeat(40))),
            pid: 1,
        }
    }

    #[test]
    fn containers_alone_are_asked_as_containers() {
        let mut description = description();
        description.container_model = Some("summarise".into());
        let text = block(&description, None, false);
        assert!(text.contains("  container        summarise\n") && text.contains("/chat/completions"));

        description.model = "summarise".into();
        let text = block(&description, None, false);
        assert!(text.contains("/v1/compute") && !text.contains("/chat/completions"));
        assert!(text.contains("--infernet config.json"));
        for line in text.lines() {
            assert!(line.len() <= 80, "{} columns: {line}", line.len());
        }
    }

    #[test]
    fn the_block_fits_a_terminal_and_holds_what_is_needed() {
        let block = block(&description(), None, false);
        assert!(block.contains("curl http://127.0.0.1:8080/v1/chat/completions"));
        assert!(!block.contains("secret"), "the administrator's token is for scripts");
        assert!(!block.contains("ppp"), "the password is shown once");
        let mut first = description();
        first.admin_is_new = true;
        let first = self::block(&first, None, false);
        assert!(
            first.contains(&format!("admin@localhost, password {}", "p".repeat(20))),
            "{first}"
        );
        let block = format!("{block}{first}");
        for line in block.lines() {
            assert!(line.len() <= 80, "{} columns: {line}", line.len());
        }
    }
}
