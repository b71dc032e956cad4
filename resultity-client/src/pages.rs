//! Lists that come a page at a time, as one stream.

use std::str::FromStr;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use resultity_core::api::cloud::Reply;
use resultity_core::api::page::Page;
use resultity_core::error::ApiError;

use crate::error;

/// The entries of a list, one after the other; a page is fetched when it is needed. The first error is the last item.
pub type Entries<T> = BoxStream<'static, Result<T, ApiError>>;

/// The entries of all pages. `fetch` gets the page after the entry with this id, and for nothing the first page; `after` is
/// where to begin.
///
/// [`CloudClient`](crate::CloudClient) has one of these for each of its lists; this is for lists elsewhere.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use futures::TryStreamExt;
/// use resultity_client::core::api::cloud::{Reply, ReplyMeta};
/// use resultity_client::core::api::page::Page;
/// use resultity_client::pages::pages;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let numbers = pages(None, |after| async move {
///     let first: u32 = after.map_or(0, |after| after.parse::<u32>().unwrap() + 1);
///     let body = Page::of((first..5).collect(), 2, u32::to_string);
///     Ok(Reply { body, meta: ReplyMeta::default() })
/// });
/// let numbers: Vec<u32> = numbers.try_collect().await?;
/// assert_eq!(numbers, [0, 1, 2, 3, 4]);
/// # Ok(())
/// # })
/// # }
/// ```
pub fn pages<T, F, P>(after: Option<String>, fetch: F) -> Entries<T>
where
    T: Send + 'static,
    F: Fn(Option<String>) -> P + Send + 'static,
    P: Future<Output = Result<Reply<Page<T>>, ApiError>> + Send + 'static,
{
    let begin = Some((after, fetch));
    stream::try_unfold(begin, |state| async move {
        let Some((after, fetch)) = state else {
            return Ok(None);
        };
        let page = fetch(after.clone()).await?.body;
        let next = if page.has_more {
            // Without a new place to go on from, the same page would come for ever.
            let last = page.last_id.filter(|last| after.as_ref() != Some(last));
            let last = last.ok_or_else(|| error::invalid_answer("a page says that there are more, but not where"))?;
            Some((Some(last), fetch))
        } else {
            None
        };
        Ok(Some((stream::iter(page.data.into_iter().map(Ok)), next)))
    })
    .try_flatten()
    .boxed()
}

/// The id that a page gave as the place to go on from.
pub(crate) fn cursor<T: FromStr>(after: Option<String>) -> Result<Option<T>, ApiError> {
    after
        .map(|after| {
            let wrong = |_| error::invalid_answer(format_args!("{after:?} is not an id"));
            after.parse().map_err(wrong)
        })
        .transpose()
}
