//! Bodies and queries of the Infernet node's REST API.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resultity_node::infernet::http::read_anything;

fuzz_target!(|body: &[u8]| {
    read_anything(body);
});
