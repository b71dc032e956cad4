use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::time::Duration;

use super::settings::{OnRestart, RateLimit, ResultSettings, Settings, Takes};
use super::*;

fn read_value(value: &Value) -> Result<(Settings, Vec<Note>), ConfigErrors> {
    read(&value.to_string(), &Overrides::new())
}

fn warnings(notes: &[Note]) -> Vec<String> {
    let warnings = notes.iter().filter(|note| note.level == NoteLevel::Warning);
    // A build without the feature `docker` has one more.
    let warnings = warnings.filter(|note| note.path != "manage_containers");
    warnings.map(ToString::to_string).collect()
}

/// A file with one container, which has these keys besides its id, image and port.
fn with_container(keys: Value) -> Value {
    let mut container = json!({"id": "echo", "image": "org/echo", "port": 3000});
    merge(&mut container, keys);
    json!({"manage_containers": false, "containers": [container]})
}

fn merge(into: &mut Value, keys: Value) {
    for (key, value) in keys.as_object().unwrap() {
        into[key] = value.clone();
    }
}

#[test]
fn the_sample_file_is_read_without_warnings_and_has_the_defaults() {
    let text = include_str!("../../../config.example.json");
    let (settings, notes) = read(text, &Overrides::new()).unwrap();
    assert_eq!(warnings(&notes), Vec::<String>::new());
    let default = Settings::new("infernet-data/infernet.db", Vec::new());
    assert_eq!(settings.listen, default.listen);
    assert_eq!(settings.rate_limit, default.rate_limit);
    assert_eq!(settings.queue, default.queue);
    assert_eq!(settings.calls, default.calls);
    assert_eq!(settings.results, default.results);
    assert_eq!(settings.max_body_bytes, default.max_body_bytes);
    let [hello, summarise] = &settings.containers[..] else {
        panic!()
    };
    assert_eq!(hello.command, ["--bind=0.0.0.0:3000", "--workers=2"]);
    assert_eq!(hello.env["TIMES"], "2");
    assert_eq!(hello.url.as_str(), "http://127.0.0.1:3000/");
    assert_eq!(hello.max_concurrency, Some(8));
    assert_eq!(hello.model.as_ref().unwrap().takes, Takes::Anything);
    assert_eq!(summarise.url.as_str(), "http://10.0.0.5:3000/");
    assert_eq!(summarise.port, None);
    assert_eq!(summarise.bearer.as_ref().unwrap().expose_secret(), "your-token");
}

/// A key that the code asks for and the sample lacks would be documented nowhere.
#[test]
fn the_sample_file_shows_every_key() {
    let sample: Value = serde_json::from_str(include_str!("../../../config.example.json")).unwrap();
    let mut shown = std::collections::BTreeSet::new();
    paths("", &sample, &mut shown);
    let report = Report::default();
    let text = sample.to_string();
    plan::settings(Item::root(&text, &report).unwrap().object(), &Overrides::new(), &report);
    let older = ["log_path", "chain.coordinator_address", "snapshot_sync"];
    let asked = report.known_keys().into_iter();
    let missing: Vec<_> = asked
        .filter(|key| !shown.contains(key) && !older.iter().any(|older| key.starts_with(older)))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

fn paths(path: &str, value: &Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                paths(&path, value, found);
                found.insert(path);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| paths(&format!("{path}[]"), value, found)),
        _ => {}
    }
}

