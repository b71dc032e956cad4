//! `/gate/v1/notifications`.

use resultity_core::api::gate::{Notification, NotificationQuery, ReadNotifications, UnreadNotifications};
use utoipa::openapi::path::HttpMethod::{self, Get, Post};

use crate::http::openapi::operation::{Access, Operation};

fn operation(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(method, path, "Gate: account", id, summary).access(Access::SignedIn)
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        operation(
            Get,
            "/gate/v1/notifications",
            "listNotifications",
            "List what the account is told",
        )
        .query::<NotificationQuery>()
        .gives_page::<Notification>("A page of it.")
        .of_one(),
        operation(
            Get,
            "/gate/v1/notifications/unread",
            "countUnreadNotifications",
            "Count what was not read",
        )
        .gives::<UnreadNotifications>("How much it is."),
        operation(
            Post,
            "/gate/v1/notifications/read",
            "readNotifications",
            "Mark notifications as read",
        )
        .takes::<ReadNotifications>()
        .gives::<UnreadNotifications>("What is left."),
    ]
}
