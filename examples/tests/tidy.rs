//! Keeps the workspace the way `CONTRIBUTING.md` says it is: small files, imports in one direction, nothing left
//! unfinished, crates that are ready to publish. Every finding names the file and says what to do.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates that are published. The order is the direction: each may use some of those before it.
const PUBLISHED: [&str; 4] = [
    "resultity-core",
    "resultity-client",
    "resultity-node",
    "resultity-server",
];

/// Which of our crates a crate may use.
const MAY_USE: [(&str, &[&str]); 4] = [
    ("resultity-core", &[]),
    ("resultity-client", &["resultity-core"]),
    ("resultity-node", &["resultity-core", "resultity-client"]),
    ("resultity-server", &["resultity-core", "resultity-node"]),
];

/// The modules of a crate, lowest first. A module may use those before it, never those after it. Modules that are not
/// named stand at the end: they put the others together.
const ORDER: [(&str, &[&str]); 3] = [
    (
        "resultity-core",
        &[
            "environment",
            "project",
            "version",
            "clock",
            "credits",
            "id",
            "canonical",
            "raw_json",
            "job",
            "ledger",
            "capability",
            "limits",
            "openai",
            "compute",
            "error",
            "signing",
            "model",
            "wire",
            "snapshot",
            "receipt",
            "webhook",
            "infernet",
            "api",
            "testing",
        ],
    ),
    (
        "resultity-node",
        &[
            "data_dir",
            "hardware",
            "http_client",
            "identity",
            "runtime",
            "network_url",
            "models",
            "agent",
            "standing",
            "infernet",
        ],
    ),
    (
        "resultity-server",
        &[
            "json",
            "seal",
            "private_file",
            "network_key",
            "trust",
            "store",
            "publish",
            "bus",
            "webhook",
            "mail",
            "flow",
            "session",
            "link",
            "http",
        ],
    ),
];

/// What decides, without doing anything: no runtime, no files, no sockets. Each is a file, or a folder of files.
const PURE: [&str; 7] = [
    "resultity-server/src/flow/schedule",
    "resultity-server/src/flow/validate",
    "resultity-server/src/flow/verify",
    "resultity-server/src/trust",
    "resultity-node/src/agent/session",
    "resultity-node/src/models/manager/machine",
    "resultity-node/src/runtime/process/supervisor",
];

/// What a pure module does not touch.
const EFFECTS: [&str; 8] = [
    "tokio",
    "reqwest",
    "hyper",
    "axum",
    "tokio_tungstenite",
    "std::fs",
    "std::net",
    "std::process",
];

/// A file of code may be this long, and a file of tests this long.
const MAX_LINES: (usize, usize) = (500, 800);

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the package lies in the workspace").to_owned()
}

/// A file of the workspace, by its path from the root.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_test(&self) -> bool {
        let mut parts = self.path.rsplit('/');
        let name = parts.next().unwrap_or_default();
        name == "tests.rs" || name.ends_with("_tests.rs") || parts.any(|folder| folder == "tests")
    }

    fn has_extension(&self, wanted: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|extension| extension == wanted)
    }

    fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    /// The code without comments and without the tests at its end, with the number of each line.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines
            .windows(2)
            .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{'));
        let end = tests.unwrap_or(lines.len());
        lines
            .into_iter()
            .take(end)
            .enumerate()
            .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
    }
}

/// Every text file that people write; not what is built or generated.
fn files() -> Vec<File> {
    const TEXTS: [&str; 9] = ["rs", "toml", "md", "py", "sql", "jinja", "json", "sh", "yml"];
    fn walk(folder: &Path, root: &Path, found: &mut Vec<File>) {
        let entries = fs::read_dir(folder).expect("a folder of the workspace can be read");
        for entry in entries {
            let path = entry.expect("an entry of the workspace can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                let is_ours =
                    !matches!(name.as_str(), "target" | "__pycache__") && (!name.starts_with('.') || name == ".ci");
                if is_ours {
                    walk(&path, root, found);
                }
                continue;
            }
            let is_script = folder == root.join(".ci");
            let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            if !is_script && !TEXTS.contains(&extension.as_str()) {
                continue;
            }
            let relative = path.strip_prefix(root).expect("it was found below the root");
            let path = relative.to_string_lossy().replace('\\', "/");
            let text = read(&path);
            found.push(File { path, text });
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(
        found.len() > 50,
        "only {} files found: is this the workspace?",
        found.len()
    );
    found
}

fn read(path: &str) -> String {
    let text = fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"));
    text.expect("every file of the workspace can be read as text")
}

/// Fails with all findings at once.
fn none(findings: &[String], rule: &str) {
    let mut message = String::new();
    for finding in findings {
        let _ = write!(message, "\n  {finding}");
    }
    assert!(findings.is_empty(), "{rule}{message}");
}

#[test]
fn files_are_short() {
    let findings: Vec<String> = files()
        .iter()
        .filter(|file| file.is_rust())
        .filter_map(|file| {
            let most = if file.is_test() { MAX_LINES.1 } else { MAX_LINES.0 };
            let lines = file.text.lines().count();
            (lines >= most).then(|| format!("{}: {lines} lines, must be under {most}", file.path))
        })
        .collect();
    none(
        &findings,
        "one topic a file: split it by topic, or move its tests to a file of their own",
    );
}

#[test]
fn names_say_what_is_inside() {
    const EMPTY_NAMES: [&str; 7] = ["util", "utils", "helper", "helpers", "common", "misc", "shared"];
    let findings: Vec<String> = files()
        .iter()
        .filter(|file| file.is_rust())
        .filter(|file| {
            let mut parts = file.path.trim_end_matches(".rs").split('/');
            parts.any(|part| EMPTY_NAMES.contains(&part))
        })
        .map(|file| file.path.clone())
        .collect();
    none(&findings, "a module is named for what it holds");
}

/// The name of a crate as it stands in code.
fn in_code(package: &str) -> String {
    package.replace('-', "_")
}

/// Whether `word` stands in the line as a word of its own.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(is_part);
        let after = line[at + word.len()..].chars().next().is_some_and(is_part);
        !before && !after
    })
}

