use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::ResponseId;
use resultity_core::openai::chat::{Choice, ChunkChoice, Usage};
use resultity_core::openai::response::{EventBody, OutputItem, Response, ResponseEvent, ResponseRequest};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::messages::Origins;
use super::narrate::{Ending, Narrator};
use super::translate::{Translated, in_our_words, translate};
use crate::flow::testing::model;
use crate::flow::validate;

fn request(body: Value) -> ResponseRequest {
    serde_json::from_value(body).unwrap()
}

/// What a node would be sent, or why nothing is.
fn asked(body: Value) -> Result<Value, ApiError> {
    let Translated { chat, origins } = translate(&request(body), 0)?;
    let mut able = model();
    able.capabilities = resultity_core::capability::Capability::of_text_engine();
    let valid = validate::chat(chat, false, |_| Ok(able)).map_err(|error| in_our_words(error, &origins))?;
    Ok(serde_json::from_str(valid.body.get()).unwrap())
}

#[rstest]
#[case::a_text(json!("hi"), json!([{"role": "user", "content": "hi"}]))]
#[case::a_message_without_a_type(
    json!([{"role": "user", "content": "hi"}]),
    json!([{"role": "user", "content": "hi"}])
)]
#[case::one_text_part(
    json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]),
    json!([{"role": "user", "content": "hi"}])
)]
#[case::several_parts(
    json!([{"role": "user", "content": [
        {"type": "input_text", "text": "what is this?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
        {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,AA=="},
    ]}]),
    json!([{"role": "user", "content": [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
        {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,AA=="}},
    ]}])
)]
#[case::a_turn_with_thoughts_and_calls(
    json!([
        {"role": "user", "content": "add"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": "calling", "annotations": [], "logprobs": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "add", "arguments": "{}", "status": "completed"},
        {"type": "function_call", "call_id": "c2", "name": "sub", "arguments": "[]"},
        {"type": "function_call_output", "call_id": "c1", "output": "4"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "5"}]},
    ]),
    json!([
        {"role": "user", "content": "add"},
        {"role": "assistant", "content": "calling", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}},
            {"id": "c2", "type": "function", "function": {"name": "sub", "arguments": "[]"}},
        ]},
        {"role": "tool", "tool_call_id": "c1", "content": "4"},
        {"role": "tool", "tool_call_id": "c2", "content": "5"},
    ])
)]
fn input_becomes_messages(#[case] input: Value, #[case] messages: Value) {
    let body = asked(json!({"model": "m", "input": input})).unwrap();
    assert_eq!(body["messages"], messages);
}

#[test]
fn options_become_those_of_a_chat_completion() {
    let body = asked(json!({
        "model": "m", "input": "hi", "instructions": "be brief", "max_output_tokens": 9, "temperature": 0.5, "top_p": 0.9,
        "tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true}],
        "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": false,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": true}, "verbosity": "low"},
        "reasoning": {"effort": "high", "summary": "auto"},
        "include": ["message.output_text.logprobs", "reasoning.encrypted_content"], "top_logprobs": 2,
        "metadata": {"a": "b"}, "user": "me", "safety_identifier": "x", "prompt_cache_key": "y", "service_tier": "auto",
        "truncation": "disabled", "max_tool_calls": 3, "seed": 7, "top_k": 5,
    }))
    .unwrap();
    let expected = json!({
        "model": model().name, "stream": false, "max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "seed": 7, "top_k": 5,
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": true}},
        "verbosity": "low", "reasoning_effort": "high", "logprobs": true, "top_logprobs": 2,
        "presence_penalty": 0.0, "frequency_penalty": 0.0,
    });
    assert_eq!(body, expected);
}

#[test]
fn what_says_nothing_without_tools_may_be_there() {
    let body = asked(json!({
        "model": "m", "input": "hi", "tools": [], "tool_choice": "auto", "parallel_tool_calls": true,
        "text": {"format": {"type": "text"}}, "include": [],
    }))
    .unwrap();
    assert!(
        body.get("tool_choice").is_none() && body.get("parallel_tool_calls").is_none(),
        "{body}"
    );
}

