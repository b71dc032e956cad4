//! Chat completions.

use resultity_core::error::ApiError;
use resultity_core::job::JobKind;
use resultity_core::model::ModelSpec;
use resultity_core::openai::chat::{ChatRequest, Message};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    ValidJob, beyond_context, check_kind, check_stream_options, draw_alike, fields, flag, invalid, messages, node_body,
    number, parameters, priority, written,
};
use crate::flow::schedule::Constraints;

/// What a node is sent.
#[derive(Serialize)]
struct NodeChat<'a> {
    messages: &'a [Message],
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// Checks a request against OpenAI's rules, then against what the model can do; `model` finds it by the name that was asked
/// for.
pub fn chat(
    mut request: ChatRequest,
    stream: bool,
    model: impl FnOnce(&str) -> Result<ModelSpec, ApiError>,
) -> Result<ValidJob, ApiError> {
    let messages = std::mem::take(&mut request.messages);
    messages::check(&messages)?;
    let mut fields = fields(&request)?;
    fields.remove("messages");
    parameters::check(parameters::CHAT, &fields)?;
    check_together(&fields)?;
    let include_usage = check_stream_options(&fields, stream)?;
    let limit_field = if request.max_completion_tokens.is_some() {
        "max_completion_tokens"
    } else {
        "max_tokens"
    };
    let limit = request.token_limit();
    if limit == Some(0) {
        return Err(invalid(limit_field, format!("{limit_field} must be at least 1")));
    }

    let model = model(&request.model)?;
    check_kind(&model, JobKind::ChatCompletion)?;
    messages::admit(&messages, &model)?;
    let priority = priority(&fields);
    drop_what_says_nothing(&mut fields);
    parameters::admit(parameters::CHAT, &mut fields, &model)?;
    let limit = match limit {
        Some(limit) if limit > model.context_length => return Err(beyond_context(limit_field, limit, &model)),
        Some(limit) => limit,
        None => model.default_max_tokens.clamp(1, model.context_length.max(1)),
    };
    let choices = number(&fields, "n").unwrap_or(1);
    let logprobs = flag(&fields, "logprobs").then(|| number(&fields, "top_logprobs").unwrap_or(0));
    // Tools and the like may be written into the prompt.
    let max_prompt_tokens = messages::token_bound(&messages)
        .map_or(model.context_length, |bound| bound.saturating_add(written(&fields)))
        .min(model.context_length);
    let max_completion_tokens = limit.saturating_mul(choices);

    fields.remove("max_completion_tokens");
    draw_alike(&mut fields, &model);
    fields.insert("max_tokens".into(), limit.into());
    fields.insert("model".into(), model.name.clone().into());
    fields.insert("stream".into(), stream.into());
    let body = node_body(&NodeChat {
        messages: &messages,
        fields,
    })?;
    Ok(ValidJob {
        kind: JobKind::ChatCompletion,
        ceiling: model.price.cost(max_prompt_tokens, max_completion_tokens),
        model,
        asked_model: request.model,
        stream,
        include_usage,
        choices,
        max_prompt_tokens,
        max_completion_tokens,
        logprobs,
        echo_bytes: 0,
        dimensions: None,
        body,
        priority,
        ttl: None,
        subcloud: None,
        constraints: Constraints::default(),
        weight: 1,
        node_share: None,
    })
}

/// Names of the functions in a list, each as it is or within an object.
fn is_named(list: Option<&Value>, within: Option<&str>, name: &Value) -> bool {
    let Some(Value::Array(entries)) = list else {
        return false;
    };
    entries.iter().any(|entry| {
        let function = within.map_or(entry, |field| &entry[field]);
        &function["name"] == name
    })
}