#[test]
fn crates_use_each_other_in_one_direction() {
    let mut findings = Vec::new();
    let files = files();
    for (package, allowed) in MAY_USE {
        let forbidden: Vec<&str> = PUBLISHED
            .into_iter()
            .filter(|other| *other != package && !allowed.contains(other))
            .collect();
        for file in files
            .iter()
            .filter(|file| file.path.starts_with(&format!("{package}/src/")))
        {
            for (number, line) in file.code() {
                for other in &forbidden {
                    if has_word(line, &in_code(other)) {
                        findings.push(format!("{}:{number}: {package} must not use {other}", file.path));
                    }
                }
                let is_dev = ["resultity-server/src/dev.rs", "resultity-server/src/dev/"]
                    .into_iter()
                    .any(|dev| file.path.starts_with(dev));
                if package == "resultity-server" && has_word(line, "resultity_node") && !is_dev {
                    findings.push(format!(
                        "{}:{number}: only `dev` starts a node: move it to src/dev",
                        file.path
                    ));
                }
            }
        }
        let manifest = read(&format!("{package}/Cargo.toml"));
        for (number, line) in section(&manifest, "[dependencies]") {
            if forbidden.iter().any(|other| line.starts_with(other)) {
                findings.push(format!(
                    "{package}/Cargo.toml:{number}: {package} must not use it: {line}"
                ));
            }
        }
    }
    none(
        &findings,
        "client → core; node → core, client; server → core, and node for `dev` alone",
    );
}

/// The lines of a section of a manifest.
fn section<'a>(manifest: &'a str, name: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    manifest
        .lines()
        .enumerate()
        .skip_while(move |(_, line)| *line != name)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('['))
        .map(|(index, line)| (index + 1, line))
}

/// The modules of its own crate that the code names.
fn used_modules(file: &File) -> Vec<(usize, String)> {
    let text: Vec<(usize, &str)> = file.code().collect();
    let mut used = Vec::new();
    for (index, (number, line)) in text.iter().enumerate() {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            if rest.starts_with('{') {
                // A group over several lines: what stands directly in it.
                let group: String = std::iter::once(rest)
                    .chain(text[index + 1..].iter().map(|(_, line)| *line))
                    .take(40)
                    .collect();
                used.extend(of_group(&group).into_iter().map(|module| (*number, module)));
            } else {
                used.push((*number, first_word(rest)));
            }
        }
    }
    used
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first words of `{a::b, c, d::{e, f}}`: a, c, d.
fn of_group(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut is_start = false;
    let mut words = Vec::new();
    for (at, c) in group.char_indices() {
        match c {
            '{' => {
                depth += 1;
                is_start = depth == 1;
            }
            '}' if depth <= 1 => break,
            '}' => depth -= 1,
            ',' => is_start = depth == 1,
            c if c.is_whitespace() => {}
            _ if is_start => {
                words.push(first_word(&group[at..]));
                is_start = false;
            }
            _ => {}
        }
    }
    words
}

#[test]
fn groups_of_imports_are_read() {
    let group = "{flow::{Flow, Other}, store, http::{\n    App,\n}, link};";
    assert_eq!(of_group(group), ["flow", "store", "http", "link"]);
    assert!(has_word("use resultity_node::agent;", "resultity_node"));
    assert!(!has_word("my_resultity_node", "resultity_node"));
}

#[test]
fn modules_use_each_other_in_one_direction() {
    let mut findings = Vec::new();
    let files = files();
    for (package, order) in ORDER {
        let source = format!("{package}/src/");
        for file in files.iter().filter(|file| !file.is_test()) {
            let Some(path) = file.path.strip_prefix(&source) else {
                continue;
            };
            let module = first_word(path);
            let Some(rank) = order.iter().position(|known| *known == module) else {
                continue;
            };
            for (number, used) in used_modules(file) {
                // What is not in the list but begins with a capital is a name that the crate's root gives.
                let is_module = used.starts_with(|c: char| c.is_lowercase());
                let other = order.iter().position(|known| *known == used).unwrap_or(order.len());
                if is_module && used != module && other > rank {
                    let path = &file.path;
                    findings.push(format!(
                        "{path}:{number}: `{module}` must not use `{used}`, which builds on it"
                    ));
                }
            }
        }
    }
    none(
        &findings,
        "imports go one way (the order is `ORDER` in this test): move what is needed down, or the caller up",
    );
}

