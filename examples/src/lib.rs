//! Short programs to copy from. Each is one file in `examples/`.
//!
//! | program | what it shows | run it with |
//! | --- | --- | --- |
//! | `chat` | asking, and what the answer cost | `cargo run -p resultity-examples --example chat` |
//! | `chat_stream` | an answer that is printed while it is made | `cargo run -p resultity-examples --example chat_stream` |
//!
//! The programs that ask take the server and the key from `RESULTITY_BASE_URL` and `RESULTITY_API_KEY`;
//! `resultity-server dev` prints both.
