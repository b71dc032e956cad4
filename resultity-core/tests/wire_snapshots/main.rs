//! The node link's frames, byte for byte: nodes in the field speak them, so a change here has to be on purpose.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod frames;

use frames::{JOB, ODD, hello, job_id, node_frames, result, server_frames};
use proptest::prelude::*;
use resultity_core::job::Attempt;
use resultity_core::wire::{
    Cancel, CancelReason, Chunk, FrameError, Hello, NodeFrame, Reject, RejectCode, ServerFrame, body_hash,
};
use rstest::rstest;
use serde_json::value::RawValue;

fn server_texts() -> Vec<String> {
    server_frames().iter().map(ServerFrame::encode).collect()
}

fn node_texts() -> Vec<String> {
    node_frames().iter().map(NodeFrame::encode).collect()
}

fn all_texts() -> Vec<String> {
    [server_texts(), node_texts()].concat()
}

/// What a text reads as, written again: by whichever side knows its type.
fn read_and_write(text: &str) -> Result<String, FrameError> {
    match ServerFrame::parse(text) {
        Err(FrameError::UnknownType(_)) => NodeFrame::parse(text).map(|frame| frame.encode()),
        frame => frame.map(|frame| frame.encode()),
    }
}

#[test]
fn server_frames_stay_as_they_are() {
    insta::assert_snapshot!(server_texts().join("\n"));
}

#[test]
fn node_frames_stay_as_they_are() {
    insta::assert_snapshot!(node_texts().join("\n"));
}

