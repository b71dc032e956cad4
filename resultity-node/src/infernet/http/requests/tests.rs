//! Every way in which a body can be wrong, with the answer.

use rstest::rstest;

use super::*;

const GOOD: &str = r#"{"containers":["a"],"data":{}}"#;

fn refused(result: Result<impl fmt::Debug, NodeError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind().status(), Some(400));
    assert!(error.message().len() < 300);
    error.message().to_owned()
}

fn read_job(body: &str) -> JobRequest {
    match posted(body.as_bytes()).unwrap() {
        BatchRequest::Job(request) => request,
        BatchRequest::Delegated(_) => panic!("{body}"),
    }
}

#[rstest]
#[case::nothing("", "The body is empty: expected JSON")]
#[case::spaces(" \r\n\t", "The body is empty: expected JSON")]
#[case::a_list("[]", "Expected a JSON object")]
#[case::text("\"{}\"", "Expected a JSON object")]
#[case::null("null", "Expected a JSON object")]
#[case::a_number("1e9999", "Expected a JSON object")]
#[case::no_json("containers=a", "The body is not JSON: expected value at line 1 column 1")]
#[case::half_a_list("[1,", "The body is not JSON: EOF while parsing a value at line 1 column 3")]
#[case::half_an_object(
    "{\"containers\":",
    "The body is not JSON: EOF while parsing a value at line 1 column 14"
)]
#[case::a_comma("{\"data\":{},}", "The body is not JSON: trailing comma at line 1 column 12")]
#[case::not_a_number("{\"data\":{\"a\":NaN}}", "The body is not JSON: expected value at line 1 column 14")]
#[case::single_quotes("{'data':{}}", "The body is not JSON: key must be a string at line 1 column 2")]
#[case::a_rest("{} {}", "The body is not JSON: trailing characters at line 1 column 4")]
#[case::a_byte_order_mark("\u{feff}{}", "The body is not JSON: expected value at line 1 column 1")]
#[case::a_control_character(
    "{\"data\":{\"a\":\"\0\"}}",
    "The body is not JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 14"
)]
#[case::a_name_twice(r#"{"data":{},"containers":[],"data":{}}"#, "data stands there twice")]
#[case::a_name_twice_escaped(r#"{"data":{},"containers":[],"d\u0061ta":{}}"#, "data stands there twice")]
fn a_body_that_is_no_object_is_refused(#[case] body: &str, #[case] expected: &str) {
    assert_eq!(refused(posted(body.as_bytes())), expected);
    assert_eq!(refused(status(body.as_bytes())), expected);
}

#[rstest]
#[case::containers_missing(r#"{"data":{}}"#, "containers: missing, expected a list of container ids")]
#[case::containers_null(
    r#"{"containers":null,"data":{}}"#,
    "containers: missing, expected a list of container ids"
)]
#[case::containers_text(r#"{"containers":"a","data":{}}"#, "containers: expected a list of container ids")]
#[case::containers_object(
    r#"{"containers":{"0":"a"},"data":{}}"#,
    "containers: expected a list of container ids"
)]
#[case::container_number(r#"{"containers":["a",1],"data":{}}"#, "containers[1]: expected a string")]
#[case::container_null(r#"{"containers":[null],"data":{}}"#, "containers[0]: expected a string")]
#[case::container_list(r#"{"containers":[["a"]],"data":{}}"#, "containers[0]: expected a string")]
#[case::container_half_a_character(r#"{"containers":["\ud800"],"data":{}}"#, "containers[0]: expected a string")]
#[case::data_missing(r#"{"containers":["a"]}"#, "data: missing, expected an object")]
#[case::data_null(r#"{"containers":["a"],"data":null}"#, "data: missing, expected an object")]
#[case::data_list(r#"{"containers":["a"],"data":[]}"#, "data: expected an object")]
#[case::data_text(r#"{"containers":["a"],"data":"{}"}"#, "data: expected an object")]
#[case::data_number(r#"{"containers":["a"],"data":1}"#, "data: expected an object")]
#[case::proof_text(
    r#"{"containers":["a"],"data":{},"requires_proof":"true"}"#,
    "requires_proof: expected true or false"
)]
#[case::proof_number(
    r#"{"containers":["a"],"data":{},"requires_proof":1}"#,
    "requires_proof: expected true or false"
)]
#[case::everything_wrong(r"{}", "containers: missing, expected a list of container ids")]
#[case::no_subscription(r#"{"signature":{},"data":{}}"#, "subscription: missing")]
#[case::no_signature(r#"{"subscription":{},"data":{}}"#, "subscription.owner: missing")]
#[case::subscription_text(
    r#"{"subscription":"x","signature":{},"data":{}}"#,
    "subscription: expected an object"
)]
fn a_wrong_field_is_named(#[case] body: &str, #[case] expected: &str) {
    let said = refused(posted(body.as_bytes()));
    assert!(said.starts_with(expected), "{said}");
    let batched = format!("[{GOOD},{body},{GOOD}]");
    let read = batch(batched.as_bytes()).unwrap();
    assert!(matches!(read[..], [Ok(_), Err(_), Ok(_)]));
    assert_eq!(read[1].as_ref().unwrap_err().message(), said);
}