/// As in the projects of the original's authors: old keys, ports in quotes, empty texts.
#[test]
fn a_file_from_the_field_is_read() {
    let (settings, notes) = read_value(&json!({
        "log_path": "infernet_node.log",
        "server": {"port": 4000, "rate_limit": {"num_requests": 100, "period": 100}},
        "chain": {
            "enabled": true, "trail_head_blocks": 3, "rpc_url": "http://host.docker.internal:8545",
            "coordinator_address": "0x8D871Ef2826ac9001fB2e33fDD6379b6aaBF449c",
            "wallet": {"max_gas_limit": 4_000_000, "private_key": "0x59c6secret", "payment_address": "", "allowed_sim_errors": []},
            "snapshot_sync": {"sleep": 3, "batch_size": 100}
        },
        "startup_wait": 1.0,
        "docker": {"username": "your-username", "password": ""},
        "redis": {"host": "redis", "port": 6379},
        "forward_stats": true,
        "containers": [{
            "id": "hello-world", "image": "ritualnetwork/hello-world-infernet:latest", "external": true, "port": "3000",
            "allowed_delegate_addresses": [], "allowed_addresses": [], "allowed_ips": [],
            "command": "--bind=0.0.0.0:3000 --workers=2", "env": {}, "volumes": [], "accepted_payments": {},
            "generates_proofs": false
        }]
    }))
    .unwrap();
    assert_eq!(settings.containers[0].port, Some(3000));
    assert_eq!(
        settings.rate_limit,
        RateLimit {
            requests: 100,
            period: Duration::from_secs(100)
        }
    );
    assert_eq!(settings.docker.unwrap().startup_wait, Duration::from_secs(1));
    assert_eq!(settings.log.unwrap().path, PathBuf::from("infernet_node.log"));
    let said: Vec<_> = notes.iter().map(ToString::to_string).collect();
    let said = said.join("\n");
    for expected in [
        "log_path: ",
        "redis: not needed",
        "forward_stats: not used",
        "Chain not enabled",
        "chain.wallet.private_key: not needed",
        "chain.rpc_url, chain.coordinator_address",
        "docker: has no username or no password",
        "--listen 0.0.0.0:4000",
    ] {
        assert!(said.contains(expected), "{expected} is not said in\n{said}");
    }
    assert!(!said.contains("secret"), "{said}");
}

#[rstest]
#[case(json!({}))]
#[case(json!({"server": null, "chain": null, "log": null, "docker": null, "redis": null, "containers": null}))]
#[case(json!({"server": {"port": null, "rate_limit": null}, "chain": {"enabled": null, "wallet": null}}))]
fn absent_sections_and_nulls_are_the_defaults(#[case] file: Value) {
    let (settings, notes) = read_value(&file).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:4000");
    assert_eq!(settings.rate_limit, RateLimit::default());
    assert!(settings.docker.is_some());
    assert_eq!(settings.log, None);
    assert_eq!(warnings(&notes), ["containers: there are none: every job is refused"]);
}

