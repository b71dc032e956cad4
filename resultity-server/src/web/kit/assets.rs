//! Style sheets, scripts and the icon: in the program itself, under names that change with what is in them.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use resultity_core::canonical::sha256;

/// Where they are.
pub(in crate::web) const PATH: &str = "/assets/{file}";

/// A file that pages ask for.
#[derive(Debug)]
pub(in crate::web) struct Asset {
    kind: &'static str,
    text: &'static str,
    name: String,
}

impl Asset {
    fn new(name: &str, kind: &'static str, text: &'static str) -> Self {
        let digest = hex::encode(&sha256(text).as_slice()[..6]);
        Self {
            kind,
            text,
            name: format!("{digest}-{name}"),
        }
    }

    /// Where it is: a place that never changes what it says.
    pub(in crate::web) fn url(&self) -> String {
        format!("/assets/{}", self.name)
    }
}

macro_rules! assets {
    ($($constant:ident: $file:literal, $kind:literal;)*) => {
        $(pub(in crate::web) static $constant: LazyLock<Asset> =
            LazyLock::new(|| Asset::new($file, $kind, include_str!(concat!("../assets/", $file))));)*

        fn all() -> Vec<&'static Asset> {
            vec![$(&*$constant),*]
        }
    };
}

assets! {
    STYLE: "style.css", "text/css; charset=utf-8";
    SCRIPT: "page.js", "text/javascript; charset=utf-8";
    LIVE: "live.js", "text/javascript; charset=utf-8";
    JOIN: "join.js", "text/javascript; charset=utf-8";
    WALLET: "wallet.js", "text/javascript; charset=utf-8";
    ICON: "icon.svg", "image/svg+xml";
}

/// `GET /assets/{file}`.
pub(in crate::web) async fn serve(Path(file): Path<String>) -> Response {
    match all().into_iter().find(|asset| asset.name == file) {
        Some(asset) => (
            [
                (CONTENT_TYPE, asset.kind),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
                (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ],
            asset.text,
        )
            .into_response(),
        None => (StatusCode::NOT_FOUND, "there is no such file").into_response(),
    }
}
