//! What a request only names is put into it: the conversation of the previous response, and items by their ids. So what is
//! kept of a response stands by itself, however long those before it are kept.

use std::collections::HashMap;

use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::ResponseId;
use resultity_core::job::JobState;
use resultity_core::openai::response::{InputItem, ResponseInput, ResponseRequest};

use super::translate::{invalid, shown};
use crate::session::CloudSession;
use uuid::Uuid;

/// The most responses that the items of one request may be of.
const MAX_REFERENCED: usize = 64;

/// The most bytes of items that stand in the place of references, and of the responses that are read for that: a short name
/// may stand for much, and be there many times.
const MAX_FILLED_IN: usize = 32 * 1024 * 1024;

impl CloudSession {
    /// Puts what is only named into the request; how many items come from the previous response.
    pub(super) async fn expand(&self, request: &mut ResponseRequest) -> Result<usize, ApiError> {
        if let ResponseInput::Items(items) = &mut request.input {
            self.fill_in_references(items).await?;
        }
        let Some(previous) = &request.previous_response_id else {
            return Ok(0);
        };
        let mut items = self.conversation_of(previous).await?;
        let inherited = items.len();
        let own = std::mem::replace(&mut request.input, ResponseInput::Items(Vec::new()));
        items.extend(own.into_items());
        request.input = ResponseInput::Items(items);
        Ok(inherited)
    }

    async fn conversation_of(&self, previous: &str) -> Result<Vec<InputItem>, ApiError> {
        let param = "previous_response_id";
        let kept = match previous.parse::<ResponseId>() {
            Ok(id) => self.kept_response(id).await?,
            Err(_) => None,
        };
        let kept = kept.ok_or_else(|| {
            let message = format!("there is no response {:?} to go on from", shown(previous));
            ApiError::new(ErrorCode::PreviousResponseNotFound, message).with_param(param)
        })?;
        match kept.record.view.state {
            JobState::Succeeded => kept.conversation(),
            state if state.is_final() => Err(invalid(
                param,
                "must name a response that has an answer; this one has none",
            )),
            _ => Err(invalid(param, "must name a response that has ended; wait for this one")),
        }
    }

    /// Puts items in the place of references to them.
    async fn fill_in_references(&self, items: &mut [InputItem]) -> Result<(), ApiError> {
        let mut known: HashMap<ResponseId, HashMap<String, InputItem>> = HashMap::new();
        let (mut read, mut filled_in) = (0, 0);
        for (index, item) in items.iter_mut().enumerate() {
            if item.kind() != Some("item_reference") {
                continue;
            }
            let path = format!("input[{index}].id");
            let Some(id) = item.id().map(str::to_owned) else {
                return Err(invalid(path, "must be the id of an item"));
            };
            let not_found = || {
                let message = format!("there is no item {:?} of a response that is kept", shown(&id));
                ApiError::new(ErrorCode::NotFound, message).with_param(path.clone())
            };
            let response = response_of_item(&id).ok_or_else(not_found)?;
            if !known.contains_key(&response) {
                if known.len() == MAX_REFERENCED {
                    let most = format!("must not name items of more than {MAX_REFERENCED} responses");
                    return Err(invalid("input", &most));
                }
                let kept = self.kept_response(response).await?.ok_or_else(not_found)?;
                read += kept.record.request.len() + kept.record.answer.as_ref().map_or(0, String::len);
                within_bounds(read)?;
                let mut by_id = HashMap::new();
                for item in kept.conversation()? {
                    if let Some(id) = item.id().map(str::to_owned) {
                        by_id.entry(id).or_insert(item);
                    }
                }
                known.insert(response, by_id);
            }
            let named = known.get(&response).and_then(|items| items.get(&id));
            let named = named.ok_or_else(not_found)?;
            filled_in += serde_json::to_string(named).map_or(0, |text| text.len());
            within_bounds(filled_in)?;
            *item = named.clone();
        }
        Ok(())
    }
}

fn within_bounds(bytes: usize) -> Result<(), ApiError> {
    if bytes <= MAX_FILLED_IN {
        return Ok(());
    }
    let message = format!("the items that input refers to are larger than {MAX_FILLED_IN} bytes");
    Err(ApiError::new(ErrorCode::PayloadTooLarge, message).with_param("input"))
}

/// The response that an item belongs to, by its id.
fn response_of_item(id: &str) -> Option<ResponseId> {
    let digits = id.split('_').nth(1).filter(|digits| digits.len() == 32)?;
    Uuid::try_parse(digits).ok().map(ResponseId::from_uuid)
}
