//! The flows of a server: one for each environment that it serves. They share the store and never a job.

use std::sync::Arc;

use resultity_core::environment::Environment;

use crate::flow::Flow;

/// One flow for each environment. Never empty.
#[derive(Debug, Clone)]
pub struct Flows {
    first: Arc<Flow>,
    others: Vec<Arc<Flow>>,
}

impl Flows {
    /// Flows of different environments; the first is what is meant where nothing is said.
    pub fn new(first: Arc<Flow>, others: Vec<Arc<Flow>>) -> Self {
        Self { first, others }
    }

    /// The flow of the environment that is meant where nothing is said.
    pub fn first(&self) -> &Arc<Flow> {
        &self.first
    }

    /// The flow of an environment; none if it is not served here.
    pub fn get(&self, environment: Environment) -> Option<&Arc<Flow>> {
        self.iter().find(|flow| flow.environment == environment)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Flow>> {
        std::iter::once(&self.first).chain(&self.others)
    }
}
