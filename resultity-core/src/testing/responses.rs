//! The contract of [`ResponsesApi`]: against a model that answers in text, of any quality.
#![allow(
    clippy::panic,
    reason = "these are assertions: they panic where the contract is broken"
)]

use futures::StreamExt;

use crate::api::page::PageQuery;
use crate::api::responses::{ResponseStream, ResponsesApi};
use crate::error::{ApiError, ErrorCode};
use crate::id::ResponseId;
use crate::openai::response::{InputItem, Response, ResponseEvent, ResponseRequest, ResponseStatus};

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails.
pub async fn all(api: &dyn ResponsesApi, model: &str) {
    macro_rules! run {
        ($($scenario:ident)*) => {$(
            eprintln!("contract: responses: {}", stringify!($scenario));
            $scenario(api, model).await;
        )*};
    }
    run! {
        a_response_is_kept_until_it_is_deleted
        one_that_is_not_kept_cannot_be_retrieved
        the_events_tell_the_response
        events_are_the_same_once_more
        one_in_the_background_comes_to_its_end
        a_response_goes_on_from_another
        what_is_not_there_is_not_found
    }
}

/// A request that costs little and is answered the same way every time.
fn request(model: &str) -> ResponseRequest {
    ResponseRequest::new(model, "Count from one to one hundred, in words.")
        .temperature(0.0)
        .max_output_tokens(8)
}

async fn create(api: &dyn ResponsesApi, request: ResponseRequest) -> Response {
    api.create_response(request)
        .await
        .expect("a plain question is answered")
        .body
}

/// All events of a stream. Panics if it ends in an error.
async fn events(mut stream: ResponseStream) -> Vec<ResponseEvent> {
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event.expect("a stream that nobody disturbs ends well"));
    }
    events
}

fn assert_answered(response: &Response, model: &str) {
    assert_eq!(response.object, "response");
    assert_eq!(response.model, model, "the response echoes the name that was asked for");
    assert!(response.created_at > 0, "created at {}", response.created_at);
    match response.status {
        ResponseStatus::Completed => assert!(response.completed_at.is_some(), "{response:?}"),
        ResponseStatus::Incomplete => assert!(response.incomplete_details.is_some(), "{response:?}"),
        status => panic!("the status is {status:?}"),
    }
    assert!(!response.text().is_empty(), "there is no text in {response:?}");
    let usage = response.usage.expect("an answer has its token counts");
    assert!(usage.input_tokens > 0 && usage.output_tokens > 0, "{usage:?}");
    assert_eq!(usage.total_tokens, usage.input_tokens + usage.output_tokens);
}

fn assert_not_found<T>(outcome: Result<T, ApiError>) {
    match outcome {
        Ok(_) => panic!("it should not be there"),
        Err(error) => assert_eq!(error.code, ErrorCode::NotFound, "{error}"),
    }
}

/// What was answered can be retrieved, with what was asked, until it is deleted. Panics if not.
pub async fn a_response_is_kept_until_it_is_deleted(api: &dyn ResponsesApi, model: &str) {
    let response = create(api, request(model).note("about", "a test")).await;
    assert_answered(&response, model);
    assert_eq!(
        response
            .metadata
            .as_ref()
            .and_then(|notes| notes.get("about"))
            .map(String::as_str),
        Some("a test")
    );
    let retrieved = api.response(response.id).await.expect("it is kept").body;
    assert_eq!(retrieved, response);
    let items = api.response_input_items(response.id, PageQuery::default()).await;
    let items = items.expect("the input is kept").body;
    assert_eq!(items.data.len(), 1);
    assert_eq!(items.data[0].kind(), Some("message"));
    assert!(items.data[0].id().is_some(), "{items:?}");
    let deleted = api.delete_response(response.id).await.expect("it can be deleted").body;
    assert!(deleted.deleted && deleted.id == response.id, "{deleted:?}");
    assert_not_found(api.response(response.id).await);
    assert_not_found(api.delete_response(response.id).await);
}

/// With `store: false` nothing is left. Panics if not.
pub async fn one_that_is_not_kept_cannot_be_retrieved(api: &dyn ResponsesApi, model: &str) {
    let response = create(api, request(model).store(false)).await;
    assert_answered(&response, model);
    assert_not_found(api.response(response.id).await);
}

