//! Frames of the link, both ways: what is read is written out as something that is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resultity_core::wire::{NodeFrame, ServerFrame, body_hash};

fuzz_target!(|frame: &[u8]| {
    let Ok(frame) = std::str::from_utf8(frame) else { return };
    let _ = body_hash(frame);
    if let Ok(frame) = NodeFrame::parse(frame) {
        let again = NodeFrame::parse(&frame.encode()).expect("what was written can be read");
        assert_eq!(again.kind(), frame.kind());
    }
    if let Ok(frame) = ServerFrame::parse(frame) {
        let again = ServerFrame::parse(&frame.encode()).expect("what was written can be read");
        assert_eq!(again.kind(), frame.kind());
    }
});