#[rstest]
#[case(json!({"background": true, "store": false}), "store")]
#[case(json!({"truncation": "auto"}), "truncation")]
#[case(json!({"truncation": "x"}), "truncation")]
#[case(json!({"include": ["reasoning.encrypted_content", "x"]}), "include[1]")]
#[case(json!({"stream_options": {"include_obfuscation": false}}), "stream_options")]
#[case(json!({"conversation": "conv_1"}), "conversation")]
#[case(json!({"prompt": {"id": "pmpt_1"}}), "prompt")]
#[case(json!({"max_tokens": 5}), "max_tokens")]
#[case(json!({"response_format": {"type": "json_object"}}), "response_format")]
#[case(json!({"seed": "x"}), "seed")]
#[case(json!({"max_output_tokens": 0}), "max_output_tokens")]
#[case(json!({"max_output_tokens": 1_000_000}), "max_output_tokens")]
#[case(json!({"temperature": 3}), "temperature")]
#[case(json!({"top_logprobs": 21}), "top_logprobs")]
#[case(json!({"tools": [{"type": "web_search"}]}), "tools[0].type")]
#[case(json!({"tools": [{"type": "function"}]}), "tools[0].name")]
#[case(json!({"tools": [{"type": "function", "name": "a b"}]}), "tools[0].name")]
#[case(json!({"tools": [{"type": "function", "name": "f", "defer_loading": true}]}), "tools[0].defer_loading")]
#[case(json!({"tool_choice": 5}), "tool_choice")]
#[case(json!({"tool_choice": {"type": "web_search"}}), "tool_choice.type")]
#[case(json!({"text": {"format": {"type": "grammar"}}}), "text.format.type")]
#[case(json!({"text": {"format": {"type": "json_schema"}}}), "text.format.name")]
#[case(json!({"text": {"verbosity": "loud"}}), "text.verbosity")]
#[case(json!({"text": {"colour": "red"}}), "text.colour")]
#[case(json!({"reasoning": {"effort": "utmost"}}), "reasoning.effort")]
#[case(json!({"reasoning": {"summary": "detailed"}}), "reasoning.summary")]
#[case(json!({"reasoning": {"mode": "pro"}}), "reasoning.mode")]
#[case(json!({"service_tier": "priority"}), "service_tier")]
#[case(json!({"input": []}), "input")]
#[case(json!({"input": [{}]}), "input[0].type")]
#[case(json!({"input": [{"type": "item_reference", "id": "x"}]}), "input[0].type")]
#[case(json!({"input": [{"type": "computer_call"}]}), "input[0].type")]
#[case(json!({"input": [{"role": "boss", "content": "x"}]}), "input[0].role")]
#[case(json!({"input": [{"role": "user"}]}), "input[0].content")]
#[case(json!({"input": [{"role": "user", "content": 5}]}), "input[0].content")]
#[case(json!({"input": [{"role": "user", "content": []}]}), "input[0].content")]
#[case(json!({"input": [{"role": "user", "content": ["x"]}]}), "input[0].content[0]")]
#[case(json!({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}), "input[0].content[0].text")]
#[case(json!({"input": [{"role": "user", "content": [{"type": "video"}]}]}), "input[0].content[0].type")]
#[case(
    json!({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}),
    "input[0].content[0].file_id"
)]
#[case(json!({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}), "input[0].call_id")]
#[case(json!({"input": [{"type": "function_call_output", "call_id": "c"}]}), "input[0].output")]
fn what_cannot_be_served_is_named(#[case] fields: Value, #[case] param: &str) {
    let mut body = json!({"model": "m", "input": "hi"});
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    let error = asked(body).expect_err(param);
    assert_eq!(error.param.as_deref(), Some(param), "{error}");
    assert_eq!(error.code.http_status(), Some(400), "{error}");
    assert!(!error.message.contains("messages["), "{error}");
}

