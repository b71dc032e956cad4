//! The contract of containers.

use futures::future::join_all;
use serde_json::value::RawValue;

use super::{in_time, lists_its_model};
use crate::runtime::{ContainerRequest, Runtime, RuntimeError};

/// Runs the contract of a container that answers with the data that it gets, its white space apart.
///
/// # Panics
/// Where the contract is broken.
pub async fn compute(runtime: &dyn Runtime, model: &str) {
    lists_its_model(runtime, model).await;
    let request = |model: &str, data: &str| {
        let data = RawValue::from_string(data.to_owned()).unwrap_or_else(|error| panic!("{data}: {error}"));
        ContainerRequest::new(model, data)
    };
    let answer = async |data: String| {
        let output = in_time(runtime.compute(request(model, &data))).await;
        let output = output.unwrap_or_else(|error| panic!("compute failed: {error}"));
        let spaceless = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(spaceless(output.get()), data, "the container gives what it gets");
    };
    answer(r#"{"n":[123456789012345678901234567890,0.10],"text":"é\n","":{}}"#.to_owned()).await;
    answer("{}".to_owned()).await;
    join_all((0..8).map(|n| answer(format!("{{\"n\":{n}}}")))).await;
    match in_time(runtime.compute(request("no-such-model-anywhere", "{}"))).await {
        Err(RuntimeError::ModelMissing(_)) => {}
        other => panic!("an unknown model is ModelMissing, not {other:?}"),
    }
}