/// A node could put its host or a prompt there.
#[test]
fn what_is_no_field_is_read_as_none() {
    let texts = node_texts();
    let failed = texts.iter().find(|text| text.contains(r#""param":"top_k""#)).unwrap();
    for (param, expected) in [
        ("messages[0].tool_calls", true),
        ("Host", false),
        ("a b", false),
        ("", false),
        (&"a".repeat(65), false),
    ] {
        let text = failed.replace(r#""param":"top_k""#, &format!(r#""param":"{param}""#));
        let NodeFrame::Failed(failed) = NodeFrame::parse(&text).unwrap() else {
            unreachable!("the text says so")
        };
        assert_eq!(failed.param.as_deref(), expected.then_some(param));
    }
}

#[test]
fn every_type_of_the_protocol_is_here() {
    let mut kinds: Vec<_> = server_frames().iter().map(ServerFrame::kind).collect();
    kinds.dedup();
    let server = [
        "challenge",
        "welcome",
        "reject",
        "job",
        "ack",
        "cancel",
        "heartbeat_ack",
        "config",
        "control",
        "notice",
        "error",
    ];
    assert_eq!(kinds, server);
    let mut kinds: Vec<_> = node_frames().iter().map(NodeFrame::kind).collect();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "hello",
            "accept",
            "decline",
            "chunk",
            "result",
            "failed",
            "heartbeat",
            "log",
            "error"
        ]
    );
}

#[test]
fn every_frame_reads_back() {
    for (frame, text) in server_frames().into_iter().zip(server_texts()) {
        assert_eq!(
            format!("{:?}", ServerFrame::parse(&text).unwrap()),
            format!("{frame:?}")
        );
        assert_eq!(ServerFrame::parse(&text).unwrap().encode(), text);
    }
    for (frame, text) in node_frames().into_iter().zip(node_texts()) {
        assert_eq!(format!("{:?}", NodeFrame::parse(&text).unwrap()), format!("{frame:?}"));
        assert_eq!(NodeFrame::parse(&text).unwrap().encode(), text);
    }
}

#[test]
fn fields_of_a_later_version_are_ignored_wherever_they_stand() {
    for text in all_texts() {
        let inner = &text[1..text.len() - 1];
        for with_more in [
            format!(r#"{{"later":{{"x":[1e999]}},{inner}}}"#),
            format!("{{{inner},\"later\":null}}"),
            format!("\n{{ {inner} ,\t\"later\" : \"\\u0000\" }}\n"),
        ] {
            assert_eq!(read_and_write(&with_more).unwrap(), text, "{with_more}");
        }
    }
}

#[test]
fn the_type_may_stand_anywhere_and_be_escaped() {
    let text = format!(r#"{{"job_id":"{JOB}","attempt":1,"outcome":"recorded","type":"\u0061ck"}}"#);
    assert!(matches!(ServerFrame::parse(&text), Ok(ServerFrame::Ack(_))));
}

#[rstest]
#[case(r#"{"type":"telepathy"}"#, "telepathy")]
#[case(r#"{"type":""}"#, "")]
#[case(r#"{"type":"Job","body":1}"#, "Job")]
#[case(r#"{"type":"hello"}"#, "hello")]
fn unknown_types_are_told_apart_from_junk(#[case] text: &str, #[case] kind: &str) {
    match ServerFrame::parse(text) {
        Err(FrameError::UnknownType(unknown)) => assert_eq!(unknown, kind),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_long_unknown_type_is_cut() {
    let text = format!(r#"{{"type":"{}"}}"#, "é".repeat(10_000));
    assert!(matches!(NodeFrame::parse(&text), Err(FrameError::UnknownType(kind)) if kind.chars().count() == 64));
}

#[rstest]
#[case::nothing("")]
#[case::not_json("job")]
#[case::cut_off(r#"{"type":"ack""#)]
#[case::two_values(r#"{"type":"ack"} {}"#)]
#[case::array("[]")]
#[case::null("null")]
#[case::no_type(r#"{"kind":"ack"}"#)]
#[case::type_is_a_number(r#"{"type":5}"#)]
#[case::type_is_null(r#"{"type":null}"#)]
#[case::no_fields(r#"{"type":"ack"}"#)]
#[case::short_digest(r#"{"type":"config","digest":"0x04"}"#)]
#[case::bad_id(r#"{"type":"ack","job_id":"7","attempt":1,"outcome":"recorded"}"#)]
#[case::attempt_zero(
    r#"{"type":"ack","job_id":"01890a5d-ac96-774b-bcce-b302099a8057","attempt":0,"outcome":"recorded"}"#
)]
#[case::negative_attempt(
    r#"{"type":"ack","job_id":"01890a5d-ac96-774b-bcce-b302099a8057","attempt":-1,"outcome":"recorded"}"#
)]
#[case::huge_attempt(
    r#"{"type":"ack","job_id":"01890a5d-ac96-774b-bcce-b302099a8057","attempt":4294967296,"outcome":"recorded"}"#
)]
#[case::bad_outcome(r#"{"type":"ack","job_id":"01890a5d-ac96-774b-bcce-b302099a8057","attempt":1,"outcome":"maybe"}"#)]
#[case::field_twice(
    r#"{"type":"ack","job_id":"01890a5d-ac96-774b-bcce-b302099a8057","attempt":1,"attempt":2,"outcome":"recorded"}"#
)]
#[case::lone_surrogate(r#"{"type":"error","code":"\ud800","message":""}"#)]
fn junk_is_malformed(#[case] text: &str) {
    assert!(
        matches!(ServerFrame::parse(text), Err(FrameError::Malformed(_))),
        "{text}"
    );
}

