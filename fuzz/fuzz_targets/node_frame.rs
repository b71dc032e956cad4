//! Frames of the link, both ways, and the bodies that carry them over HTTP: what is read is written out as something that is
//! read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resultity_core::wire::{
    DeliverResults, KnockAnswer, NodeFrame, RegisterNode, ReportHeartbeat, ServerFrame, body_hash,
};
use serde::{Serialize, de::DeserializeOwned};

fuzz_target!(|text: &[u8]| {
    let Ok(text) = std::str::from_utf8(text) else { return };
    frame(text);
    body::<KnockAnswer>(text);
    if let Some(request) = body::<RegisterNode>(text) {
        request.hello.iter().for_each(|hello| frame(hello.get()));
    }
    if let Some(report) = body::<ReportHeartbeat>(text) {
        frame(report.heartbeat.get());
    }
    if let Some(results) = body::<DeliverResults>(text) {
        results.frames.iter().for_each(|result| frame(result.get()));
    }
});

fn frame(text: &str) {
    let _ = body_hash(text);
    if let Ok(frame) = NodeFrame::parse(text) {
        let again = NodeFrame::parse(&frame.encode()).expect("what was written can be read");
        assert_eq!(again.kind(), frame.kind());
    }
    if let Ok(frame) = ServerFrame::parse(text) {
        let again = ServerFrame::parse(&frame.encode()).expect("what was written can be read");
        assert_eq!(again.kind(), frame.kind());
    }
}

fn body<T: Serialize + DeserializeOwned>(text: &str) -> Option<T> {
    let body: T = serde_json::from_str(text).ok()?;
    let written = serde_json::to_string(&body).expect("what was read can be written");
    serde_json::from_str::<T>(&written).expect("what was written can be read");
    Some(body)
}
