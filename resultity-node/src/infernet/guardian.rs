//! Who may use which container: rules without state, in the original node's order and words.

use std::collections::HashMap;
use std::net::IpAddr;

use resultity_core::Address;
use resultity_core::infernet::{JobRequest, NodeError};

use crate::infernet::config::settings::{ContainerSettings, Settings};
use resultity_core::networks::Networks;

/// The rules of a node's containers.
#[derive(Debug, Clone)]
pub struct Guardian {
    containers: HashMap<String, Rules>,
}

/// What a container asks of a job.
#[derive(Debug, Clone)]
struct Rules {
    external: bool,
    generates_proofs: bool,
    allowed_ips: Networks,
    allowed_delegates: Vec<Address>,
}

impl From<&ContainerSettings> for Rules {
    fn from(settings: &ContainerSettings) -> Self {
        Self {
            external: settings.external,
            generates_proofs: settings.generates_proofs,
            allowed_ips: settings.allowed_ips.clone(),
            allowed_delegates: settings.allowed_delegate_addresses.clone(),
        }
    }
}

impl Guardian {
    /// The rules of these containers.
    pub fn new(settings: &Settings) -> Self {
        let rules = |container: &ContainerSettings| (container.id.clone(), Rules::from(container));
        Self {
            containers: settings.containers.iter().map(rules).collect(),
        }
    }

    /// Whether this caller may have this job done.
    ///
    /// # Errors
    ///
    /// [`NodeErrorKind::Refused`](resultity_core::infernet::NodeErrorKind): the first rule that it breaks.
    pub fn check(&self, request: &JobRequest, caller: IpAddr) -> Result<(), NodeError> {
        let requires_proof = request.requires_proof.unwrap_or(false);
        let caller = caller.to_canonical();
        self.check_chain(&request.containers, requires_proof, |rules| {
            let is_allowed = rules.allowed_ips.is_empty() || rules.allowed_ips.contain(caller);
            (!is_allowed).then(|| caller.to_string())
        })
    }

    /// Whether these containers may work for a delegated subscription of this owner.
    ///
    /// # Errors
    ///
    /// [`NodeErrorKind::Refused`](resultity_core::infernet::NodeErrorKind): the first rule that it breaks.
    pub fn check_delegated(
        &self,
        containers: &[String],
        requires_proof: bool,
        owner: Address,
    ) -> Result<(), NodeError> {
        self.check_chain(containers, requires_proof, |rules| {
            let is_allowed = rules.allowed_delegates.is_empty() || rules.allowed_delegates.contains(&owner);
            (!is_allowed).then(|| owner.to_string())
        })
    }

    /// `refused` gives the address that a container is not for.
    fn check_chain(
        &self,
        containers: &[String],
        requires_proof: bool,
        refused: impl Fn(&Rules) -> Option<String>,
    ) -> Result<(), NodeError> {
        let (Some(first), Some(last)) = (containers.first(), containers.last()) else {
            return Err(NodeError::refused("No containers specified"));
        };
        let rules = containers.iter().map(|container| {
            let unknown = || NodeError::refused("Container not supported").with("container", shown(container));
            self.containers.get(container).ok_or_else(unknown)
        });
        let rules: Vec<&Rules> = rules.collect::<Result<_, _>>()?;
        if rules.first().is_some_and(|rules| !rules.external) {
            return Err(NodeError::refused("First container must be external").with("first_container", first.as_str()));
        }
        if requires_proof && rules.last().is_some_and(|rules| !rules.generates_proofs) {
            return Err(NodeError::refused("Container does not generate proof").with("container", last.as_str()));
        }
        for (container, rules) in containers.iter().zip(rules) {
            if let Some(address) = refused(rules) {
                return Err(NodeError::refused("Container not allowed for address")
                    .with("container", container.as_str())
                    .with("address", address));
            }
        }
        Ok(())
    }
}