/// A stream counts its events from 0, its deltas are the text, and its last event is the whole response. Panics if not.
pub async fn the_events_tell_the_response(api: &dyn ResponsesApi, model: &str) {
    let stream = api.create_response_stream(request(model)).await;
    let events = events(stream.expect("a stream is opened")).await;
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event.sequence_number, number as u64, "{event:?}");
        assert_eq!(event.is_last(), number + 1 == events.len(), "{event:?}");
    }
    let kinds: Vec<&str> = events.iter().map(ResponseEvent::kind).collect();
    assert_eq!(kinds[..2], ["response.created", "response.in_progress"]);
    let text: String = events.iter().map(ResponseEvent::text).collect();
    let last = events.last().and_then(ResponseEvent::response);
    let last = last.expect("the last event holds the response");
    assert_answered(last, model);
    assert_eq!(last.text(), text);
    let whole = create(api, request(model)).await;
    assert_eq!(whole.text(), text, "streamed or not");
}

/// A stream that is asked for again tells the same, from any place. Panics if not.
pub async fn events_are_the_same_once_more(api: &dyn ResponsesApi, model: &str) {
    let stream = api.create_response_stream(request(model)).await;
    let first = events(stream.expect("a stream is opened")).await;
    let id = first[0].response().expect("the first event holds the response").id;
    for after in [None, Some(0), Some(3)] {
        let again = api.response_stream(id, after).await.expect("a stream is opened again");
        let skipped = after.map_or(0, |after| after as usize + 1);
        assert_eq!(events(again).await, first[skipped..], "after {after:?}");
    }
}

/// In the background: queued at once, and answered after a while; cancelling it then changes nothing. Panics if not.
pub async fn one_in_the_background_comes_to_its_end(api: &dyn ResponsesApi, model: &str) {
    let response = create(api, request(model).background()).await;
    assert!(!response.status.is_final(), "{response:?}");
    assert_eq!(response.background, Some(true));
    // Following it is how to wait for it.
    let followed = api
        .response_stream(response.id, None)
        .await
        .expect("it can be followed");
    let events = events(followed).await;
    let last = events.last().and_then(ResponseEvent::response).cloned();
    let last = last.expect("the last event holds the response");
    assert_answered(&last, model);
    assert_eq!(api.response(response.id).await.expect("it is kept").body, last);
    let cancelled = api.cancel_response(response.id).await.expect("cancelling is harmless");
    assert_eq!(cancelled.body, last);
}

/// A response takes over what was said before it. Panics if not.
pub async fn a_response_goes_on_from_another(api: &dyn ResponsesApi, model: &str) {
    let first = create(api, request(model)).await;
    let mut next = request(model).previous(first.id);
    next.input = [InputItem::user("Go on.")].into();
    let next = create(api, next).await;
    assert_eq!(next.previous_response_id, Some(first.id.to_string()));
    let items = api.response_input_items(next.id, PageQuery::default()).await;
    let items = items.expect("the input is kept").body.data;
    assert_eq!(items.len(), 3, "newest first: {items:?}");
    assert_eq!(items[1].id(), Some(first.output[0].id()));
}

/// What never was cannot be retrieved, followed, cancelled, deleted or gone on from. Panics if not.
pub async fn what_is_not_there_is_not_found(api: &dyn ResponsesApi, model: &str) {
    let nobody = ResponseId::from_uuid(uuid::Uuid::nil());
    assert_not_found(api.response(nobody).await);
    assert_not_found(api.response_stream(nobody, None).await);
    assert_not_found(api.cancel_response(nobody).await);
    assert_not_found(api.delete_response(nobody).await);
    assert_not_found(api.response_input_items(nobody, PageQuery::default()).await);
    let error = api.create_response(request(model).previous(nobody)).await.err();
    let error = error.expect("there is nothing to go on from");
    assert_eq!(error.code, ErrorCode::PreviousResponseNotFound, "{error}");
    assert_eq!(error.param.as_deref(), Some("previous_response_id"), "{error}");
}
