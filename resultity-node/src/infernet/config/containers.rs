//! `containers`, and what `resultity.containers` adds to each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr;
use std::time::Duration;

use resultity_core::Address;
use secrecy::SecretString;
use url::Url;

use super::fields::{Item, Object};
use super::report::Report;
use super::sections::{networks, port};
use super::settings::{ContainerModel, ContainerSettings, Takes};

/// The longest id.
const MAX_ID: usize = 200;
/// Where the original begins to look for ports that are free, downwards.
const FIRST_FREE_PORT: u16 = 3999;

/// What the containers have in common.
pub(super) struct Common<'a> {
    /// Whether a Docker engine starts them.
    pub(super) managed: bool,
    /// The port that the node itself listens on.
    pub(super) own_port: u16,
    /// Where a port is found, if not on this machine.
    pub(super) host: Option<&'a str>,
    pub(super) report: &'a Report,
}

/// A container as it is in the file.
struct Entry {
    container: ContainerSettings,
    path: String,
    has_url: bool,
}

/// All containers.
pub(super) fn read(root: &mut Object<'_>, own: &mut Object<'_>, common: &Common<'_>) -> Vec<ContainerSettings> {
    let items = root.take("containers").map(|item| item.list()).unwrap_or_default();
    let report = common.report;
    let (mut ids, mut ports) = (HashMap::new(), HashMap::new());
    let mut entries: Vec<Entry> = Vec::with_capacity(items.len());
    for item in items {
        let Some(entry) = container(&item, common) else {
            continue;
        };
        let id = entry.container.id.clone();
        if let Some(first) = ids.insert(id.clone(), entry.path.clone()) {
            report.problem(
                format!("{}.id", entry.path),
                format!("{id:?} is the id of {first} already"),
            );
        }
        if let Some(port) = entry.container.port.filter(|_| common.managed) {
            let path = format!("{}.port", entry.path);
            if port == common.own_port {
                report.problem(&path, format!("the node itself listens on port {port}"));
            } else if let Some(first) = ports.insert(port, entry.path.clone()) {
                report.problem(&path, format!("{port} is the port of {first} already"));
            }
        }
        entries.push(entry);
    }
    let mut taken: BTreeSet<u16> = ports.into_keys().chain([common.own_port]).collect();
    for entry in &mut entries {
        place(entry, common, &mut taken);
    }
    let mut containers: Vec<_> = entries.into_iter().map(|entry| entry.container).collect();
    limits(own, &mut containers, report);
    containers
}

/// One container of the file; none if it has no id.
fn container(item: &Item<'_>, common: &Common<'_>) -> Option<Entry> {
    let report = common.report;
    let mut object = item.object();
    let id = match object.take("id") {
        Some(item) => item.text().filter(|id| is_id(id, &item, common.managed)),
        None => {
            report.problem(object.path("id"), "is missing");
            None
        }
    };
    let url_item = object.take("url").filter(|item| !item.is_empty());
    let address = url_item.as_ref().and_then(|item| address(item, report));
    // One that is wrong is told already.
    let has_url = url_item.is_some();
    let port_item = object.take("port").filter(|item| !item.is_absent_number());
    let port = port_item.as_ref().and_then(port);
    let needs_image = common.managed && !has_url;
    let image = object.text("image").unwrap_or_default();
    if image.is_empty() && needs_image {
        report.problem(
            object.path("image"),
            "is missing: the Docker engine must know what to start",
        );
    }
    if !has_url && port_item.is_none() && !common.managed {
        let message = "is missing, and so is `url`: one of them must say where the container answers";
        report.problem(object.path("port"), message);
    }
    if has_url && port.is_some() {
        report.note(object.path("port"), "not used: the container is at its `url`");
    }
    if has_url && common.managed {
        let message = "the container runs there already: it is not started, though `manage_containers` is true";
        report.note(object.path("url"), message);
    }
    let unset = Url::from_str("http://localhost").expect("a valid address");
    let mut container = ContainerSettings::new(id.clone().unwrap_or_default(), address.unwrap_or(unset));
    container.port = port.filter(|_| !has_url);
    container.image = image;
    container.description = object.text("description").unwrap_or_default();
    container.bearer = object.take("bearer").and_then(|item| bearer(item.secret()));
    container.external = object.flag("external").unwrap_or(true);
    container.gpu = object.flag("gpu").unwrap_or(false);
    container.generates_proofs = object.flag("generates_proofs").unwrap_or(false);
    container.allowed_ips = networks(&mut object, "allowed_ips");
    container.allowed_addresses = addresses(&mut object, "allowed_addresses", report);
    container.allowed_delegate_addresses = addresses(&mut object, "allowed_delegate_addresses", report);
    container.accepted_payments = payments(&mut object, report);
    container.command = object.take("command").map(|item| command(&item)).unwrap_or_default();
    container.env = environment(&mut object);
    container.volumes = volumes(&mut object);
    object.end();
    id.map(|_| Entry {
        container,
        path: item.path.clone(),
        has_url,
    })
}