#[rstest]
#[case(json!({"port": "3000x"}), "containers[0].port: expected a port between 1 and 65535, found \"3000x\"")]
#[case(json!({"port": 0}), "containers[0].port: expected a port between 1 and 65535, found 0")]
#[case(json!({"port": 65536}), "containers[0].port: expected a port between 1 and 65535, found 65536")]
#[case(json!({"port": 3000.5}), "containers[0].port: expected a port between 1 and 65535, found 3000.5")]
#[case(json!({"port": null}), "containers[0].port: is missing, and so is `url`: one of them must say where the container answers")]
#[case(json!({"port": -1}), "containers[0].port: is missing, and so is `url`: one of them must say where the container answers")]
#[case(json!({"id": null}), "containers[0].id: is missing")]
#[case(json!({"id": ""}), "containers[0].id: is empty")]
#[case(json!({"id": 5}), "containers[0].id: expected a text, found 5")]
#[case(json!({"id": "a,b"}), "containers[0].id: has a comma, which separates the containers of a pipeline")]
#[case(json!({"external": "perhaps"}), "containers[0].external: expected true or false, found \"perhaps\"")]
#[case(json!({"url": "localhost:3000"}), "containers[0].url: expected an address such as http://10.0.0.5:3000, found \"localhost:3000\"")]
#[case(json!({"port": null, "url": "localhost:3000"}), "containers[0].url: expected an address such as http://10.0.0.5:3000, found \"localhost:3000\"")]
#[case(json!({"url": "http://h?x=1"}), "containers[0].url: expected an address such as http://10.0.0.5:3000, without `?` and `#`, found \"http://h?x=1\"")]
#[case(json!({"url": "http://me:secret@h"}), "containers[0].url: has a user name: what the container wants to know goes into `bearer`")]
#[case(json!({"bearer": "a\nb"}), "containers[0].bearer: has characters that a header cannot carry")]
#[case(json!({"bearer": 12345}), "containers[0].bearer: expected a text, found something else")]
#[case(json!({"allowed_ips": ["1.2.3.4", "X.X.X.X"]}), "containers[0].allowed_ips[1]: expected an address or a network, such as 10.0.0.1, 10.0.0.0/8, ::1 or fd00::/8, found \"X.X.X.X\"")]
#[case(json!({"allowed_ips": "1.2.3.4"}), "containers[0].allowed_ips: expected a list, found \"1.2.3.4\"")]
#[case(json!({"allowed_addresses": [""]}), "containers[0].allowed_addresses[0]: expected an address of 20 bytes, such as 0x59F2f1fCfE2474fD5F0b9BA1E73ca90b143Eb8d0, found \"\"")]
#[case(json!({"accepted_payments": {"0x0": 1}}), "containers[0].accepted_payments.0x0: expected the address of a token, of 20 bytes, as the key")]
#[case(json!({"accepted_payments": {"0x0000000000000000000000000000000000000000": -1}}), "containers[0].accepted_payments.0x0000000000000000000000000000000000000000: expected a whole number in decimal digits, found -1")]
#[case(json!({"command": "sh -c 'x"}), "containers[0].command: a quote is not closed")]
#[case(json!({"env": {"KEY": ["secret"]}}), "containers[0].env.KEY: expected a text or a number, found a list")]
#[case(json!({"volumes": ["data"]}), "containers[0].volumes[0]: expected \"host:/container\" or \"host:/container:ro\", found \"data\"")]
fn what_is_wrong_in_a_container_is_named(#[case] keys: Value, #[case] expected: &str) {
    let errors = read_value(&with_container(keys)).unwrap_err();
    assert_eq!(errors.to_string(), expected);
}

#[rstest]
#[case(json!({"server": []}), "server: expected an object, found a list")]
#[case(json!({"server": {"port": "x"}}), "server.port: expected a port between 1 and 65535, found \"x\"")]
#[case(json!({"server": {"rate_limit": {"num_requests": 0}}}), "server.rate_limit.num_requests: expected a whole number between 1 and 4294967295, found 0")]
#[case(json!({"server": {"rate_limit": {"period": "soon"}}}), "server.rate_limit.period: expected seconds between 0.001 and 31536000, found \"soon\"")]
#[case(json!({"chain": {"enabled": "maybe"}}), "chain.enabled: expected true or false, found \"maybe\"")]
#[case(json!({"chain": {"wallet": {"private_key": 123_456}}}), "chain.wallet.private_key: expected a text, found something else")]
#[case(json!({"docker": {"username": "me", "password": 7}}), "docker.password: expected a text, found something else")]
#[case(json!({"log": {"max_file_size": "1GB"}}), "log.max_file_size: expected a number of bytes; 0: without end, found \"1GB\"")]
#[case(json!({"containers": {}}), "containers: expected a list, found an object")]
#[case(json!({"resultity": {"listen": "here"}}), "resultity.listen: expected an address such as 0.0.0.0:4000, 127.0.0.1 or [::]:4000, found \"here\"")]
#[case(json!({"resultity": {"on_restart": "retry"}}), "resultity.on_restart: expected \"fail\" or \"rerun\", found \"retry\"")]
#[case(json!({"resultity": {"max_running": 0}}), "resultity.max_running: expected a whole number between 1 and 65536, found 0")]
#[case(json!({"resultity": {"trusted_proxies": ["proxy"]}}), "resultity.trusted_proxies[0]: expected an address or a network, such as 10.0.0.1, 10.0.0.0/8, ::1 or fd00::/8, found \"proxy\"")]
#[case(json!({"resultity": {"containers": {"ecko": {}}}}), "resultity.containers.ecko: there is no container of this id")]
fn what_is_wrong_in_a_section_is_named(#[case] file: Value, #[case] expected: &str) {
    let errors = read_value(&file).unwrap_err();
    assert_eq!(errors.to_string(), expected);
}

