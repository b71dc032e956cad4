//! The contract of [`StatusApi`].

use futures::StreamExt;

use crate::api::gate::InEnvironment;
use crate::api::status::{StatusApi, StatusEvent};
use crate::environment::Environment;
use crate::error::ErrorCode;

/// Runs all scenarios. `environment` is one that the server serves, and `model` one that a node serves in it; `absent` is
/// an environment that it does not serve, if there is one.
pub async fn all(api: &dyn StatusApi, environment: Environment, model: &str, absent: Option<Environment>) {
    eprintln!("status: every view is of the environment that was asked for");
    views(api, environment, model).await;
    eprintln!("status: events begin with the numbers of the network");
    events(api, environment).await;
    if let Some(absent) = absent {
        eprintln!("status: what is not served is not found");
        not_served(api, absent).await;
    }
}

async fn views(api: &dyn StatusApi, environment: Environment, model: &str) {
    let of = InEnvironment::from(environment);
    let network = api.network(of).await.expect("the network");
    assert_eq!(network.environment, environment);
    assert!(network.age_ms < 60_000, "{network:?}");
    let numbers = &network.body;
    assert!(numbers.nodes.in_rotation <= numbers.nodes.connected, "{network:?}");
    assert!((0.0..=1.0).contains(&numbers.load.utilisation), "{network:?}");
    assert!((0.0..=1.0).contains(&numbers.jobs.success_rate), "{network:?}");

    let models = api.models(of).await.expect("the models");
    let served = models.body.models.iter().find(|known| known.name == model);
    let served = served.expect("the model is among those that are told of");
    assert!(served.available && served.nodes > 0, "{served:?}");
    let available = models.body.models.iter().filter(|model| model.available).count();
    let again = api.network(of).await.expect("the network");
    assert_eq!(again.body.models, available as u64);

    let pricing = api.pricing(of).await.expect("the prices");
    let price = pricing.body.prices.iter().find(|price| price.model == model);
    assert_eq!(price.map(|price| price.price), Some(served.price));

    let regions = api.regions(of).await.expect("the regions");
    let in_regions: u64 = regions.body.regions.iter().map(|region| region.nodes).sum();
    assert!(in_regions > 0, "{regions:?}");

    let versions = api.versions(of).await.expect("the versions");
    assert!(
        !versions.body.required_agent.is_empty() && !versions.body.agents.is_empty(),
        "{versions:?}"
    );

    let config = api.config(of).await.expect("the configuration");
    let newest = config
        .body
        .history
        .first()
        .expect("the snapshot in force is in the history");
    assert_eq!(
        (newest.version, newest.digest),
        (config.body.version, config.body.digest)
    );

    let epochs = api.epochs(of).await.expect("the epochs");
    let open = epochs.body.epochs.first().expect("there is always an open epoch");
    assert!(
        !open.closed && open.starts_at <= epochs.as_of && epochs.as_of < open.ends_at,
        "{open:?}"
    );
}

async fn events(api: &dyn StatusApi, environment: Environment) {
    let mut events = api.events(environment.into()).await.expect("the events");
    let first = events
        .next()
        .await
        .expect("there is a first event")
        .expect("it can be read");
    let StatusEvent::Network(seen) = &first else {
        unreachable!("the first event is {first:?}")
    };
    assert_eq!(seen.environment, environment);
}

async fn not_served(api: &dyn StatusApi, absent: Environment) {
    let of = InEnvironment::from(absent);
    let errors = [
        api.network(of).await.map(drop),
        api.models(of).await.map(drop),
        api.epochs(of).await.map(drop),
        api.events(of).await.map(drop),
    ];
    for error in errors {
        let error = error.expect_err("an environment that is not served");
        assert_eq!(
            (error.code, error.param.as_deref()),
            (ErrorCode::NotFound, Some("environment"))
        );
    }
}