/// An id that names nothing, without being an echo for whatever is sent.
fn shown(id: &str) -> String {
    const MAX_CHARS: usize = 256;
    id.chars().take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::infernet::NodeErrorKind;
    use rstest::rstest;
    use serde_json::json;

    const OWNER: &str = "0x5FbDB2315678afecb367f032d93F642f64180aa3";

    /// `open` and `proof` are for everybody, `inner` is not external, `home` is for two networks and one owner.
    fn guardian() -> Guardian {
        let url: url::Url = "http://127.0.0.1:1/".parse().unwrap();
        let container = |id| ContainerSettings::new(id, url.clone());
        let mut proof = container("proof");
        proof.generates_proofs = true;
        let mut inner = container("inner");
        inner.external = false;
        let mut home = container("home");
        home.allowed_ips = Networks::parse(["10.0.0.0/8", "fd00::/8"]).unwrap();
        home.allowed_delegate_addresses = vec![OWNER.parse().unwrap()];
        Guardian::new(&Settings::new(
            "results.db",
            vec![container("open"), proof, inner, home],
        ))
    }

    fn ids(text: &str) -> Vec<String> {
        text.split_terminator(',').map(str::to_owned).collect()
    }

    fn body(error: &NodeError) -> String {
        assert_eq!(error.kind(), NodeErrorKind::Refused);
        serde_json::to_string(&error.to_response()).unwrap()
    }

    #[rstest]
    #[case("open", false, "1.2.3.4")]
    #[case("open,inner,open", false, "::1")]
    #[case("open,proof", true, "1.2.3.4")]
    #[case("home", false, "10.1.2.3")]
    #[case("home", false, "::ffff:10.1.2.3")]
    #[case("open,home", false, "fd12::1")]
    fn a_job_that_keeps_the_rules_is_let_through(#[case] containers: &str, #[case] proof: bool, #[case] caller: &str) {
        let mut request = JobRequest::new(ids(containers), &json!({})).unwrap();
        request.requires_proof = Some(proof);
        guardian().check(&request, caller.parse().unwrap()).unwrap();
    }

    // Each breaks its rule and all that come after it, so the order shows.
    #[rstest]
    #[case("", "9.9.9.9", r#"{"error":"No containers specified","params":{}}"#)]
    #[case(
        "inner,none,home",
        "9.9.9.9",
        r#"{"error":"Container not supported","params":{"container":"none"}}"#
    )]
    #[case(
        "Open",
        "9.9.9.9",
        r#"{"error":"Container not supported","params":{"container":"Open"}}"#
    )]
    #[case(
        "inner,home",
        "9.9.9.9",
        r#"{"error":"First container must be external","params":{"first_container":"inner"}}"#
    )]
    #[case(
        "proof,home",
        "9.9.9.9",
        r#"{"error":"Container does not generate proof","params":{"container":"home"}}"#
    )]
    #[case(
        "open,home,proof",
        "9.9.9.9",
        r#"{"error":"Container not allowed for address","params":{"container":"home","address":"9.9.9.9"}}"#
    )]
    #[case(
        "home,proof",
        "::ffff:9.9.9.9",
        r#"{"error":"Container not allowed for address","params":{"container":"home","address":"9.9.9.9"}}"#
    )]
    #[case(
        "home,proof",
        "fe80::1",
        r#"{"error":"Container not allowed for address","params":{"container":"home","address":"fe80::1"}}"#
    )]
    fn the_first_broken_rule_is_named(#[case] containers: &str, #[case] caller: &str, #[case] expected: &str) {
        let request = JobRequest::new(ids(containers), &json!({})).unwrap().with_proof();
        let error = guardian().check(&request, caller.parse().unwrap()).unwrap_err();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&body(&error)).unwrap(),
            serde_json::from_str::<serde_json::Value>(expected).unwrap()
        );
    }

    #[rstest]
    #[case("", "No containers specified")]
    #[case("inner,none,home", "Container not supported")]
    #[case("inner,home", "First container must be external")]
    #[case("proof,home", "Container does not generate proof")]
    #[case("home,proof", "Container not allowed for address")]
    fn delegated_subscriptions_keep_the_same_rules(#[case] containers: &str, #[case] expected: &str) {
        let error = guardian()
            .check_delegated(&ids(containers), true, Address::ZERO)
            .unwrap_err();
        assert_eq!(error.message(), expected);
    }

    #[test]
    fn a_container_for_some_owners_is_for_these_only() {
        let check = |owner: &str| guardian().check_delegated(&ids("home,open"), false, owner.parse().unwrap());
        assert_eq!(check(OWNER), Ok(()));
        assert_eq!(check(&OWNER.to_lowercase()), Ok(()));
        let other = "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0";
        let error = check(other).unwrap_err();
        assert_eq!(error.message(), "Container not allowed for address");
        assert_eq!(error.params().unwrap().get("address"), Some(&json!(other)));
    }

    #[test]
    fn an_unknown_id_is_not_echoed_without_end() {
        let request = JobRequest::new(["é".repeat(100_000)], &json!({})).unwrap();
        let error = guardian().check(&request, "::1".parse().unwrap()).unwrap_err();
        assert_eq!(error.params().unwrap()["container"], "é".repeat(256));
    }
}