/// Parameters that only mean something with another.
fn check_together(fields: &Map<String, Value>) -> Result<(), ApiError> {
    if number(fields, "top_logprobs").is_some_and(|top| top > 0) && !flag(fields, "logprobs") {
        return Err(invalid(
            "top_logprobs",
            "top_logprobs is only allowed when logprobs is true",
        ));
    }
    let has = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_array)
            .is_some_and(|entries| !entries.is_empty())
    };
    if !has("tools") {
        if fields.contains_key("parallel_tool_calls") {
            let message = "parallel_tool_calls is only allowed when there are tools";
            return Err(invalid("parallel_tool_calls", message));
        }
        if fields.get("tool_choice").is_some_and(|choice| choice == "required") {
            return Err(invalid(
                "tool_choice",
                "tool_choice is only allowed when there are tools",
            ));
        }
    }
    if let Some(name) = fields
        .get("tool_choice")
        .and_then(|choice| choice.pointer("/function/name"))
        && !is_named(fields.get("tools"), Some("function"), name)
    {
        return Err(invalid(
            "tool_choice.function.name",
            "tool_choice names a function that is not among tools",
        ));
    }
    if let Some(name) = fields.get("function_call").and_then(|call| call.get("name"))
        && !is_named(fields.get("functions"), None, name)
    {
        return Err(invalid(
            "function_call.name",
            "function_call names a function that is not among functions",
        ));
    }
    Ok(())
}