#[rstest]
#[case(r#"{"status":"success","containers":[]}"#, "id: missing, expected a string")]
#[case(r#"{"id":1,"status":"success","containers":[]}"#, "id: expected a string")]
#[case(r#"{"id":"","status":"success","containers":[]}"#, "id: expected 1 to 128 bytes")]
#[case(
    r#"{"id":"a","containers":[]}"#,
    "status: missing, expected one of success, failed, running"
)]
#[case(
    r#"{"id":"a","status":true,"containers":[]}"#,
    "status: expected one of success, failed, running"
)]
#[case(r#"{"id":"a","status":"Success","containers":[]}"#, "Status is invalid")]
#[case(
    r#"{"id":"a","status":"success"}"#,
    "containers: missing, expected a list of container ids"
)]
#[case(
    r#"{"id":"a","status":"success","containers":[1]}"#,
    "containers[0]: expected a string"
)]
fn a_wrong_field_of_a_status_is_named(#[case] body: &str, #[case] expected: &str) {
    assert_eq!(refused(status(body.as_bytes())), expected);
}

#[test]
fn an_id_of_a_status_has_a_longest_length() {
    let body = |id: &str| format!(r#"{{"id":"{id}","status":"running","containers":["a"]}}"#);
    assert_eq!(
        refused(status(body(&"é".repeat(65)).as_bytes())),
        "id: expected 1 to 128 bytes"
    );
    let read = status(body(&"é".repeat(64)).as_bytes()).unwrap();
    assert_eq!((read.id.as_str().len(), read.status), (128, JobStatus::Running));
}

#[rstest]
#[case(b"{\"containers\":[\"\xff\"],\"data\":{}}")]
#[case(b"{\"data\":{\"a\":\"\xed\xa0\x80\"}}")]
#[case(b"\xfe\xff\x00{\x00}")]
fn bytes_that_are_no_text_are_refused(#[case] body: &[u8]) {
    assert_eq!(refused(posted(body)), "The body is not UTF-8");
    assert_eq!(refused(batch(body)), "The body is not UTF-8");
}

#[test]
fn nesting_has_a_deepest_level() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"containers":["a"],"data":{{"a":{open}"[[[[\"[[\\"{close}}}}}"#)
    };
    read_job(&nested(MAX_DEPTH - 2));
    let expected = "The body is nested deeper than 128";
    assert_eq!(refused(posted(nested(MAX_DEPTH - 1).as_bytes())), expected);
    assert_eq!(refused(batch("[".repeat(1_000_000).as_bytes())), expected);
    assert_eq!(refused(status("{\"x\":".repeat(1_000_000).as_bytes())), expected);
}

#[test]
fn a_job_is_carried_as_it_was_sent() {
    let data = r#"{ "n" : 123456789012345678901234567890.5e-400, "n":1,  "s":"\ud800\u0000", "deep":{"id":null} }"#;
    let body = format!(
        " {{\"id\":\"spoofed\",\"ip\":\"127.0.0.1\",\"containers\":[\"a\",\"\\u0062\"],\"data\":{data},\"subscription\":null,\
         \"requires_proof\":null,\"other\":[1e999]}}\n"
    );
    let request = read_job(&body);
    assert_eq!(request.containers, ["a", "b"]);
    assert_eq!(request.data.get(), data);
    assert_eq!(request.requires_proof, None);
    let proved = read_job(r#"{"data":{},"requires_proof":true,"containers":[]}"#);
    assert_eq!((proved.requires_proof, proved.containers.len()), (Some(true), 0));
}

#[test]
fn a_job_has_a_largest_number_of_containers() {
    let body = |count: usize| format!(r#"{{"containers":[{}],"data":{{}}}}"#, vec!["\"a\""; count].join(","));
    assert_eq!(read_job(&body(MAX_CONTAINERS)).containers.len(), MAX_CONTAINERS);
    let expected = "containers: expected at most 256 container ids";
    assert_eq!(refused(posted(body(MAX_CONTAINERS + 1).as_bytes())), expected);
}

#[rstest]
#[case("{}", "Expected a list")]
#[case("null", "Expected a list")]
#[case("\"[]\"", "Expected a list")]
#[case("{", "The body is not JSON: EOF while parsing an object at line 1 column 1")]
#[case("[{},", "The body is not JSON: EOF while parsing a value at line 1 column 4")]
#[case("[{}", "The body is not JSON: EOF while parsing a list at line 1 column 3")]
#[case("[{}] 1", "The body is not JSON: trailing characters at line 1 column 6")]
#[case("[nul]", "The body is not JSON: expected ident at line 1 column 5")]
#[case("", "The body is empty: expected JSON")]
fn a_batch_that_is_no_list_is_refused(#[case] body: &str, #[case] expected: &str) {
    assert_eq!(refused(batch(body.as_bytes())), expected);
}

#[test]
fn a_batch_has_a_largest_size() {
    let body = |count: usize| format!("[{}]", vec![GOOD; count].join(","));
    assert!(batch(b"[]").unwrap().is_empty());
    let read = batch(body(MAX_BATCH).as_bytes()).unwrap();
    assert_eq!(read.len(), MAX_BATCH);
    assert!(read.iter().all(Result::is_ok));
    let error = batch(body(MAX_BATCH + 1).as_bytes()).unwrap_err();
    assert_eq!(error.message(), "Expected a list");
    assert_eq!(error.params().unwrap()["reason"], "at most 10000 entries");
}

#[test]
fn entries_of_a_batch_that_are_no_objects_fail_alone() {
    let read = batch(br#"[null, 1, "x", [], {}]"#).unwrap();
    let said: Vec<_> = read.iter().map(|entry| entry.as_ref().unwrap_err().message()).collect();
    assert_eq!(said[..4], ["Expected a JSON object"; 4]);
    assert_eq!(said[4], "containers: missing, expected a list of container ids");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(body: Vec<u8>) {
        read_anything(&body);
    }

    #[test]
    fn no_text_makes_the_parsers_panic(body in r#"[\[\]{}",:\\ua0-9a-z ]*"#) {
        read_anything(body.as_bytes());
    }
}
