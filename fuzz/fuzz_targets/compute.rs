//! Bodies of `POST /v1/compute`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resultity_core::job::Endpoint;
use resultity_server::session::accepts_request;

fuzz_target!(|body: &[u8]| {
    accepts_request(Endpoint::Compute, body);
});
