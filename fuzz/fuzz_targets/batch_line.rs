//! Lines of the files that batches read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resultity_server::session::accepts_batch_line;

fuzz_target!(|line: &[u8]| {
    accepts_batch_line(line);
});
