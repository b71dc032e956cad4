//! A browser without scripts: it keeps cookies, follows no redirect by itself, and finds forms and links in pages.

use std::collections::BTreeMap;

use reqwest::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};

/// What a page is: its status, where it sends, and what it says.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) to: Option<String>,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Seen {
    /// The title of the page, as its heading has it.
    pub(crate) fn heading(&self) -> &str {
        between(&self.text, "<h1>", "</h1>").unwrap_or_default()
    }

    /// The value of a hidden field.
    pub(crate) fn hidden(&self, name: &str) -> Option<String> {
        let field = format!("type=\"hidden\" name=\"{name}\" value=\"");
        between(&self.text, &field, "\"").map(str::to_owned)
    }

    /// Whether the page says this.
    #[track_caller]
    pub(crate) fn assert_says(&self, text: &str) {
        assert!(self.text.contains(text), "no {text:?} in\n{}", self.text);
    }
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to).map(|(found, _)| found)
}

/// One browser, with its cookies.
#[derive(Debug)]
pub(crate) struct Browser {
    client: Client,
    base: String,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new(base: String) -> Self {
        // Another client of this process may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        Self {
            client,
            base,
            cookies: BTreeMap::new(),
        }
    }

    /// The address without its scheme, as the header `Host` has it.
    pub(crate) fn host(&self) -> &str {
        self.base.split_once("://").unwrap().1
    }

    async fn send(&mut self, request: RequestBuilder) -> Seen {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = request
            .header(COOKIE, cookies.join("; "))
            .header(HOST, self.host().to_owned());
        let answer = request.send().await.unwrap();
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let text = cookie.to_str().unwrap();
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Seen {
            status: answer.status().as_u16(),
            to: answer.headers().get(LOCATION).map(|to| to.to_str().unwrap().to_owned()),
            headers: answer.headers().clone(),
            text: answer.text().await.unwrap(),
        }
    }

    /// Looks at a page.
    pub(crate) async fn get(&mut self, path: &str) -> Seen {
        let request = self.client.get(format!("{}{path}", self.base));
        self.send(request).await
    }

    /// Sends a form as it is, with these headers.
    pub(crate) async fn post_with(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&'static str, &str)],
    ) -> Seen {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = self.client.post(format!("{}{path}", self.base)).body(body);
        let mut request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    /// Sends a form of a page that was seen: with what is hidden in it.
    pub(crate) async fn submit(&mut self, page: &Seen, path: &str, fields: &[(&str, &str)]) -> Seen {
        let csrf = page.hidden("csrf");
        let mut all: Vec<(&str, &str)> = fields.to_vec();
        if let Some(csrf) = &csrf {
            all.push(("csrf", csrf));
        }
        let origin = self.base.clone();
        self.post_with(path, &all, &[("origin", &origin), ("sec-fetch-site", "same-origin")])
            .await
    }
}
