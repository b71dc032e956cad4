//! The fields, headers and queries that `bad_input.rs` tries, and what is wrong with each.

use serde_json::{Value, json};

/// Of each endpoint: its fields, and the kinds that each can have: `s`tring, `b`ool, `n`umber, `a`rray, `o`bject. Null is as
/// good as nothing.
pub(crate) const KINDS: &[(&str, &[(&str, &str)])] = &[
    (
        "/v1/chat/completions",
        &[
            ("model", "s"),
            ("messages", "a"),
            ("messages[0]", "o"),
            ("messages[0].role", "s"),
            ("messages[0].content", "sa"),
            ("messages[0].name", "s"),
            ("max_tokens", "n"),
            ("max_completion_tokens", "n"),
            ("temperature", "n"),
            ("top_p", "n"),
            ("n", "n"),
            ("stop", "sa"),
            ("seed", "n"),
            ("stream", "b"),
            ("stream_options", "o"),
            ("presence_penalty", "n"),
            ("frequency_penalty", "n"),
            ("logit_bias", "o"),
            ("logprobs", "b"),
            ("top_logprobs", "n"),
            ("response_format", "o"),
            ("tools", "a"),
            ("tool_choice", "so"),
            ("functions", "a"),
            ("function_call", "so"),
            ("parallel_tool_calls", "b"),
            ("reasoning_effort", "s"),
            ("verbosity", "s"),
            ("modalities", "a"),
            ("prediction", "o"),
            ("service_tier", "s"),
            ("store", "b"),
            ("metadata", "o"),
            ("user", "s"),
        ],
    ),
    (
        "/v1/completions",
        &[
            ("model", "s"),
            ("prompt", "sa"),
            ("suffix", "s"),
            ("max_tokens", "n"),
            ("temperature", "n"),
            ("top_p", "n"),
            ("n", "n"),
            ("best_of", "n"),
            ("logprobs", "n"),
            ("echo", "b"),
            ("stop", "sa"),
            ("seed", "n"),
            ("stream", "b"),
            ("stream_options", "o"),
            ("presence_penalty", "n"),
            ("frequency_penalty", "n"),
            ("logit_bias", "o"),
            ("user", "s"),
        ],
    ),
    (
        "/v1/embeddings",
        &[
            ("model", "s"),
            ("input", "sa"),
            ("encoding_format", "s"),
            ("dimensions", "n"),
            ("user", "s"),
        ],
    ),
    (
        "/v1/responses",
        &[
            ("model", "s"),
            ("input", "sa"),
            ("instructions", "s"),
            ("max_output_tokens", "n"),
            ("temperature", "n"),
            ("top_p", "n"),
            ("stream", "b"),
            ("stream_options", "o"),
            ("background", "b"),
            ("store", "b"),
            ("previous_response_id", "s"),
            ("tools", "a"),
            ("tool_choice", "so"),
            ("parallel_tool_calls", "b"),
            ("text", "o"),
            ("reasoning", "o"),
            ("metadata", "o"),
            ("truncation", "s"),
            ("include", "a"),
            ("top_logprobs", "n"),
            ("service_tier", "s"),
            ("user", "s"),
        ],
    ),
    (
        "/v1/compute",
        &[
            ("model", "s"),
            ("data", "o"),
            ("requires_proof", "b"),
            ("stream", "b"),
            ("service_tier", "s"),
            ("metadata", "o"),
            ("user", "s"),
        ],
    ),
    (
        "/v1/batches",
        &[
            ("input_file_id", "s"),
            ("endpoint", "s"),
            ("completion_window", "s"),
            ("metadata", "o"),
            // Its two fields are taken from an array too.
            ("output_expires_after", "oa"),
        ],
    ),
    (
        "/v1/jobs",
        &[
            ("endpoint", "s"),
            ("body", "o"),
            ("body.model", "s"),
            ("body.messages", "a"),
            ("body.messages[0].role", "s"),
            ("body.temperature", "n"),
        ],
    ),
    (
        "/feedback",
        &[("rating", "s"), ("category", "s"), ("comment", "s"), ("review", "b")],
    ),
    (
        "/v1/webhooks",
        &[("url", "s"), ("events", "a"), ("description", "s"), ("enabled", "b")],
    ),
];

