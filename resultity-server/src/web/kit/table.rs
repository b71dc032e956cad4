//! Tables, cards and what stands where there is nothing yet.

use maud::{Markup, html};

/// A table that scrolls by itself where it is wider than the screen.
pub(in crate::web) fn table(label: &str, heads: &[&str], rows: Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// What stands where there is nothing yet: what it would be, and how to get it.
pub(in crate::web) fn empty(title: &str, what_to_do: Markup) -> Markup {
    html! {
        div.empty { p.title { (title) } div { (what_to_do) } }
    }
}

/// A number with what it counts, and perhaps more about it.
pub(in crate::web) fn card(label: &str, value: Markup, more: Markup) -> Markup {
    html! {
        div.card { p.label { (label) } p.value { (value) } div.more { (more) } }
    }
}

/// A box with a title.
pub(in crate::web) fn panel(title: &str, body: Markup) -> Markup {
    html! {
        section.panel { h2 { (title) } (body) }
    }
}

/// A word about a state, in the colour that fits it: `good`, `bad`, `wait` or none.
pub(in crate::web) fn badge(word: &str, colour: &str) -> Markup {
    html! { span class={ "badge " (colour) } { (word) } }
}

/// The way to the next page of a list.
pub(in crate::web) fn more(next: Option<String>) -> Markup {
    html! {
        @if let Some(next) = next { p.next { a.button.quiet href=(next) rel="next" { "Older entries" } } }
    }
}