/// Whether it can be an id; tells why not.
fn is_id(id: &str, item: &Item<'_>, managed: bool) -> bool {
    let told = |message: &str| {
        item.problem(message);
        false
    };
    if id.is_empty() {
        return told("is empty");
    }
    if id.len() > MAX_ID {
        return told("is longer than 200 bytes");
    }
    if id.contains(',') {
        return told("has a comma, which separates the containers of a pipeline");
    }
    if id.chars().any(char::is_control) {
        return told("has a control character");
    }
    let is_name = id.starts_with(|first: char| first.is_ascii_alphanumeric())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if managed && !is_name {
        return told("a Docker engine takes only letters, digits, `_`, `.` and `-` as the name of a container");
    }
    true
}

/// Where a container answers.
fn address(item: &Item<'_>, report: &Report) -> Option<Url> {
    const EXPECTED: &str = "an address such as http://10.0.0.5:3000";
    let text = item.text()?;
    let url = Url::parse(&text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(mut url) = url else {
        item.expected(EXPECTED);
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        // Not shown: it may be a password.
        item.problem("has a user name: what the container wants to know goes into `bearer`");
        return None;
    }
    if url.query().is_some() || url.fragment().is_some() {
        item.expected(&format!("{EXPECTED}, without `?` and `#`"));
        return None;
    }
    if let Some(base) = url.path().trim_end_matches('/').strip_suffix("/service_output") {
        let base = base.to_owned();
        report.note(&item.path, "`/service_output` is left out: the node adds it");
        url.set_path(&base);
    }
    Some(url)
}

/// What goes behind `Authorization: Bearer`.
fn bearer(item: Item<'_>) -> Option<SecretString> {
    let token = item.text()?;
    if token.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
        item.problem("has characters that a header cannot carry");
        return None;
    }
    (!token.is_empty()).then(|| token.into())
}

/// Says where a container without `url` is found, with a free port where the file has none.
fn place(entry: &mut Entry, common: &Common<'_>, taken: &mut BTreeSet<u16>) {
    if entry.has_url {
        return;
    }
    let container = &mut entry.container;
    if container.port.is_none() && common.managed {
        container.port = (1..=FIRST_FREE_PORT).rev().find(|port| !taken.contains(port));
        if let Some(port) = container.port {
            taken.insert(port);
            let path = format!("{}.port", entry.path);
            common.report.note(path, format!("the file has none: {port} is used"));
        }
    }
    let Some(port) = container.port else { return };
    let host = common
        .host
        .unwrap_or(if common.managed { "127.0.0.1" } else { "localhost" });
    match Url::parse(&format!("http://{host}:{port}")) {
        Ok(url) => container.url = url,
        Err(_) => common.report.problem(&entry.path, format!("{host:?} is no host")),
    }
}

fn addresses(object: &mut Object<'_>, key: &str, report: &Report) -> Vec<Address> {
    let texts = object.texts(key).into_iter();
    texts
        .filter_map(|(item, text)| self::account(&text, &item, report))
        .collect()
}

/// The address of an account. Mixed case is a checksum, which a typing error breaks.
fn account(text: &str, item: &Item<'_>, report: &Report) -> Option<Address> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let Ok(address) = Address::from_str(digits) else {
        item.expected("an address of 20 bytes, such as 0x59F2f1fCfE2474fD5F0b9BA1E73ca90b143Eb8d0");
        return None;
    };
    let is_mixed =
        digits.contains(|c: char| c.is_ascii_uppercase()) && digits.contains(|c: char| c.is_ascii_lowercase());
    if is_mixed && address.to_checksum(None)[2..] != *digits {
        report.warning(
            &item.path,
            "its upper and lower case is not that of the address: is a digit wrong?",
        );
    }
    Some(address)
}

