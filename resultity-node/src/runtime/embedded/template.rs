//! The chat template that comes with the model: how a conversation becomes one text.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value as Jinja};
use minijinja::{Environment, Error, ErrorKind, State, context};
use resultity_core::openai::chat::{Content, Message};
use serde::Serialize;
use serde_json::{Map, Value};

use super::metadata::Metadata;
use super::tokenizer::Tokenizer;
use super::{RuntimeError, Trouble};

const NAME: &str = "chat";

/// The template of one model.
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    begin: String,
    end: String,
}

/// A turn as templates see it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Turn {
    role: &'static str,
    content: String,
    /// Of the participant; few templates have a place for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl ChatTemplate {
    pub(super) fn new(metadata: &Metadata<'_>, tokenizer: &Tokenizer) -> Result<Self, Trouble> {
        let source = metadata
            .optional_text("tokenizer.chat_template")
            .ok_or_else(|| Trouble::Unsupported("it has no chat template".to_owned()))?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self::from_source(source, text(&tokenizer.begin_text), text(&tokenizer.end_text))
    }

    fn from_source(source: &str, begin: String, end: String) -> Result<Self, Trouble> {
        let mut environment = Environment::new();
        // Templates are written for Hugging Face's settings of Jinja.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| Trouble::Invalid(error.to_string()))?);
        environment.set_unknown_method_callback(text_method);
        environment.add_function("raise_exception", |reason: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, reason))
        });
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| Trouble::Unsupported(format!("its chat template can't be read: {error}")))?;
        Ok(Self {
            environment,
            begin,
            end,
        })
    }

    /// The text that the model goes on from.
    pub(super) fn render(&self, turns: &[Turn]) -> Result<String, RuntimeError> {
        let template = self.environment.get_template(NAME).map_err(|error| refused(&error))?;
        let values = context! {
            messages => Serde(turns),
            add_generation_prompt => true,
            bos_token => self.begin.as_str(),
            eos_token => self.end.as_str(),
        };
        template.render(values).map_err(|error| refused(&error))
    }
}

fn refused(error: &Error) -> RuntimeError {
    let reason = error
        .detail()
        .unwrap_or("the messages do not suit the model's chat template");
    RuntimeError::invalid_field("messages", reason)
}

/// The methods of Python's texts that templates use.
fn text_method(_: &mut State<'_, '_>, value: &Jinja, method: &str, arguments: &[Jinja]) -> Result<Jinja, Error> {
    let unknown = || Error::new(ErrorKind::UnknownMethod, format!("there is no method {method}"));
    let text = value.as_str().ok_or_else(unknown)?;
    let argument = arguments.first().and_then(Jinja::as_str);
    Ok(match (method, argument) {
        ("strip", None) => text.trim().into(),
        ("lstrip", None) => text.trim_start().into(),
        ("rstrip", None) => text.trim_end().into(),
        ("upper", None) => text.to_uppercase().into(),
        ("lower", None) => text.to_lowercase().into(),
        ("startswith", Some(start)) => text.starts_with(start).into(),
        ("endswith", Some(end)) => text.ends_with(end).into(),
        ("split", Some(separator)) if !separator.is_empty() => {
            text.split(separator).map(Jinja::from).collect::<Vec<_>>().into()
        }
        _ => return Err(unknown()),
    })
}

/// The turns of a conversation, if the engine can do all of them: texts of system, user and assistant.
pub(super) fn turns(messages: &[Message]) -> Result<Vec<Turn>, RuntimeError> {
    if messages.is_empty() {
        return Err(RuntimeError::invalid_field("messages", "expected at least one"));
    }
    messages
        .iter()
        .enumerate()
        .map(|(index, message)| turn(index, message))
        .collect()
}

fn turn(index: usize, message: &Message) -> Result<Turn, RuntimeError> {
    let refuse = |field: &str, what: &str| Err(RuntimeError::invalid_field(format!("messages[{index}].{field}"), what));
    let role = match message.role.as_str() {
        "system" | "developer" => "system",
        "user" => "user",
        "assistant" => "assistant",
        "tool" | "function" => return refuse("role", "this model can't use tools"),
        _ => return refuse("role", "expected system, developer, user or assistant"),
    };
    let mut name = None;
    for (field, value) in &message.extra {
        match (field.as_str(), value) {
            (_, Value::Null) => {}
            ("name", Value::String(text)) => name = Some(text.clone()),
            ("tool_calls" | "annotations", Value::Array(list)) if list.is_empty() => {}
            ("tool_calls" | "function_call", _) => return refuse(field, "this model can't use tools"),
            _ => return refuse(field, "the embedded engine does not support it"),
        }
    }
    let content = message.content.as_ref();
    if let Some(Content::Parts(parts)) = content {
        let is_text = |part: &Map<String, Value>| part.get("type").is_some_and(|kind| kind == "text");
        if let Some(place) = parts.iter().position(|part| !is_text(part)) {
            return refuse(&format!("content[{place}].type"), "this model takes only text");
        }
    }
    Ok(Turn {
        role,
        content: content.map(|content| content.text().into_owned()).unwrap_or_default(),
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[test]
    fn whitespace_around_blocks_is_trimmed_and_python_methods_work() {
        let source = "{% for message in messages %}\n  {% if message.role.startswith('u') %}\n{{ bos_token }}{{ message['content'].strip() }}\n  {% endif %}\n{% endfor %}\n{% if add_generation_prompt %}>{% endif %}";
        let template = ChatTemplate::from_source(source, "<s>".to_owned(), String::new())
            .ok()
            .unwrap();
        let turns = turns(&[Message::system("x"), Message::user(" <b>&hi ")]).unwrap();
        assert_eq!(template.render(&turns).unwrap(), "<s><b>&hi\n>");
    }

    #[test]
    fn a_template_may_refuse() {
        let source = "{{ raise_exception('roles must alternate') }}";
        let template = ChatTemplate::from_source(source, String::new(), String::new())
            .ok()
            .unwrap();
        let error = template.render(&turns(&[Message::user("x")]).unwrap()).unwrap_err();
        assert!(
            matches!(&error, RuntimeError::InvalidRequest { message, .. } if message.contains("roles must alternate")),
            "{error}"
        );
    }

    #[rstest]
    #[case(json!([]), "messages: expected")]
    #[case(json!([{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]), "messages[1].role")]
    #[case(json!([{"role": "narrator", "content": "a"}]), "messages[0].role")]
    #[case(json!([{"role": "assistant", "content": null, "tool_calls": [{}]}]), "messages[0].tool_calls")]
    #[case(json!([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]), "messages[0].content")]
    fn what_can_not_be_done_is_refused_by_name(#[case] messages: serde_json::Value, #[case] says: &str) {
        let messages: Vec<Message> = serde_json::from_value(messages).unwrap();
        let error = turns(&messages).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn parts_of_text_are_put_together() {
        let message =
            json!([{"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]);
        let messages: Vec<Message> = serde_json::from_value(message).unwrap();
        assert_eq!(
            turns(&messages).unwrap(),
            [Turn {
                role: "system",
                content: "ab".to_owned(),
                name: None,
            }]
        );
    }
}