#[test]
fn names_of_chat_completions_get_their_names_here_back() {
    let request = request(json!({
        "model": "m", "instructions": "x",
        "input": [{"role": "user", "content": "x"}, {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}],
    }));
    let origins = translate(&request, 0).unwrap().origins;
    let cases = [
        ("messages", "input"),
        ("messages[0].content", "instructions"),
        ("messages[1].content[2].text", "input[0].content[2].text"),
        ("messages[2].tool_calls[0].function.name", "input[1]"),
        ("max_completion_tokens", "max_output_tokens"),
        ("response_format.json_schema.name", "text.format.name"),
        ("tools[1].function.name", "tools[1].name"),
        ("tool_choice.function.name", "tool_choice.name"),
        ("metadata.a", "metadata.a"),
    ];
    for (theirs, ours) in cases {
        let error = ApiError::new(ErrorCode::InvalidValue, format!("{theirs} is bad")).with_param(theirs);
        let error = in_our_words(error, &origins);
        assert_eq!(error.param.as_deref(), Some(ours));
        assert_eq!(error.message, format!("{ours} is bad"));
    }
}

fn narrator(body: Value) -> Narrator {
    let id = ResponseId::from_uuid(Uuid::nil());
    Narrator::new(Response::begun(id, 1_700_000_000, &request(body)))
}

fn chunks(chunks: Value) -> Vec<ChunkChoice> {
    serde_json::from_value(chunks).unwrap()
}

fn answer(finish_reason: &str) -> Ending {
    Ending::Answer {
        finish_reason: finish_reason.into(),
        usage: Usage::new(3, 2),
        at: 1_700_000_001,
    }
}

/// All events, each in a line; of a response only what changes.
fn told(narrator: &mut Narrator) -> String {
    let lines = narrator.take_events().into_iter().map(|event| {
        let response = event.response().map(|response| {
            json!({"status": response.status, "output": response.output.len(), "incomplete": response.incomplete_details,
                "error": response.error, "usage": response.usage.map(|usage| usage.total_tokens)})
        });
        let (number, mut line) = (event.sequence_number, serde_json::to_value(&event).unwrap());
        let fields = line.as_object_mut().unwrap();
        fields.remove("sequence_number");
        let kind = fields.remove("type").unwrap();
        if let Some(response) = response {
            fields.insert("response".into(), response);
        }
        let text = line.to_string().replace("00000000000000000000000000000000", "0");
        format!("{number} {} {text}\n", kind.as_str().unwrap())
    });
    lines.collect()
}

#[test]
fn a_text_is_told_as_openai_tells_it() {
    let mut narrator = narrator(json!({"model": "m", "input": "hi"}));
    for chunk in chunks(json!([
        {"index": 0, "delta": {"content": "he"}, "logprobs": {"content": [{"token": "he", "logprob": -1.0, "bytes": [1], "top_logprobs": []}]}},
        {"index": 0, "delta": {"content": "llo"}},
    ])) {
        narrator.output(chunk);
    }
    narrator.end(answer("stop"));
    insta::assert_snapshot!("text", told(&mut narrator));
    insta::assert_json_snapshot!("text_response", narrator.into_response());
}

#[test]
fn thoughts_then_text_then_calls_are_items_of_their_own() {
    let mut narrator = narrator(json!({"model": "m", "input": "hi", "background": true}));
    for chunk in chunks(json!([
        {"index": 0, "delta": {"reasoning_content": "h", "reasoning": "h"}},
        {"index": 0, "delta": {"reasoning_content": "m"}},
        {"index": 0, "delta": {"content": "well"}},
        {"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]}},
        {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}},
        {"index": 0, "delta": {"tool_calls": [{"index": 1, "function": {"name": "g", "arguments": "[]"}}]}},
        {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}},
    ])) {
        narrator.output(chunk);
    }
    narrator.end(answer("tool_calls"));
    insta::assert_snapshot!("items", told(&mut narrator));
}

