//! The frame of every page: head, header with apps and environment, what was just done, the sections of an app, footer.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};

use super::assets::{self, Asset};
use super::form::{Filled, csrf, sentence};
use super::notice::{Notice, cookie};
use super::visitor::Visitor;

/// Nothing but what comes from here, no script or style within a page, no other site around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The cookie that keeps light or dark.
pub(in crate::web) const THEME_COOKIE: &str = "resultity_theme";

/// Light, dark, or what the machine wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) enum Theme {
    Machine,
    Light,
    Dark,
}

impl Theme {
    /// All of them, with what they are called.
    const ALL: [(Self, &'static str, &'static str); 3] = [
        (Self::Machine, "auto", "Auto"),
        (Self::Light, "light", "Light"),
        (Self::Dark, "dark", "Dark"),
    ];

    /// What was chosen.
    pub(in crate::web) fn of(headers: &HeaderMap) -> Self {
        Self::named(cookie(headers, THEME_COOKIE).unwrap_or_default())
    }

    /// The one of this name; else what the machine wants.
    pub(in crate::web) fn named(name: &str) -> Self {
        let found = Self::ALL.into_iter().find(|(_, known, _)| *known == name);
        found.map_or(Self::Machine, |(theme, ..)| theme)
    }

    pub(in crate::web) fn name(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(theme, ..)| *theme == self);
        found.map_or("auto", |(_, name, _)| name)
    }
}

/// The applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) enum App {
    Cloud,
    Network,
    Space,
    Status,
    Account,
}

/// A section of an application: where it is, and what it is called.
pub(in crate::web) type Section = (&'static str, &'static str);

impl App {
    /// Those that everybody sees, in the order of the header.
    const SHOWN: [Self; 5] = [Self::Cloud, Self::Network, Self::Space, Self::Status, Self::Account];

    const fn name(self) -> &'static str {
        match self {
            Self::Cloud => "Cloud",
            Self::Network => "Network",
            Self::Space => "Space",
            Self::Status => "Status",
            Self::Account => "Account",
        }
    }

    const fn home(self) -> &'static str {
        match self {
            Self::Cloud => "/cloud",
            Self::Network => "/network",
            Self::Space => "/space",
            Self::Status => "/status",
            Self::Account => "/account",
        }
    }

    const fn sections(self) -> &'static [Section] {
        match self {
            Self::Status => super::super::status::SECTIONS,
            Self::Account => super::super::account::SECTIONS,
            Self::Cloud => super::super::cloud::SECTIONS,
            Self::Network => super::super::network::SECTIONS,
            Self::Space => &[],
        }
    }
}

/// A page, ready to be sent.
pub(in crate::web) struct Page<'a> {
    visitor: &'a Visitor,
    app: App,
    title: String,
    lead: Option<String>,
    scripts: Vec<&'static Asset>,
    status: StatusCode,
    body: Markup,
}

impl<'a> Page<'a> {
    /// A page of an application, with its title and what it says.
    pub(in crate::web) fn new(visitor: &'a Visitor, app: App, title: impl Into<String>, body: Markup) -> Self {
        Self {
            visitor,
            app,
            title: title.into(),
            lead: None,
            scripts: Vec::new(),
            status: StatusCode::OK,
            body,
        }
    }

    /// A sentence under the title: what this page is for.
    pub(in crate::web) fn lead(mut self, lead: impl Into<String>) -> Self {
        self.lead = Some(lead.into());
        self
    }

    /// What makes the page better where scripts run.
    pub(in crate::web) fn script(mut self, script: &'static Asset) -> Self {
        self.scripts.push(script);
        self
    }

    /// As the answer to a form, which may have been refused.
    pub(in crate::web) fn after(mut self, filled: &Filled) -> Self {
        if let Some(error) = &filled.error {
            self.status = status_of(error);
        }
        self
    }

    fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    fn html(&self) -> Markup {
        let visitor = self.visitor;
        html! {
            (DOCTYPE)
            html lang="en" data-theme=(visitor.theme.name()) data-environment=(visitor.environment.as_str()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Resultity " (self.app.name()) }
                    link rel="icon" href=(assets::ICON.url()) type="image/svg+xml";
                    link rel="stylesheet" href=(assets::STYLE.url());
                    script src=(assets::SCRIPT.url()) defer {}
                    @for script in &self.scripts { script src=(script.url()) defer {} }
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    (header(visitor, self.app))
                    @if visitor.environment == Environment::Testnet {
                        p.strip { strong { "Testnet" } " – for trying things: credits here are worth nothing." }
                    }
                    div.frame {
                        (sections(visitor, self.app))
                        main id="main" {
                            @if let Some(notice) = &visitor.notice { p.alert.good role="status" { (notice.0) } }
                            div.head {
                                h1 { (self.title) }
                                @if let Some(lead) = &self.lead { p.lead { (lead) } }
                            }
                            (self.body)
                        }
                    }
                    (footer(visitor))
                }
            }
        }
    }
}

impl IntoResponse for Page<'_> {
    fn into_response(self) -> Response {
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            // Pages are about somebody, at a moment.
            (CACHE_CONTROL, "no-store"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_FRAME_OPTIONS, "DENY"),
            // Without it browsers would name no origin with the own forms.
            (REFERRER_POLICY, "same-origin"),
            (
                HeaderName::from_static("permissions-policy"),
                "camera=(), geolocation=(), microphone=(), payment=()",
            ),
        ];
        let mut response = (self.status, headers, self.html().into_string()).into_response();
        if self.visitor.notice.is_some() {
            Notice::clear(&mut response);
        }
        response
    }
}

