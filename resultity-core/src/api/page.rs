//! Lists that come a page at a time, as OpenAI's cursors have it.

use serde::{Deserialize, Serialize};

/// How many entries a page has if nobody says so.
pub const DEFAULT_PAGE: u32 = 20;

/// The most entries of a page.
pub const MAX_PAGE: u32 = 100;

/// Which page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(default)]
pub struct PageQuery {
    /// How many entries: 1 to 100; 20 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Entries after the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// `asc` (oldest first) or `desc` (newest first, the default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
}

impl PageQuery {
    /// The first page of this size.
    pub fn first(limit: u32) -> Self {
        Self {
            limit: Some(limit),
            ..Self::default()
        }
    }

    /// The page after the entry with this id.
    #[must_use]
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.after = Some(id.into());
        self
    }

    /// How many entries, within bounds.
    pub fn size(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE)
    }

    /// Whether the oldest comes first.
    pub fn is_ascending(&self) -> bool {
        self.order == Some(Order::Asc)
    }
}

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// Always `list`.
    pub object: String,
    /// The entries.
    pub data: Vec<T>,
    /// The id of the first entry.
    #[serde(default)]
    pub first_id: Option<String>,
    /// The id of the last entry: what to name in [`PageQuery::after`] for the next page.
    #[serde(default)]
    pub last_id: Option<String>,
    /// Whether there are more.
    #[serde(default)]
    pub has_more: bool,
}

impl<T> Page<T> {
    /// A page of at most `size` of these entries, of which one more was looked for to see whether there are more.
    pub fn of(mut entries: Vec<T>, size: u32, id: impl Fn(&T) -> String) -> Self {
        let has_more = entries.len() > size as usize;
        entries.truncate(size as usize);
        Self {
            object: "list".into(),
            first_id: entries.first().map(&id),
            last_id: entries.last().map(&id),
            has_more,
            data: entries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_whether_there_are_more() {
        let page = Page::of(vec![1, 2, 3], 2, ToString::to_string);
        assert_eq!((page.data.as_slice(), page.has_more), ([1, 2].as_slice(), true));
        assert_eq!(
            (page.first_id.as_deref(), page.last_id.as_deref()),
            (Some("1"), Some("2"))
        );
        let last = Page::<u8>::of(vec![], 2, ToString::to_string);
        assert_eq!((last.has_more, last.last_id), (false, None));
    }
}
