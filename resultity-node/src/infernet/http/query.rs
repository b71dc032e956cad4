//! What stands behind the question mark.

use resultity_core::infernet::JobId;
use url::form_urlencoded::parse;

/// The longest id that a job can have: bytes.
pub(super) const MAX_ID_BYTES: usize = 128;

/// What `GET /api/jobs` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum JobsQuery {
    /// These jobs.
    Results {
        /// In this order. Those that no job can have are left out, as unknown ones are.
        ids: Vec<JobId>,
        /// With the results of all containers.
        intermediate: bool,
    },
    /// The ids of the caller's jobs.
    Ids {
        /// Those that have not ended, those that have, or all.
        pending: Option<bool>,
    },
}

/// Reads the query of `GET /api/jobs` as the original does: of a flag the first value counts, and only the exact text;
/// other parameters are ignored.
pub(super) fn jobs(query: &str) -> JobsQuery {
    let (mut ids, mut is_asked_for_ids) = (Vec::new(), false);
    let (mut intermediate, mut pending) = (None, None);
    for (name, value) in parse(query.as_bytes()) {
        match &*name {
            "id" => {
                is_asked_for_ids = true;
                if (1..=MAX_ID_BYTES).contains(&value.len()) {
                    ids.push(JobId::new(value));
                }
            }
            "intermediate" if intermediate.is_none() => intermediate = Some(value == "true"),
            "pending" if pending.is_none() => {
                pending = Some(match &*value {
                    "true" => Some(true),
                    "false" => Some(false),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    if is_asked_for_ids {
        let intermediate = intermediate.unwrap_or(false);
        return JobsQuery::Results { ids, intermediate };
    }
    JobsQuery::Ids {
        pending: pending.flatten(),
    }
}

/// The model that `GET /resources` is asked about; an empty one is none, as in the original.
pub(super) fn model_id(query: &str) -> Option<String> {
    let (_, value) = parse(query.as_bytes()).find(|(name, _)| name == "model_id")?;
    (!value.is_empty()).then(|| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", None)]
    #[case("pending=true", Some(true))]
    #[case("pending=false", Some(false))]
    #[case("pending=True", None)]
    #[case("pending=1", None)]
    #[case("pending=", None)]
    #[case("pending", None)]
    #[case("pending=maybe&pending=true", None)]
    #[case("intermediate=true&limit=5&&=&%", None)]
    fn without_an_id_it_is_a_list(#[case] query: &str, #[case] pending: Option<bool>) {
        assert_eq!(jobs(query), JobsQuery::Ids { pending });
    }

    #[rstest]
    #[case("id=a", &["a"], false)]
    #[case("id=a&id=b&id=a", &["a", "b", "a"], false)]
    #[case("id=a&intermediate=true", &["a"], true)]
    #[case("intermediate=true&id=a&pending=true", &["a"], true)]
    #[case("id=a&intermediate=True", &["a"], false)]
    #[case("id=a&intermediate=1", &["a"], false)]
    #[case("id=a&intermediate=false&intermediate=true", &["a"], false)]
    #[case("id=", &[], false)]
    #[case("id", &[], false)]
    #[case("id=&id=a", &["a"], false)]
    #[case("ID=a&id=b", &["b"], false)]
    #[case("id=a%26id%3Db+c", &["a&id=b c"], false)]
    #[case("id=%00%0A%27%22%3B--", &["\0\n'\";--"], false)]
    #[case("id=%FF%zz%", &["\u{fffd}%zz%"], false)]
    #[case("id[]=a&id=ü", &["ü"], false)]
    fn with_an_id_it_is_jobs(#[case] query: &str, #[case] ids: &[&str], #[case] intermediate: bool) {
        let ids = ids.iter().map(|id| JobId::from(*id)).collect();
        assert_eq!(jobs(query), JobsQuery::Results { ids, intermediate });
    }

    #[test]
    fn an_id_longer_than_any_is_not_looked_for() {
        let query = format!("id={}&id={}", "a".repeat(129), "b".repeat(128));
        let expected = JobsQuery::Results {
            ids: vec![JobId::new("b".repeat(128))],
            intermediate: false,
        };
        assert_eq!(jobs(&query), expected);
    }

    #[rstest]
    #[case("", None)]
    #[case("model_id=", None)]
    #[case("model=a", None)]
    #[case("model_id=huggingface%2Fa/b%3A1.0:file", Some("huggingface/a/b:1.0:file"))]
    #[case("model_id=a&model_id=b", Some("a"))]
    fn a_model_is_asked_for_by_its_id(#[case] query: &str, #[case] expected: Option<&str>) {
        assert_eq!(model_id(query).as_deref(), expected);
    }
}