/// A field, what it is set to, the code, and the path that is named.
type Wrong = (&'static str, Value, &'static str, &'static str);

/// Of each endpoint: values that have the right kind and are wrong all the same.
pub(crate) fn values() -> Vec<(&'static str, Vec<Wrong>)> {
    const VALUE: &str = "invalid_value";
    const MISSING: &str = "missing_required_parameter";
    const CONTEXT: &str = "context_length_exceeded";
    const UNSUPPORTED: &str = "unsupported_parameter";
    let chat = vec![
        ("messages", json!([]), VALUE, "messages"),
        ("messages", json!([5]), VALUE, "messages[0]"),
        ("messages[0]", json!({"content": "x"}), MISSING, "messages[0].role"),
        ("messages[0]", json!({"role": "user"}), MISSING, "messages[0].content"),
        ("messages[0].role", json!("king"), VALUE, "messages[0].role"),
        ("messages[0].content", json!([]), VALUE, "messages[0].content"),
        ("messages[0].content", json!([5]), VALUE, "messages[0].content[0]"),
        ("messages[0].content", json!([{}]), VALUE, "messages[0].content[0].type"),
        ("temperature", json!(2.0001), VALUE, "temperature"),
        ("temperature", json!(-1e300), VALUE, "temperature"),
        ("top_p", json!(1.1), VALUE, "top_p"),
        ("n", json!(0), VALUE, "n"),
        ("n", json!(1.5), VALUE, "n"),
        ("n", json!(u64::MAX), VALUE, "n"),
        ("max_tokens", json!(0), VALUE, "max_tokens"),
        ("max_tokens", json!(-1), VALUE, "max_tokens"),
        ("max_tokens", json!(1e300), VALUE, "max_tokens"),
        ("max_tokens", json!(u64::MAX), CONTEXT, "max_tokens"),
        ("max_completion_tokens", json!(4097), CONTEXT, "max_completion_tokens"),
        ("stop", json!(["a", "b", "c", "d", "e"]), VALUE, "stop"),
        ("stop", json!([5]), VALUE, "stop[0]"),
        ("presence_penalty", json!(-3), VALUE, "presence_penalty"),
        ("frequency_penalty", json!(3), VALUE, "frequency_penalty"),
        (
            "stream_options",
            json!({"include_usage": true}),
            VALUE,
            "stream_options",
        ),
        ("logit_bias", json!({"5": 1000}), VALUE, "logit_bias.5"),
        (
            "tools",
            json!([{"type": "function", "function": {"name": "a b"}}]),
            VALUE,
            "tools[0].function.name",
        ),
        (
            "response_format",
            json!({"type": "poem"}),
            VALUE,
            "response_format.type",
        ),
        ("metadata", json!({"a": {"b": "c"}}), VALUE, "metadata.a"),
    ];
    let completions = vec![
        ("prompt", json!([]), VALUE, "prompt"),
        ("prompt", json!(["a", 1]), VALUE, "prompt"),
        ("prompt", json!([[1], []]), VALUE, "prompt[1]"),
        ("prompt", json!([-1]), VALUE, "prompt[0]"),
        ("prompt", json!(vec![1; 5000]), CONTEXT, "prompt"),
        ("max_tokens", json!(0), VALUE, "max_tokens"),
        ("n", json!(129), VALUE, "n"),
        ("best_of", json!(21), VALUE, "best_of"),
        ("logprobs", json!(6), VALUE, "logprobs"),
        ("temperature", json!(-1), VALUE, "temperature"),
        ("stream_options", json!({}), VALUE, "stream_options"),
    ];
    let embeddings = vec![
        ("input", json!(""), VALUE, "input"),
        ("input", json!([]), VALUE, "input"),
        ("input", json!(["a", ""]), VALUE, "input[1]"),
        ("input", json!(["a", 1]), VALUE, "input"),
        ("input", json!(vec!["x"; 2049]), VALUE, "input"),
        ("input", json!([100_300]), VALUE, "input"),
        ("encoding_format", json!("hex"), VALUE, "encoding_format"),
        ("dimensions", json!(0), VALUE, "dimensions"),
        ("dimensions", json!(3), UNSUPPORTED, "dimensions"),
    ];
    let responses = vec![
        ("input", json!([]), VALUE, "input"),
        ("input", json!([5]), VALUE, "input[0]"),
        ("max_output_tokens", json!(0), VALUE, "max_output_tokens"),
        ("max_output_tokens", json!(u64::MAX), CONTEXT, "max_output_tokens"),
        ("temperature", json!(3), VALUE, "temperature"),
        ("top_p", json!(2), VALUE, "top_p"),
        ("truncation", json!("sometimes"), VALUE, "truncation"),
        ("conversation", json!("conv_1"), UNSUPPORTED, "conversation"),
        ("tools", json!([{"type": "web_search"}]), UNSUPPORTED, "tools[0].type"),
        (
            "previous_response_id",
            json!("resp_x"),
            "previous_response_not_found",
            "previous_response_id",
        ),
    ];
    let compute = vec![
        ("data", json!(null), VALUE, "data"),
        ("data", json!("{}"), VALUE, "data"),
        ("requires_proof", json!(true), UNSUPPORTED, "requires_proof"),
        ("stream", json!(true), UNSUPPORTED, "stream"),
        ("max_tokens", json!(1), UNSUPPORTED, "max_tokens"),
        ("containers", json!(["c"]), UNSUPPORTED, "containers"),
        ("model", json!("m"), VALUE, "model"),
        ("service_tier", json!("first"), VALUE, "service_tier"),
    ];
    let batches = vec![
        ("endpoint", json!("/v1/images/generations"), VALUE, "endpoint"),
        ("completion_window", json!("1h"), VALUE, "completion_window"),
        ("input_file_id", json!("file-x"), VALUE, "input_file_id"),
        ("metadata", json!({"a": 5}), VALUE, "metadata.a"),
        ("priority", json!("high"), UNSUPPORTED, "priority"),
    ];
    let jobs = vec![
        ("endpoint", json!("/v1/nothing"), VALUE, "endpoint"),
        ("body", json!({}), MISSING, "body.model"),
        ("body.temperature", json!(5), VALUE, "body.temperature"),
        ("body.messages", json!([]), VALUE, "body.messages"),
        ("body", json!([1]), VALUE, "body"),
        ("more", json!(1), VALUE, "more"),
    ];
    let feedback = vec![
        ("rating", json!("sideways"), VALUE, "rating"),
        ("more", json!(1), VALUE, "more"),
    ];
    let webhooks = vec![
        ("url", json!(""), VALUE, "url"),
        ("url", json!("nonsense"), VALUE, "url"),
        ("url", json!("ftp://example.com"), VALUE, "url"),
        ("url", json!("http://example.com"), VALUE, "url"),
        ("url", json!("https://127.0.0.1/hook"), VALUE, "url"),
        ("url", json!("https://user:password@example.com"), VALUE, "url"),
        ("events", json!(["response.sung"]), VALUE, "events[0]"),
        ("more", json!(1), VALUE, "more"),
    ];
    vec![
        ("/v1/chat/completions", chat),
        ("/v1/completions", completions),
        ("/v1/embeddings", embeddings),
        ("/v1/responses", responses),
        ("/v1/compute", compute),
        ("/v1/batches", batches),
        ("/v1/jobs", jobs),
        ("/feedback", feedback),
        ("/v1/webhooks", webhooks),
    ]
}

/// Headers that say something wrong.
pub(crate) const HEADERS: &[(&str, &str)] = &[
    ("x-resultity-ttl", "0"),
    ("x-resultity-ttl", "soon"),
    ("x-resultity-ttl", "86401"),
    ("x-resultity-ttl", "99999999999999999999"),
    ("x-resultity-priority", "first"),
    ("x-resultity-dry-run", "maybe"),
    ("x-resultity-region", "north america"),
    ("x-resultity-region", ""),
    ("x-resultity-region-required", "true"),
    ("x-resultity-gpu", ""),
    ("x-resultity-gpu-memory", "0"),
    ("x-resultity-gpu-memory", "much"),
    ("Idempotency-Key", ""),
];

/// Queries that say something wrong, and the name of it.
pub(crate) const QUERIES: &[(&str, &str)] = &[
    ("/v1/jobs?limit=0", "limit"),
    ("/v1/jobs?limit=101", "limit"),
    ("/v1/jobs?limit=-1", "limit"),
    ("/v1/jobs?limit=many", "limit"),
    ("/v1/jobs?limit=99999999999999999999", "limit"),
    ("/v1/jobs?after=x", "after"),
    ("/v1/jobs?status=sung", "status"),
    ("/v1/jobs?order=up", "order"),
    ("/v1/files?limit=0", "limit"),
    ("/v1/files?purpose=fun", "purpose"),
    ("/v1/files?after=x", "after"),
    ("/v1/batches?limit=0", "limit"),
    ("/v1/batches?after=x", "after"),
    ("/v1/webhooks?limit=0", "limit"),
    ("/v1/usage?start=yesterday", "start"),
    ("/v1/usage?end=2026-13-01", "end"),
    ("/v1/usage?group_by=mood", "group_by"),
    ("/v1/usage?scope=world", "scope"),
];
