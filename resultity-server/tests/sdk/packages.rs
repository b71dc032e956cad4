//! The packages that the suites run, in the versions that are pinned beside the scripts: fetched once into the target folder.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::run;

/// How long one step of fetching may take.
const INSTALL: Duration = Duration::from_mins(10);

/// The package that has cl100k_base, OpenAI's vocabulary, as `tiktoken` keeps it: its own source is no package registry.
const VOCABULARY_PACKAGE: &str = "litellm==1.60.0";

/// What finds the vocabulary's file in that package; its name is the SHA-1 of its address.
const TAKE_VOCABULARY: &str = "
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
(wheel,) = folder.glob('*.whl')
with zipfile.ZipFile(wheel) as files:
    (name,) = [name for name in files.namelist() if name.endswith('/9b5ad71b2ce5302211f9c61530b329a4922fc6a4')]
    (folder / name.rsplit('/', 1)[1]).write_bytes(files.read(name))
wheel.unlink()
";

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

/// A folder that stays from run to run, locked: two suites would be in each other's way while they fill it.
fn folder(name: &str) -> Result<(PathBuf, File), String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk").join(name);
    let lock = folder.with_extension("lock");
    let open = || {
        std::fs::create_dir_all(&folder)?;
        let lock = File::create(&lock)?;
        lock.lock()?;
        Ok(lock)
    };
    let lock = open().map_err(|error: std::io::Error| format!("{}: {error}", folder.display()))?;
    Ok((folder, lock))
}

/// Whether the folder was filled to the end from these very pins.
fn is_filled(folder: &Path, pins: &str) -> bool {
    std::fs::read_to_string(folder.join("filled-from")).is_ok_and(|from| from == pins)
}

fn set_filled(folder: &Path, pins: &str) -> Result<(), String> {
    std::fs::write(folder.join("filled-from"), pins).map_err(|error| format!("{}: {error}", folder.display()))
}

/// A file of this folder of sources.
fn read(path: &str) -> String {
    std::fs::read_to_string(sources().join(path)).expect("a file of the sources can be read")
}

/// Python with all packages that its suites use.
pub struct Python {
    interpreter: PathBuf,
    vocabulary: PathBuf,
}

impl Python {
    /// These modules of `sdk/python`, run by `unittest`.
    pub fn unittest(&self, modules: &[&str]) -> Command {
        let mut command = Command::new(&self.interpreter);
        command
            .args(["-m", "unittest", "--verbose", "--locals"])
            .args(modules)
            .current_dir(sources().join("python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("TIKTOKEN_CACHE_DIR", &self.vocabulary);
        command
    }
}

/// The Python of this machine, with the packages in an environment of their own.
pub async fn python() -> Result<Python, String> {
    const NEEDED: &str = "it needs `python3` 3.10 or newer with venv, and pip that reaches a package index";
    let needed = |error: String| format!("{NEEDED}: {error}");
    let (environment, _lock) = folder("python")?;
    let interpreter = environment.join("bin/python");
    let pins = read("python/requirements.txt");
    if !is_filled(&environment, &pins) {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&environment);
        run(&mut venv, INSTALL).await.map_err(needed)?;
        let mut install = pip(&interpreter, "install");
        install
            .arg("--requirement")
            .arg(sources().join("python/requirements.txt"));
        run(&mut install, INSTALL).await.map_err(needed)?;
        set_filled(&environment, &pins)?;
    }
    let (vocabulary, _lock) = folder("vocabulary")?;
    if !is_filled(&vocabulary, VOCABULARY_PACKAGE) {
        let mut download = pip(&interpreter, "download");
        download
            .args(["--no-deps", "--dest"])
            .arg(&vocabulary)
            .arg(VOCABULARY_PACKAGE);
        run(&mut download, INSTALL).await.map_err(needed)?;
        let mut take = Command::new(&interpreter);
        take.args(["-c", TAKE_VOCABULARY]).arg(&vocabulary);
        run(&mut take, INSTALL).await?;
        set_filled(&vocabulary, VOCABULARY_PACKAGE)?;
    }
    Ok(Python {
        interpreter,
        vocabulary,
    })
}

fn pip(interpreter: &Path, verb: &str) -> Command {
    let mut pip = Command::new(interpreter);
    pip.args(["-m", "pip", verb, "--quiet", "--disable-pip-version-check"]);
    pip
}

/// The one wheel of a package, unpacked; nothing of it runs while it is installed.
pub async fn wheel(name: &str, pin: &str) -> Result<PathBuf, String> {
    let (folder, _lock) = folder(name)?;
    if !is_filled(&folder, pin) {
        let mut install = pip(Path::new("python3"), "install");
        install
            .args(["--no-deps", "--only-binary", ":all:", "--upgrade", "--target"])
            .arg(&folder)
            .arg(pin);
        run(&mut install, INSTALL).await?;
        set_filled(&folder, pin)?;
    }
    Ok(folder)
}

/// Node.js with all packages that its suites use.
pub struct JavaScript {
    folder: PathBuf,
}

impl JavaScript {
    /// These modules of `sdk/javascript`, run by Node's test runner.
    pub fn test(&self, modules: &[&str]) -> Command {
        let mut command = Command::new("node");
        command
            .args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
            .args(modules.iter().map(|module| format!("{module}.mjs")))
            .current_dir(&self.folder);
        command
    }
}

/// The Node.js of this machine, with the packages in a folder of their own.
pub async fn javascript() -> Result<JavaScript, String> {
    const NEEDED: &str = "it needs Node.js 20 or newer with npm that reaches a package registry";
    let (folder, _lock) = folder("javascript")?;
    let sources = sources().join("javascript");
    let pins = read("javascript/package-lock.json");
    // Node looks for packages in the folders above a script, and the sources are to stay free of them.
    let copied = || {
        for entry in std::fs::read_dir(&sources)? {
            let entry = entry?;
            std::fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
        Ok(())
    };
    copied().map_err(|error: std::io::Error| format!("{}: {error}", folder.display()))?;
    if !is_filled(&folder, &pins) {
        let mut install = Command::new("npm");
        install
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder);
        run(&mut install, INSTALL)
            .await
            .map_err(|error| format!("{NEEDED}: {error}"))?;
        set_filled(&folder, &pins)?;
    }
    Ok(JavaScript { folder })
}

/// What asks a server everything that its document allows, and much that it doesn't.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// Tools that are run beside a server.
pub struct Tools {
    environment: PathBuf,
}

impl Tools {
    /// `schemathesis`, in a folder where it may leave what it likes.
    pub fn schemathesis(&self) -> Command {
        let mut command = Command::new(self.environment.join("bin/schemathesis"));
        command.current_dir(&self.environment);
        command
    }
}

/// The tools, in an environment of their own.
pub async fn tools() -> Result<Tools, String> {
    const NEEDED: &str = "it needs `python3` 3.10 or newer with venv, and pip that reaches a package index";
    let needed = |error: String| format!("{NEEDED}: {error}");
    let (environment, _lock) = folder("tools")?;
    if !is_filled(&environment, SCHEMATHESIS) {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&environment);
        run(&mut venv, INSTALL).await.map_err(needed)?;
        let mut install = pip(&environment.join("bin/python"), "install");
        run(install.arg(SCHEMATHESIS), INSTALL).await.map_err(needed)?;
        set_filled(&environment, SCHEMATHESIS)?;
    }
    Ok(Tools { environment })
}