fn payments(object: &mut Object<'_>, report: &Report) -> BTreeMap<Address, String> {
    let mut section = object.section("accepted_payments");
    let rest = section.rest().into_iter();
    let payments = rest.filter_map(|(token, item)| {
        let digits = item.digits();
        let Ok(address) = Address::from_str(&token) else {
            report.problem(&item.path, "expected the address of a token, of 20 bytes, as the key");
            return None;
        };
        Some((address, digits?))
    });
    payments.collect()
}

/// A command, split as a shell would, or as a list.
fn command(item: &Item<'_>) -> Vec<String> {
    if item.is_list() {
        return item.texts().into_iter().map(|(_, text)| text).collect();
    }
    let words = item.text().map(|text| shlex::split(&text));
    if matches!(words, Some(None)) {
        item.problem("a quote is not closed");
    }
    words.flatten().unwrap_or_default()
}

fn environment(object: &mut Object<'_>) -> BTreeMap<String, String> {
    let mut section = object.section("env");
    let rest = section.rest().into_iter();
    let values = rest.filter_map(|(name, item)| {
        if name.is_empty() || name.contains(['=', '\0']) {
            item.problem("is no name of an environment variable");
            return None;
        }
        // Such values are often keys.
        let value = item.secret().as_text()?;
        Some((name, value))
    });
    values.collect()
}

/// `host:container[:mode]` each.
fn volumes(object: &mut Object<'_>) -> Vec<String> {
    let texts = object.texts("volumes").into_iter();
    let good = texts.filter_map(|(item, text)| {
        let parts: Vec<_> = text.split(':').collect();
        let is_good =
            matches!(parts.len(), 2 | 3) && parts.iter().all(|part| !part.is_empty()) && parts[1].starts_with('/');
        if !is_good {
            item.expected("\"host:/container\" or \"host:/container:ro\"");
        }
        is_good.then_some(text)
    });
    good.collect()
}

/// `resultity.containers`: what is ours, by the container's id.
fn limits(own: &mut Object<'_>, containers: &mut [ContainerSettings], report: &Report) {
    let mut models = HashMap::new();
    for (id, item) in own.section("containers").rest() {
        let mut object = item.object();
        let max_concurrency = object.count("max_concurrency", 65_536);
        let timeout = object.seconds("timeout", 0.001..=86_400.0);
        let model = model(&mut object, report);
        object.end();
        if let Some(model) = &model
            && let Some(first) = models.insert(model.name.clone(), id.clone())
        {
            let message = format!("{:?} is the model of the container {first:?} already", model.name);
            report.problem(format!("{}.model", item.path), message);
        }
        let Some(container) = containers.iter_mut().find(|container| container.id == id) else {
            report.problem(&item.path, unknown_id(&id, containers));
            continue;
        };
        container.max_concurrency = max_concurrency.map(|count| count as usize);
        container.timeout = timeout.filter(|timeout| *timeout > Duration::ZERO);
        container.model = model;
    }
}

fn unknown_id(id: &str, containers: &[ContainerSettings]) -> String {
    let near = containers.iter().map(|container| container.id.as_str());
    let near = near.min_by_key(|known| strsim::damerau_levenshtein(id, known));
    let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    format!("there is no container of this id{near}")
}

/// How the network sees a container.
fn model(object: &mut Object<'_>, report: &Report) -> Option<ContainerModel> {
    let name = object.text("model").filter(|name| !name.is_empty());
    let takes = object.take("takes").and_then(|item| match item.text()?.as_str() {
        "anything" => Some(Takes::Anything),
        "openai" => Some(Takes::OpenAi),
        _ => {
            item.expected("\"anything\" or \"openai\"");
            None
        }
    });
    if name.is_none() && takes.is_some() {
        report.problem(
            object.path("takes"),
            "`model` is missing: the network knows the container by it",
        );
    }
    Some(ContainerModel {
        name: name?,
        takes: takes.unwrap_or(Takes::Anything),
    })
}