#[test]
fn what_decides_has_no_effects() {
    let files = files();
    let mut findings = Vec::new();
    let is_of = |file: &File, module: &str| {
        let rest = file.path.strip_prefix(module).unwrap_or_default();
        rest == ".rs" || rest.starts_with('/')
    };
    for module in PURE.into_iter().chain(["resultity-core/src"]) {
        let mut parts = files
            .iter()
            .filter(|file| is_of(file, module) && !file.is_test())
            .peekable();
        if parts.peek().is_none() {
            findings.push(format!("{module} is not there: if it was moved, change `PURE` too"));
        }
        for file in parts {
            for (number, line) in file.code() {
                for effect in EFFECTS.into_iter().filter(|effect| has_word(line, effect)) {
                    findings.push(format!("{}:{number}: {effect}", file.path));
                }
            }
        }
    }
    for (number, line) in section(&read("resultity-core/Cargo.toml"), "[dependencies]") {
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if ["tokio", "tokio-util", "reqwest", "hyper", "axum", "rusqlite"].contains(&name) {
            findings.push(format!("resultity-core/Cargo.toml:{number}: {line}"));
        }
    }
    none(
        &findings,
        "core and the pure modules take events and give decisions: the shell around them does I/O",
    );
}

#[test]
fn nothing_is_left_unfinished() {
    // Put together here, so that this file does not find itself.
    let markers = [
        concat!("to", "do!"),
        concat!("unimple", "mented!"),
        concat!("db", "g!("),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("XX", "X"),
    ];
    let mut findings = Vec::new();
    for file in files().iter().filter(|file| file.is_rust() || file.has_extension("py")) {
        for (index, line) in file.text.lines().enumerate() {
            for marker in markers.into_iter().filter(|marker| line.contains(marker)) {
                findings.push(format!("{}:{}: {marker}", file.path, index + 1));
            }
        }
    }
    none(&findings, "finish it, or make an issue of it and take the marker out");
}

#[test]
fn nothing_names_one_machine() {
    let folders = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
        concat!("/tm", "p/"),
        concat!("/Us", "ers/"),
    ];
    let mut findings = Vec::new();
    for file in files() {
        for (index, line) in file.text.lines().enumerate() {
            for folder in folders {
                let stands_alone = line.match_indices(folder).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || "._-~}".contains(c))
                });
                if stands_alone {
                    findings.push(format!("{}:{}: {}", file.path, index + 1, line.trim()));
                }
            }
        }
    }
    none(
        &findings,
        "a path of one machine is wrong on the next: use a temporary folder, an option or an example such as /var/lib/…",
    );
}

#[test]
fn dependencies_come_from_one_place() {
    const INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";
    let sources: BTreeSet<String> = read("Cargo.lock")
        .lines()
        .filter_map(|line| line.strip_prefix("source = "))
        .map(|source| source.trim_matches('"').to_owned())
        .filter(|source| source != INDEX)
        .collect();
    none(
        &sources.into_iter().collect::<Vec<_>>(),
        "every dependency comes from crates.io",
    );
}

#[test]
fn crates_are_ready_to_publish() {
    let mut findings = Vec::new();
    for package in PUBLISHED {
        let manifest = read(&format!("{package}/Cargo.toml"));
        for key in [
            "description",
            "license",
            "repository",
            "keywords",
            "readme",
            "categories",
        ] {
            let is_set = section(&manifest, "[package]").any(|(_, line)| {
                line.strip_prefix(key)
                    .is_some_and(|rest| rest.starts_with([' ', '.', '=']))
            });
            if !is_set {
                findings.push(format!("{package}/Cargo.toml: [package] has no {key}"));
            }
        }
        let front = read(&format!("{package}/src/lib.rs"));
        if !front.starts_with("#![doc = include_str!(\"../README.md\")]") {
            findings.push(format!("{package}/src/lib.rs: must begin by including its README.md"));
        }
        let readme = read(&format!("{package}/README.md"));
        let has_example = readme
            .lines()
            .any(|line| matches!(line, "```" | "```rust" | "```no_run" | "```rust,no_run"));
        if !has_example {
            findings.push(format!(
                "{package}/README.md: has no example in Rust, which would be compiled as a test"
            ));
        }
    }
    for package in PUBLISHED.into_iter().chain(["examples", "benches"]) {
        let manifest = read(&format!("{package}/Cargo.toml"));
        if !section(&manifest, "[lints]").any(|(_, line)| line == "workspace = true") {
            findings.push(format!("{package}/Cargo.toml: must take its lints from the workspace"));
        }
    }
    none(&findings, "a crate is ready to publish at any time");
}