#[test]
fn codes_of_a_later_version_are_understood_as_other() {
    let text = format!(r#"{{"type":"cancel","job_id":"{JOB}","attempt":1,"reason":"eclipse"}}"#);
    assert!(matches!(
        ServerFrame::parse(&text),
        Ok(ServerFrame::Cancel(Cancel {
            reason: CancelReason::Other,
            ..
        }))
    ));
    let text = r#"{"type":"reject","code":"eclipse","message":""}"#;
    assert!(matches!(
        ServerFrame::parse(text),
        Ok(ServerFrame::Reject(Reject {
            code: RejectCode::Other,
            ..
        }))
    ));
}

#[test]
fn bodies_and_outputs_arrive_byte_for_byte() {
    for text in server_texts().iter().filter(|text| text.contains("1e400")) {
        let ServerFrame::Job(job) = ServerFrame::parse(text).unwrap() else {
            panic!("{text}")
        };
        assert_eq!(job.body.get(), ODD);
        assert_eq!(job.request_hash(), resultity_core::canonical::sha256(ODD));
    }
    let text = NodeFrame::from(result(Some(ODD))).encode();
    let NodeFrame::Result(result) = NodeFrame::parse(&text).unwrap() else {
        panic!("{text}")
    };
    assert_eq!(result.output.unwrap().get(), ODD);
}

#[test]
fn the_body_hash_is_over_the_meaning_of_all_fields_but_the_signature() {
    let signed = NodeFrame::from(hello()).encode();
    let unsigned = NodeFrame::from(Hello {
        signature: None,
        ..hello()
    })
    .encode();
    let hash = body_hash(&unsigned).unwrap();
    assert_eq!(body_hash(&signed).unwrap(), hash);

    let sorted: serde_json::Value = serde_json::from_str(&signed).unwrap();
    let mut fields: Vec<_> = sorted
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| format!("\"{key}\": {value}"))
        .collect();
    fields.reverse();
    let shuffled = format!("{{ {} }}", fields.join(",\n"));
    assert_ne!(shuffled, signed);
    assert_eq!(
        body_hash(&shuffled).unwrap(),
        hash,
        "neither order nor white space counts"
    );

    for changed in [
        signed.replacen('{', r#"{"later":1,"#, 1),
        signed.replacen(r#""cpu_cores":8"#, r#""cpu_cores":8,"later":1"#, 1),
        signed.replacen(r#""region":"eu""#, r#""region":"us""#, 1),
        signed.replacen(r#""type":"hello""#, r#""type":"hullo""#, 1),
    ] {
        assert_ne!(changed, signed);
        assert_ne!(body_hash(&changed).unwrap(), hash, "{changed}");
    }
    assert!(
        body_hash(&signed.replacen('{', r#"{"later":0.5,"#, 1)).is_err(),
        "floats have no canonical form"
    );
}

#[test]
fn deep_nesting_neither_panics_nor_overflows() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let text = format!(r#"{{"type":"chunk","job_id":"{JOB}","attempt":1,"index":0,"delta":{deep}}}"#);
    if let Ok(frame) = NodeFrame::parse(&text) {
        assert_eq!(frame.encode(), text);
    }
    assert!(body_hash(&text).is_err());
}

proptest! {
    #[test]
    fn no_text_panics_the_reader(text in any::<String>()) {
        let _ = (ServerFrame::parse(&text), NodeFrame::parse(&text), body_hash(&text));
    }

    /// Real frames with a piece cut out, doubled or overwritten.
    #[test]
    fn no_damaged_frame_panics_the_reader(
        which in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
        length in 0usize..40,
        patch in ".{0,8}",
        double in any::<bool>(),
    ) {
        let texts = all_texts();
        let chars: Vec<char> = which.get(&texts).chars().collect();
        let from = from.index(chars.len());
        let until = (from + length).min(chars.len());
        let kept = if double { from } else { until };
        let damaged: String = chars[..until].iter().copied().chain(patch.chars()).chain(chars[kept..].iter().copied()).collect();
        // Whatever can be read can be written, and then reads the same.
        if let Ok(written) = read_and_write(&damaged) {
            prop_assert_eq!(read_and_write(&written).unwrap(), written);
        }
        let _ = body_hash(&damaged);
    }

    /// Any JSON that a client may send travels untouched.
    #[test]
    fn any_raw_body_survives(text in r#"[ \t\n]{0,2}(\{ ?"[a-zé]{0,5}" ?: ?(-?[1-9][0-9]{0,30}(\.[0-9]{1,20})?(e[0-9]{1,4})?|"(\\u00e9|\\/|x){0,4}"|\[\s?\]) ?\})[ \n]{0,2}"#) {
        let Ok(body) = RawValue::from_string(text.trim().to_owned()) else { return Ok(()) };
        let chunk = Chunk { job_id: job_id(), attempt: Attempt::FIRST, index: 3, delta: body.clone() };
        let sent = NodeFrame::from(chunk).encode();
        let NodeFrame::Chunk(read) = NodeFrame::parse(&sent).unwrap() else { panic!("{sent}") };
        prop_assert_eq!(read.delta.get(), body.get());
    }
}
