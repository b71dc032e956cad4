//! The network's configuration: what is published is in force, can be read back, compared and taken back. For an
//! administrator; the network has at least one model.

use crate::api::gate::{
    ApproveModel, DeprecateModel, DiffSnapshots, GateApi, InEnvironment, PriceModel, PublishSnapshot, RollBackSnapshot,
    SnapshotQuery,
};
use crate::credits::{Credits, Price};
use crate::error::ErrorCode;

/// Every promise, one after the other. What is in force at the end is what was in force before.
pub async fn all(api: &dyn GateApi) {
    what_is_published_is_in_force_and_can_be_taken_back(api).await;
    a_model_comes_changes_its_price_and_goes(api).await;
    what_makes_no_sense_is_refused(api).await;
}

/// Publishing takes the version that the offer was made from, and nothing is published twice.
pub async fn what_is_published_is_in_force_and_can_be_taken_back(api: &dyn GateApi) {
    let here = InEnvironment::default();
    let first = api.config(here).await.expect("a configuration");
    let version = first.summary.version;
    let mut offer = first.offer.clone();
    offer.jobs.max_attempts += 1;
    let would = api.diff_snapshots(DiffSnapshots::with_offer(offer.clone())).await;
    let would = would.expect("a comparison");
    assert_eq!((would.from, would.changes.len()), (version, 1));
    assert_eq!(would.changes[0].path, "jobs.max_attempts");
    let unchanged = api.config(here).await.expect("a configuration");
    assert_eq!(unchanged, first, "a comparison publishes nothing");

    let publish = PublishSnapshot::new(version, offer.clone(), "one more try");
    let published = api.publish_snapshot(publish.clone()).await.expect("a publication");
    assert_eq!(published.snapshot.version, version + 1);
    assert_eq!(published.changes, would.changes);
    let now = api.config(here).await.expect("a configuration");
    assert_eq!((now.summary.version, &now.offer), (version + 1, &offer));
    let again = api.publish_snapshot(publish).await.expect("a repeat");
    assert_eq!((again.snapshot.version, again.changes.len()), (version + 1, 0));
    let stale = PublishSnapshot::new(version, first.offer.clone(), "made from an old version");
    let stale = api.publish_snapshot(stale).await.expect_err("an old base");
    assert_eq!(stale.code, ErrorCode::Conflict, "{stale}");

    let back = api
        .roll_back_snapshot(RollBackSnapshot::new(version, "as it was"))
        .await;
    let back = back.expect("a way back").snapshot;
    assert_eq!((back.version, back.rolls_back), (version + 2, Some(version + 1)));
    let now = api.config(here).await.expect("a configuration");
    assert_eq!(now.offer, first.offer);
    let between = api.diff_snapshots(DiffSnapshots::between(version, version + 2)).await;
    assert_eq!(between.expect("a comparison").changes, []);

    let page = SnapshotQuery {
        limit: Some(2),
        ..SnapshotQuery::default()
    };
    let page = api.snapshots(page).await.expect("a page");
    let versions: Vec<_> = page.data.iter().map(|summary| summary.version).collect();
    assert_eq!(versions, [version + 2, version + 1]);
    assert_eq!(page.data[1].reason.as_deref(), Some("one more try"));
    let next = SnapshotQuery {
        after: Some(version + 1),
        ..SnapshotQuery::default()
    };
    let next = api.snapshots(next).await.expect("a page");
    assert_eq!(next.data[0].version, version);
    let earlier = api.snapshot(version + 1, here).await.expect("an earlier version");
    assert_eq!(earlier.offer, offer);
    let unknown = api.snapshot(version + 3, here).await.expect_err("no such version");
    assert_eq!(unknown.code, ErrorCode::NotFound);
}

/// The short ways to change a model. Names may hold slashes.
pub async fn a_model_comes_changes_its_price_and_goes(api: &dyn GateApi) {
    const NAME: &str = "contract/a model";
    let here = InEnvironment::default();
    let before = api.config(here).await.expect("a configuration").offer;
    let mut model = before.models[0].clone();
    NAME.clone_into(&mut model.name);
    model.aliases = Vec::new();
    let approved = api.approve_model(ApproveModel::new(model.clone(), "asked for")).await;
    assert_eq!(approved.expect("a model").changes.len(), 1);
    let price = Price {
        per_request: Credits::from_micros(7),
        ..Price::default()
    };
    let priced = api
        .price_model(NAME, PriceModel::new(price, "cheaper"))
        .await
        .expect("a price");
    assert!(!priced.changes.is_empty());
    let until = api.config(here).await.expect("a configuration").summary.created_at + 86_400;
    api.deprecate_model(NAME, DeprecateModel::at(until, "to be replaced"))
        .await
        .expect("an end in time");
    let now = api.config(here).await.expect("a configuration").offer;
    let listed = now
        .models
        .iter()
        .find(|listed| listed.name == NAME)
        .expect("it is still there");
    assert_eq!((listed.price, now.retiring[NAME].as_seconds()), (price, until));
    api.deprecate_model(NAME, DeprecateModel::now("gone"))
        .await
        .expect("an end at once");
    let now = api.config(here).await.expect("a configuration").offer;
    assert_eq!(now, before);
    for error in [
        api.deprecate_model(NAME, DeprecateModel::now("again"))
            .await
            .expect_err("it is gone"),
        api.price_model(NAME, PriceModel::new(price, "again"))
            .await
            .expect_err("it is gone"),
    ] {
        assert_eq!(error.code, ErrorCode::NotFound, "{error}");
    }
}

/// A bad configuration changes nothing, and the field is named.
pub async fn what_makes_no_sense_is_refused(api: &dyn GateApi) {
    let first = api.config(InEnvironment::default()).await.expect("a configuration");
    let version = first.summary.version;
    let mut twice = first.offer.clone();
    twice.models.push(twice.models[0].clone());
    let mut rounded = first.offer.clone();
    rounded.heartbeat_interval_ms = u64::MAX;
    let mut dear = first.offer.clone();
    dear.models[0].price.per_request = Credits::from_micros(-1);
    for (offer, param) in [
        (twice, format!("offer.models[{}]", first.offer.models.len())),
        (rounded, "offer".to_owned()),
        (dear, "offer.models[0].price.per_request".to_owned()),
    ] {
        let publish = PublishSnapshot::new(version, offer.clone(), "a mistake");
        for error in [
            api.publish_snapshot(publish).await.expect_err("a refusal"),
            api.diff_snapshots(DiffSnapshots::with_offer(offer))
                .await
                .expect_err("a refusal"),
        ] {
            assert_eq!(error.code, ErrorCode::InvalidValue, "{error}");
            assert_eq!(error.param.as_deref(), Some(param.as_str()), "{error}");
        }
    }
    let mut other = first.offer.clone();
    other.jobs.max_attempts += 1;
    for reason in ["", "  ", &"x".repeat(501)] {
        let publish = PublishSnapshot::new(version, other.clone(), reason);
        let error = api.publish_snapshot(publish).await.expect_err("no reason");
        assert_eq!(error.param.as_deref(), Some("reason"), "{error}");
    }
    let unknown = RollBackSnapshot::new(version + 9, "there is none");
    let unknown = api.roll_back_snapshot(unknown).await.expect_err("no such version");
    assert_eq!(unknown.code, ErrorCode::NotFound);
    let unclear = api
        .diff_snapshots(DiffSnapshots::default())
        .await
        .expect_err("with what?");
    assert_eq!(unclear.code, ErrorCode::InvalidValue);
    let now = api.config(InEnvironment::default()).await.expect("a configuration");
    assert_eq!(now, first, "nothing was published");
}