#[rstest]
#[case(
    "{\"server\": {\"port\": 4000,}}",
    "line 1, column 26: this is not JSON: trailing comma"
)]
#[case(" \n", "the file: is empty")]
#[case("{\"containers\":", "line 1, column 14: this is not JSON: EOF while parsing a value")]
#[case("{}\n{}", "line 2, column 1: this is not JSON: trailing characters")]
#[case("[]", "the file: expected an object, found a list")]
fn what_is_no_json_is_told_with_its_place(#[case] text: &str, #[case] expected: &str) {
    let errors = read(text, &Overrides::new()).unwrap_err();
    assert_eq!(errors.to_string(), expected);
}

#[test]
fn all_problems_are_told_at_once() {
    let errors = read_value(&json!({
        "server": {"port": "x"},
        "manage_containers": false,
        "containers": [{"id": "a", "port": 0}, {"id": "a", "port": 3000, "gpu": 7}, {}],
    }))
    .unwrap_err();
    let paths: Vec<_> = errors.problems.iter().map(|problem| problem.path.as_str()).collect();
    let expected = [
        "server.port",
        "containers[0].port",
        "containers[1].gpu",
        "containers[1].id",
        "containers[2].id",
        "containers[2].port",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn ports_are_used_once_when_the_containers_are_started() {
    let container = |id: &str, port: Value| json!({"id": id, "image": "i", "port": port});
    let containers = [
        container("a", 3999.into()),
        container("b", 3999.into()),
        container("c", 4000.into()),
    ];
    let errors = read_value(&json!({"manage_containers": true, "containers": containers})).unwrap_err();
    let expected = "containers[1].port: 3999 is the port of containers[0] already\ncontainers[2].port: the node itself listens on port 4000";
    assert_eq!(errors.to_string(), expected);
    // One server may be several containers.
    let (settings, _) = read_value(&json!({"manage_containers": false, "containers": containers})).unwrap();
    assert_eq!(settings.containers[1].url.as_str(), "http://localhost:3999/");
}

#[test]
fn a_free_port_is_found_where_the_file_has_none() {
    let containers = json!([
        {"id": "a", "image": "i"}, {"id": "b", "image": "i", "port": 3998}, {"id": "c", "image": "i", "port": -1},
    ]);
    let (settings, _) = read_value(&json!({"containers": containers})).unwrap();
    let ports: Vec<_> = settings.containers.iter().map(|container| container.port).collect();
    assert_eq!(ports, [Some(3999), Some(3998), Some(3997)]);
}

#[test]
fn unknown_keys_are_warned_of() {
    let mut file = with_container(json!({"extrenal": false}));
    merge(
        &mut file,
        json!({"rate_limit": {}, "resultity": {"time_out": 3}, "colour": "blue"}),
    );
    let (_, notes) = read_value(&file).unwrap();
    let expected = [
        "containers[0].extrenal: unknown key, not used; did you mean `containers[].external`?",
        "resultity.time_out: unknown key, not used; did you mean `resultity.timeout`?",
        "rate_limit: unknown key, not used; did you mean `server.rate_limit`?",
        "colour: unknown key, not used",
    ];
    let mut said = warnings(&notes);
    said.sort_by_key(|said| expected.iter().position(|expected| expected == said));
    assert_eq!(said, expected);
}

#[test]
fn values_are_as_lenient_as_the_originals() {
    let (settings, _) = read_value(&with_container(json!({
        "port": "8600", "external": "no", "gpu": 1, "command": ["a b", "c"],
        "env": {"A": 5, "B": true, "C": 1.5, "D": "x"},
        "accepted_payments": {"0x59F2f1fCfE2474fD5F0b9BA1E73ca90b143Eb8d0": "115792089237316195423570985008687907853269984665640564039457584007913129639935"},
    })))
    .unwrap();
    let container = &settings.containers[0];
    assert!(!container.external && container.gpu);
    assert_eq!(container.command, ["a b", "c"]);
    let env: Vec<_> = container.env.values().map(String::as_str).collect();
    assert_eq!(env, ["5", "True", "1.5", "x"]);
    assert_eq!(container.accepted_payments.values().next().unwrap().len(), 78);
}

/// Through a `Value` it would be a float.
#[test]
fn payments_beyond_64_bits_keep_their_digits() {
    let text = r#"{"manage_containers": false, "containers": [{"id": "a", "port": 1,
        "accepted_payments": {"0x0000000000000000000000000000000000000000": 100000000000000000000000001}}]}"#;
    let (settings, _) = read(text, &Overrides::new()).unwrap();
    let payments = &settings.containers[0].accepted_payments;
    assert_eq!(payments.values().next().unwrap(), "100000000000000000000000001");
}