#[test]
fn an_answer_that_is_cut_off_is_incomplete() {
    let mut narrator = narrator(json!({"model": "m", "input": "hi"}));
    narrator.output(ChunkChoice::text(0, "he"));
    narrator.end(answer("length"));
    insta::assert_snapshot!("cut_off", told(&mut narrator));
}

#[test]
fn a_refusal_is_a_part_of_its_own() {
    let mut narrator = narrator(json!({"model": "m", "input": "hi"}));
    for chunk in chunks(json!([
        {"index": 0, "delta": {"content": "no"}},
        {"index": 0, "delta": {"refusal": "never"}},
    ])) {
        narrator.output(chunk);
    }
    narrator.end(answer("stop"));
    insta::assert_snapshot!("refusal", told(&mut narrator));
}

#[test]
fn a_failure_tells_why_and_keeps_nothing() {
    let mut narrator = narrator(json!({"model": "m", "input": "hi"}));
    narrator.output(ChunkChoice::text(0, "he"));
    narrator.end(Ending::Failed(ApiError::new(ErrorCode::NodeFailed, "the node failed")));
    insta::assert_snapshot!("failed", told(&mut narrator));
}

#[test]
fn an_empty_answer_is_an_empty_message() {
    let mut narrator = narrator(json!({"model": "m", "input": "hi"}));
    narrator.end(answer("stop"));
    let response = narrator.into_response();
    assert_eq!((response.output.len(), response.text().as_str()), (1, ""));
}

#[test]
fn a_whole_answer_makes_the_same_response_as_its_pieces() {
    let mut whole = narrator(json!({"model": "m", "input": "hi"}));
    let choice: Choice = serde_json::from_value(json!({
        "index": 0, "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": "hello", "reasoning_content": "hm", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "[]"}},
        ]},
    }))
    .unwrap();
    whole.whole(choice);
    whole.end(answer("tool_calls"));
    let mut pieces = narrator(json!({"model": "m", "input": "hi"}));
    for chunk in chunks(json!([
        {"index": 0, "delta": {"reasoning_content": "h"}},
        {"index": 0, "delta": {"reasoning_content": "m", "content": "he"}},
        {"index": 0, "delta": {"content": "llo", "tool_calls": [
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
            {"index": 1, "id": "b", "function": {"name": "g", "arguments": "["}},
        ]}},
        {"index": 0, "delta": {"tool_calls": [
            {"index": 0, "function": {"arguments": "}"}}, {"index": 1, "function": {"arguments": "]"}},
        ]}},
    ])) {
        pieces.output(chunk);
    }
    pieces.end(answer("tool_calls"));
    assert_eq!(whole.into_response(), pieces.into_response());
}

#[test]
fn a_cancelled_response_keeps_what_was_paid_for() {
    let mut narrator = narrator(json!({"model": "m", "input": "hi", "background": true}));
    narrator.output(ChunkChoice::text(0, "he"));
    let usage = Some(Usage::new(3, 1));
    narrator.end(Ending::Cancelled { usage });
    let last: ResponseEvent = narrator.take_events().pop().unwrap();
    assert!(matches!(&last.body, EventBody::Cancelled { response } if response.text() == "he"));
    assert!(matches!(&narrator.into_response().output[..], [OutputItem::Message(_)]));
}

#[test]
fn a_field_without_a_place_is_one_of_the_input() {
    assert_eq!(Origins::of_text().name("[x]"), "input");
}

#[test]
fn no_number_of_a_listener_is_too_large() {
    let response = Response::begun(
        ResponseId::from_uuid(Uuid::nil()),
        1,
        &request(json!({"model": "m", "input": "hi"})),
    );
    let mut narrator = Narrator::new(response);
    narrator.skip_to(u64::MAX);
    narrator.end(Ending::Failed(ApiError::new(ErrorCode::NodeFailed, "no")));
    let last = narrator.take_events().pop().map(|event| event.sequence_number);
    assert_eq!(last, Some(u64::MAX));
}