/// Engines differ in what they make of a parameter without the one that it belongs to.
fn drop_what_says_nothing(fields: &mut Map<String, Value>) {
    if !flag(fields, "logprobs") {
        fields.remove("logprobs");
        fields.remove("top_logprobs");
    }
    for (list, choice) in [("tools", "tool_choice"), ("functions", "function_call")] {
        let is_empty = fields
            .get(list)
            .is_none_or(|entries| entries.as_array().is_some_and(Vec::is_empty));
        if is_empty {
            fields.remove(list);
            fields.remove(choice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::testing::{find, model, model_that_can};
    use resultity_core::capability::Capability;
    use resultity_core::credits::Credits;
    use resultity_core::error::ErrorCode;
    use resultity_core::job::Priority;
    use resultity_core::openai::chat::{ChatRequest, Message};
    use rstest::rstest;
    use serde_json::{Value, json};

    fn check_with(model: ModelSpec, mut body: Value) -> Result<ValidJob, ApiError> {
        if body.get("messages").is_none() {
            body["messages"] = json!([{"role": "user", "content": "hi"}]);
        }
        body["model"] = "alias".into();
        let stream = body["stream"] == true;
        chat(serde_json::from_value(body).unwrap(), stream, find(model))
    }

    fn check(body: Value) -> Result<ValidJob, ApiError> {
        check_with(model(), body)
    }

    fn node_body(valid: &ValidJob) -> Value {
        serde_json::from_str(valid.body.get()).unwrap()
    }

    fn assert_refused(result: Result<ValidJob, ApiError>, code: ErrorCode, param: &str) {
        let error = result.unwrap_err();
        assert_eq!((error.code, error.param.as_deref()), (code, Some(param)), "{error}");
        assert_eq!(error.code.http_status(), Some(400));
    }

    #[rstest]
    #[case(json!([]), "messages")]
    #[case(json!([{"role": "boss", "content": "hi"}]), "messages[0].role")]
    #[case(json!([{"role": "user"}]), "messages[0].content")]
    #[case(json!([{"role": "user", "content": []}]), "messages[0].content")]
    #[case(json!([{"role": "user", "content": [{}]}]), "messages[0].content[0].type")]
    #[case(json!([{"role": "user", "content": [{"type": 5}]}]), "messages[0].content[0].type")]
    #[case(json!([{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content[0].text")]
    #[case(json!([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": 5}]}]), "messages[0].content[1].text")]
    #[case(json!([{"role": "user", "content": [{"type": "image_url"}]}]), "messages[0].content[0].image_url")]
    #[case(json!([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]), "messages[0].content[0].image_url")]
    #[case(json!([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]), "messages[0].content[0].image_url.url")]
    #[case(json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/x.png"}}]}]), "messages[0].content[0].image_url.url")]
    #[case(json!([{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x", "format": "ogg"}}]}]), "messages[0].content[0].input_audio.format")]
    #[case(json!([{"role": "user", "content": "hi", "name": 5}]), "messages[0].name")]
    #[case(json!([{"role": "assistant"}]), "messages[0].content")]
    #[case(json!([{"role": "assistant", "content": null, "tool_calls": null}]), "messages[0].content")]
    #[case(json!([{"role": "assistant", "tool_calls": {}}]), "messages[0].tool_calls")]
    #[case(json!([{"role": "assistant", "tool_calls": [5]}]), "messages[0].tool_calls[0]")]
    #[case(json!([{"role": "assistant", "tool_calls": [{"type": "function"}]}]), "messages[0].tool_calls[0].id")]
    #[case(json!([{"role": "assistant", "tool_calls": [{"id": "1", "type": "function"}]}]), "messages[0].tool_calls[0].function")]
    #[case(json!([{"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": {}}}]}]), "messages[0].tool_calls[0].function.arguments")]
    #[case(json!([{"role": "user", "content": "hi"}, {"role": "tool", "content": "x"}]), "messages[1].tool_call_id")]
    #[case(json!([{"role": "function", "content": "x"}]), "messages[0].name")]
    fn wrong_messages_are_named(#[case] messages: Value, #[case] param: &str) {
        let error = check(json!({"messages": messages})).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(param), "{error}");
        assert_eq!(error.code.http_status(), Some(400));
    }

    #[rstest]
    #[case(json!({"temperature": 2.1}), "temperature")]
    #[case(json!({"top_p": -0.1}), "top_p")]
    #[case(json!({"n": 0}), "n")]
    #[case(json!({"n": 129}), "n")]
    #[case(json!({"max_tokens": 0}), "max_tokens")]
    #[case(json!({"max_completion_tokens": 0}), "max_completion_tokens")]
    #[case(json!({"stop": ["a", "b", "c", "d", "e"]}), "stop")]
    #[case(json!({"stop": ["a", ""]}), "stop[1]")]
    #[case(json!({"stream_options": {}}), "stream_options")]
    #[case(json!({"presence_penalty": "x"}), "presence_penalty")]
    #[case(json!({"frequency_penalty": 2.5}), "frequency_penalty")]
    #[case(json!({"logprobs": 1}), "logprobs")]
    #[case(json!({"logprobs": true, "top_logprobs": 21}), "top_logprobs")]
    #[case(json!({"logprobs": true, "top_logprobs": -1}), "top_logprobs")]
    #[case(json!({"top_logprobs": 2}), "top_logprobs")]
    #[case(json!({"logit_bias": []}), "logit_bias")]
    #[case(json!({"logit_bias": {"x": 1}}), "logit_bias.x")]
    #[case(json!({"logit_bias": {"5": 101}}), "logit_bias.5")]
    #[case(json!({"tools": {}}), "tools")]
    #[case(json!({"tools": [5]}), "tools[0]")]
    #[case(json!({"tools": [{}]}), "tools[0].type")]
    #[case(json!({"tools": [{"type": "web"}]}), "tools[0].type")]
    #[case(json!({"tools": [{"type": "function"}]}), "tools[0].function")]
    #[case(json!({"tools": [{"type": "function", "function": {}}]}), "tools[0].function.name")]
    #[case(json!({"tools": [{"type": "function", "function": {"name": "a b"}}]}), "tools[0].function.name")]
    #[case(json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}), "tools[0].function.parameters")]
    #[case(json!({"functions": [{"name": ""}]}), "functions[0].name")]
    #[case(json!({"tool_choice": "maybe"}), "tool_choice")]
    #[case(json!({"tool_choice": "required"}), "tool_choice")]
    #[case(json!({"tool_choice": {"type": "function"}}), "tool_choice.function")]
    #[case(json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}), "tool_choice.function.name")]
    #[case(json!({"function_call": {"name": "f"}}), "function_call.name")]
    #[case(json!({"parallel_tool_calls": true}), "parallel_tool_calls")]
    #[case(json!({"parallel_tool_calls": "yes"}), "parallel_tool_calls")]
    #[case(json!({"response_format": "json"}), "response_format")]
    #[case(json!({"response_format": {}}), "response_format.type")]
    #[case(json!({"response_format": {"type": "yaml"}}), "response_format.type")]
    #[case(json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema")]
    #[case(json!({"response_format": {"type": "json_schema", "json_schema": {}}}), "response_format.json_schema.name")]
    #[case(json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": 5}}}), "response_format.json_schema.schema")]
    #[case(json!({"reasoning_effort": "heroic"}), "reasoning_effort")]
    #[case(json!({"verbosity": 5}), "verbosity")]
    #[case(json!({"modalities": "text"}), "modalities")]
    #[case(json!({"modalities": ["smell"]}), "modalities[0]")]
    #[case(json!({"prediction": {"type": "content"}}), "prediction.content")]
    #[case(json!({"service_tier": "gold"}), "service_tier")]
    #[case(json!({"store": "yes"}), "store")]
    #[case(json!({"user": 5}), "user")]
    #[case(json!({"metadata": []}), "metadata")]
    #[case(json!({"metadata": {"a": 5}}), "metadata.a")]
    #[case(json!({"metadata": {"a": "x".repeat(513)}}), "metadata.a")]
    #[case(json!({"metadata": (0..17).map(|n| (n.to_string(), n.to_string())).collect::<std::collections::HashMap<_, _>>()}), "metadata")]
    fn wrong_values_are_named(#[case] body: Value, #[case] param: &str) {
        let error = check(body).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(param), "{error}");
        assert_eq!(error.code.http_status(), Some(400));
    }

    #[rstest]
    #[case(json!({"n": 2}), "n", Capability::N)]
    #[case(json!({"logprobs": true}), "logprobs", Capability::Logprobs)]
    #[case(json!({"stop": "x"}), "stop", Capability::Stop)]
    #[case(json!({"seed": 0}), "seed", Capability::Seed)]
    #[case(json!({"presence_penalty": 1}), "presence_penalty", Capability::Penalties)]
    #[case(json!({"frequency_penalty": 1}), "frequency_penalty", Capability::Penalties)]
    #[case(json!({"logit_bias": {"5": 1}}), "logit_bias", Capability::LogitBias)]
    #[case(json!({"response_format": {"type": "json_object"}}), "response_format", Capability::JsonObject)]
    #[case(json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}), "response_format", Capability::JsonSchema)]
    #[case(json!({"tools": [{"type": "function", "function": {"name": "f"}}]}), "tools", Capability::Tools)]
    #[case(json!({"functions": [{"name": "f"}]}), "functions", Capability::Tools)]
    #[case(json!({"reasoning_effort": "low"}), "reasoning_effort", Capability::ReasoningEffort)]
    #[case(json!({"verbosity": "low"}), "verbosity", Capability::Verbosity)]
    #[case(json!({"prediction": {"type": "content", "content": "x"}}), "prediction", Capability::Prediction)]
    #[case(json!({"top_k": 5}), "top_k", Capability::Extra)]
    #[case(json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]}), "messages[0].content[0].type", Capability::Images)]
    #[case(json!({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "mp3"}}]}]}), "messages[0].content[0].type", Capability::Audio)]
    #[case(json!({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": ""}}]}]}), "messages[0].content[0].type", Capability::Files)]
    #[case(json!({"messages": [{"role": "user", "content": [{"type": "video_url"}]}]}), "messages[0].content[0].type", Capability::Extra)]
    #[case(json!({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}), "messages[0].role", Capability::Tools)]
    #[case(json!({"messages": [{"role": "user", "content": "x", "mood": 1}]}), "messages[0].mood", Capability::Extra)]
    fn what_a_model_cannot_do_is_refused_and_what_it_can_passes(
        #[case] body: Value,
        #[case] param: &str,
        #[case] capability: Capability,
    ) {
        let plain = model_that_can(&[Capability::Chat]);
        assert_refused(check_with(plain, body.clone()), ErrorCode::UnsupportedParameter, param);
        let able = model_that_can(&[Capability::Chat, capability]);
        let sent = node_body(&check_with(able, body.clone()).unwrap());
        for (name, value) in body.as_object().unwrap() {
            assert_eq!(&sent[name], value);
        }
    }

    #[rstest]
    #[case(json!({"audio": {"voice": "alloy"}}), "audio")]
    #[case(json!({"modalities": ["text", "audio"]}), "modalities")]
    #[case(json!({"moderation": {}}), "moderation")]
    #[case(json!({"web_search_options": {}}), "web_search_options")]
    #[case(json!({"store": true}), "store")]
    #[case(json!({"service_tier": "priority"}), "service_tier")]
    #[case(json!({"tools": [{"type": "custom", "custom": {"name": "x"}}]}), "tools[0].type")]
    #[case(json!({"stream": true, "stream_options": {"include_obfuscation": true}}), "stream_options.include_obfuscation")]
    #[case(json!({"stream": true, "stream_options": {"x": 1}}), "stream_options.x")]
    #[case(json!({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]}), "messages[0].content[0].file.file_id")]
    fn what_nothing_here_can_do_is_refused(#[case] body: Value, #[case] param: &str) {
        assert_refused(check(body), ErrorCode::UnsupportedParameter, param);
    }

    #[test]
    fn values_that_say_nothing_pass_any_model_and_stay_here() {
        let valid = check_with(
            model_that_can(&[Capability::Chat]),
            json!({
                "n": 1, "logprobs": false, "top_logprobs": 0, "stop": [], "presence_penalty": 0, "frequency_penalty": 0.0,
                "logit_bias": {}, "response_format": {"type": "text"}, "tools": [], "tool_choice": "auto", "functions": [],
                "function_call": "none", "verbosity": "medium", "modalities": ["text"], "store": false, "seed": null,
                "unknown": null, "service_tier": "auto", "stream": true, "stream_options": {"include_obfuscation": false},
            }),
        );
        let valid = valid.unwrap();
        let sent = node_body(&valid);
        let fields: Vec<&str> = sent.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            fields,
            ["max_tokens", "messages", "model", "stream", "temperature", "top_p"]
        );
        assert!(!valid.include_usage && valid.logprobs.is_none());
    }

    #[test]
    fn nothing_that_names_the_asker_reaches_a_node() {
        let valid = check(json!({
            "user": "me", "metadata": {"a": "b"}, "safety_identifier": "x", "prompt_cache_key": "y",
            "prompt_cache_retention": "24h", "prompt_cache_options": {}, "service_tier": "flex", "seed": 3, "unknown": true,
        }))
        .unwrap();
        let body = node_body(&valid);
        let fields: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
        let drawn = ["temperature", "top_p", "presence_penalty", "frequency_penalty"];
        let said: Vec<&str> = fields.into_iter().filter(|name| !drawn.contains(name)).collect();
        assert_eq!(said, ["max_tokens", "messages", "model", "seed", "stream", "unknown"]);
        assert_eq!(body["model"], model().name);
        assert_eq!((valid.asked_model.as_str(), valid.priority), ("alias", Priority::Bulk));
    }

    #[test]
    fn fields_come_before_the_model_and_the_model_before_limits() {
        let nowhere = |_: &str| Err(ApiError::new(ErrorCode::ModelNotFound, "none"));
        let request = |body: Value| serde_json::from_value::<ChatRequest>(body).unwrap();
        let wrong = chat(request(json!({"model": "x", "messages": []})), false, nowhere);
        assert_eq!(wrong.unwrap_err().param.as_deref(), Some("messages"));
        let hi = json!([{"role": "user", "content": "hi"}]);
        let unknown = chat(
            request(json!({"model": "x", "messages": hi, "max_tokens": 1_000_000})),
            false,
            nowhere,
        );
        assert_eq!(unknown.unwrap_err().code, ErrorCode::ModelNotFound);
        assert_refused(
            check(json!({"max_completion_tokens": 1_000_000})),
            ErrorCode::ContextLengthExceeded,
            "max_completion_tokens",
        );
        let deaf = model_that_can(&[Capability::Embeddings]);
        assert_refused(check_with(deaf, json!({})), ErrorCode::InvalidValue, "model");
    }

    #[test]
    fn the_ceiling_covers_every_byte_of_the_prompt_and_every_choice() {
        let request = ChatRequest::new("m", [Message::user("x".repeat(100))])
            .max_tokens(10)
            .with("n", 2);
        let request = serde_json::from_value(serde_json::to_value(&request).unwrap()).unwrap();
        let valid = chat(request, true, find(model())).unwrap();
        assert!(valid.max_prompt_tokens >= 100);
        assert_eq!((valid.choices, valid.max_completion_tokens), (2, 20));
        assert_eq!(valid.ceiling, model().price.cost(valid.max_prompt_tokens, 20));
        assert!(valid.ceiling > Credits::ZERO);
    }
}