#[test]
fn a_broken_checksum_is_warned_of() {
    let wrong = "0x59F2f1fCfE2474fD5F0b9BA1E73ca90b143Eb8D0";
    let (_, notes) = read_value(&with_container(json!({"allowed_addresses": [wrong]}))).unwrap();
    let expected =
        "containers[0].allowed_addresses[0]: its upper and lower case is not that of the address: is a digit wrong?";
    assert_eq!(warnings(&notes), [expected]);
}

#[test]
fn what_the_caller_decides_counts() {
    let overrides = Overrides {
        listen: Some("0.0.0.0".parse().unwrap()),
        data_dir: Some("elsewhere".into()),
        default_data_dir: Some("nowhere".into()),
        containers_host: Some("host.docker.internal".to_owned()),
        docker_host: Some("unix:///x".to_owned()),
    };
    let file = json!({
        "server": {"port": 4444},
        "containers": [{"id": "a", "image": "i", "port": 3000}],
        "resultity": {"listen": "127.0.0.1:1", "data_dir": "here", "on_restart": "rerun", "keep_results_for": 60},
    });
    let (settings, notes) = read(&file.to_string(), &overrides).unwrap();
    assert_eq!(settings.listen.to_string(), "0.0.0.0:4444");
    let mut results = ResultSettings::new("elsewhere/infernet.db");
    results.on_restart = OnRestart::Rerun;
    results.keep_for = Duration::from_mins(1);
    assert_eq!(settings.results, results);
    assert_eq!(settings.containers[0].url.as_str(), "http://host.docker.internal:3000/");
    let docker = settings.docker.unwrap();
    assert!(docker.publish.is_unspecified());
    assert_eq!(docker.host.unwrap(), "unix:///x");
    assert!(notes.iter().all(|note| note.path != "server"), "{notes:?}");
}

#[test]
fn a_container_with_an_address_is_not_started() {
    let containers = json!([{"id": "a b", "url": "https://h/base/service_output", "port": 3000}]);
    let (settings, _) = read_value(&json!({"containers": containers, "manage_containers": false})).unwrap();
    assert_eq!(settings.containers[0].url.as_str(), "https://h/base");
    assert_eq!(settings.containers[0].port, None);
}

#[test]
fn a_check_shows_no_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let file = with_container(json!({"bearer": "secret-1", "env": {"KEY": "secret-2"}}));
    std::fs::write(&path, file.to_string()).unwrap();
    let check = Check::of(&path, &Overrides::new());
    assert!(check.valid);
    let (text, json) = (check.to_string(), serde_json::to_string(&check).unwrap());
    assert!(
        text.contains("echo  http://localhost:3000/, with a bearer token"),
        "{text}"
    );
    for shown in [text, json, format!("{check:?}")] {
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[rstest]
#[case("0.0.0.0:80", "0.0.0.0", Some(80))]
#[case("127.0.0.1", "127.0.0.1", None)]
#[case("::1", "::1", None)]
#[case("[::]", "::", None)]
#[case("[::]:4000", "::", Some(4000))]
fn addresses_to_listen_on(#[case] text: &str, #[case] address: &str, #[case] port: Option<u16>) {
    let address = address.parse().unwrap();
    assert_eq!(text.parse(), Ok(Listen { address, port }));
}