fn header(visitor: &Visitor, shown: App) -> Markup {
    html! {
        header.bar {
            a.brand href="/" { (mark()) span { "Resultity" } }
            nav.apps aria-label="Applications" {
                @for app in App::SHOWN.into_iter().filter(|app| *app != App::Account) {
                    a href=(app.home()) aria-current=[(app == shown).then_some("true")] { (app.name()) }
                }
            }
            div.who {
                (switch(visitor))
                @if let Some(member) = &visitor.member {
                    a.me href="/account" title=(member.name) aria-current=[(shown == App::Account).then_some("true")] {
                        (member.name)
                    }
                } @else {
                    a.button.small href={ "/account/sign-in?next=" (visitor.place.encoded()) } { "Sign in" }
                }
            }
        }
    }
}

/// Which environment is shown, and the other one.
fn switch(visitor: &Visitor) -> Markup {
    let environments = visitor.environments();
    let name = |environment: Environment| match environment {
        Environment::Mainnet => "Mainnet",
        Environment::Testnet => "Testnet",
    };
    html! {
        @if environments.len() < 2 {
            span.environment { (name(visitor.environment)) }
        } @else if visitor.member.is_some() {
            form.switch method="post" action="/account/environment" aria-label="Environment" {
                (csrf(visitor))
                input type="hidden" name="back" value=(visitor.place.as_str());
                @for environment in environments {
                    button type="submit" name="environment" value=(environment.as_str())
                        aria-pressed=(truth(environment == visitor.environment)) { (name(environment)) }
                }
            }
        } @else {
            nav.switch aria-label="Environment" {
                @for environment in environments {
                    a href=(visitor.place.with("environment", environment.as_str()))
                        aria-current=[(environment == visitor.environment).then_some("true")] { (name(environment)) }
                }
            }
        }
    }
}

const fn truth(is_so: bool) -> &'static str {
    if is_so { "true" } else { "false" }
}

fn sections(visitor: &Visitor, app: App) -> Markup {
    let sections = app.sections();
    let here = visitor.place.path();
    let is_public = app == App::Status;
    html! {
        @if !sections.is_empty() && (visitor.member.is_some() || is_public) {
            nav.sections aria-label=(app.name()) {
                @for (path, name) in sections {
                    @let is_here = here == *path || (*path != app.home() && here.starts_with(&format!("{path}/")));
                    a href=(linked(visitor, path)) aria-current=[is_here.then_some("page")] { (name) }
                }
            }
        }
    }
}

/// A public page of the environment that is shown: whoever has not signed in keeps it in the address.
fn linked(visitor: &Visitor, path: &str) -> String {
    if visitor.member.is_some() || visitor.environment == visitor.app.flow().environment {
        return path.to_owned();
    }
    format!("{path}?environment={}", visitor.environment)
}

fn footer(visitor: &Visitor) -> Markup {
    html! {
        footer.foot {
            span { "Resultity " (env!("CARGO_PKG_VERSION")) }
            nav aria-label="More" {
                a href="/status" { "Status" }
                @if cfg!(feature = "docs") { a href="/docs/" { "API" } } @else { a href="/openapi.json" { "API" } }
            }
            form.themes method="post" action="/theme" aria-label="Colours" {
                (csrf(visitor))
                input type="hidden" name="back" value=(visitor.place.as_str());
                @for (theme, name, label) in Theme::ALL {
                    button type="submit" name="theme" value=(name) aria-pressed=(truth(theme == visitor.theme)) { (label) }
                }
            }
        }
    }
}

/// The mark: nodes around a hub.
fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" {
            path d="M12 12 4.5 6M12 12l8-5.5M12 12l-5 8M12 12l6.5 6.5" {}
            circle cx="12" cy="12" r="3.2" {}
            circle cx="4.5" cy="6" r="1.9" {}
            circle cx="20" cy="6.5" r="1.9" {}
            circle cx="7" cy="20" r="1.9" {}
            circle cx="18.5" cy="18.5" r="1.9" {}
        }
    }
}

fn status_of(error: &ApiError) -> StatusCode {
    let status = error
        .code
        .http_status()
        .and_then(|status| StatusCode::from_u16(status).ok());
    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A page that says what went wrong, and what to do.
pub(in crate::web) fn failure(visitor: &Visitor, error: &ApiError, more: Markup) -> Response {
    let title = match error.code {
        ErrorCode::NotFound => "There is nothing here",
        ErrorCode::PermissionDenied => "This is not for you",
        ErrorCode::NotSignedIn => "Sign in first",
        ErrorCode::RateLimitExceeded => "Too many requests",
        ErrorCode::Internal | ErrorCode::NoCapacity => "The server could not do this",
        _ => "This did not work",
    };
    let body = html! {
        p.alert.bad role="alert" { (sentence(&error.message)) }
        (more)
        p { a href="/" { "Go to the start" } }
    };
    Page::new(visitor, App::of(visitor), title, body)
        .status(status_of(error))
        .into_response()
}

impl App {
    /// The application that a visitor is in.
    fn of(visitor: &Visitor) -> Self {
        let path = visitor.place.path();
        let found = Self::SHOWN.into_iter().find(|app| path.starts_with(app.home()));
        found.unwrap_or(Self::Status)
    }
}

/// The header's value for a cookie that keeps light or dark for a year.
pub(in crate::web) fn theme_cookie(theme: Theme) -> Option<HeaderValue> {
    let text = format!(
        "{THEME_COOKIE}={}; Path=/; SameSite=Lax; Max-Age=31536000",
        theme.name()
    );
    HeaderValue::try_from(text).ok()
}
