//! A table of routes: axum's router, and a list of what is in it, which the description of the surfaces is held to.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, any, on};

use crate::http::{App, problem};

/// Routes of a surface.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) router: Router<Arc<App>>,
    /// What may be asked.
    pub(super) listed: Vec<(Method, &'static str)>,
}

impl Table {
    /// `GET`, and with it `HEAD`.
    pub(super) fn get<H: Handler<T, Arc<App>>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add(Method::GET, MethodFilter::GET, path, handler)
    }

    /// `POST`.
    pub(super) fn post<H: Handler<T, Arc<App>>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add(Method::POST, MethodFilter::POST, path, handler)
    }

    /// `DELETE`.
    pub(super) fn delete<H: Handler<T, Arc<App>>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add(Method::DELETE, MethodFilter::DELETE, path, handler)
    }

    /// What is specified, but not built: 501 by every method.
    pub(super) fn not_built(mut self, path: &'static str) -> Self {
        self.router = self.router.route(path, any(problem::not_built));
        self.listed.push((Method::POST, path));
        self
    }

    /// Whatever no other route is for. Not listed.
    pub(super) fn rest<H: Handler<T, Arc<App>>, T: 'static>(mut self, path: &'static str, handler: H) -> Self {
        self.router = self.router.route(path, any(handler));
        self
    }

    fn add<H: Handler<T, Arc<App>>, T: 'static>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        handler: H,
    ) -> Self {
        self.router = self.router.route(path, on(filter, handler));
        self.listed.push((method, path));
        self
    }
}
