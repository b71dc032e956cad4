//! Lines of nodes' logs.

use std::time::Duration;

use resultity_core::clock::Timestamp;
use resultity_core::environment::Environment::{Mainnet, Testnet};
use resultity_core::id::AccountId;
use resultity_core::wire::{LogField, LogLevel, LogLine};

use super::Scenario;
use super::world::{World, node};
use crate::store::node_logs::{NewNodeLogs, NodeLogFilter, NodeLogRecord};
use crate::store::webhooks::PageOf;

pub(super) const SCENARIOS: [(&str, Scenario); 1] = [("lines of a node are bounded, and its owner's alone", |world| {
    Box::pin(lines_of_a_node_are_bounded_and_its_owners_alone(world))
})];

const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + millis)
}

fn line(number: u32, level: LogLevel) -> LogLine {
    LogLine {
        time: at(i64::from(number)),
        level,
        job_id: None,
        message: format!("line {number}"),
        fields: [("number".to_owned(), LogField::from(u64::from(number)))].into(),
    }
}

async fn read(world: &World, change: impl FnOnce(&mut NodeLogFilter)) -> Vec<NodeLogRecord> {
    let mut filter = NodeLogFilter {
        node: node(1),
        environment: Testnet,
        account: Some(world.key.account),
        level: None,
        job: None,
        page: PageOf {
            after: None,
            ascending: true,
            limit: 100,
        },
    };
    change(&mut filter);
    world.store.node_logs(filter).await.expect("the database answers")
}

async fn lines_of_a_node_are_bounded_and_its_owners_alone(world: &World) {
    let keep = |from: u32, until: u32, level: LogLevel, now: i64| {
        let logs = NewNodeLogs {
            node: node(1),
            environment: Testnet,
            account: world.key.account,
            lines: (from..until).map(|number| line(number, level)).collect(),
            most: 10,
            now: at(now),
        };
        async move { world.store.keep_node_logs(logs).await.expect("the database answers") }
    };
    keep(0, 6, LogLevel::Info, 10).await;
    keep(6, 14, LogLevel::Warn, 20).await;
    let all = read(world, |_| ()).await;
    let messages: Vec<_> = all.iter().map(|record| record.line.message.as_str()).collect();
    let expected: Vec<_> = (4..14).map(|number| format!("line {number}")).collect();
    assert_eq!(messages, expected, "the oldest go");
    assert_eq!(all[0].line, line(4, LogLevel::Info));
    assert_eq!(all[0].received, at(10));

    let after = all[2].number;
    let part = read(world, |filter| {
        filter.page.after = Some(after);
        filter.page.limit = 2;
    });
    assert_eq!(part.await, all[3..5]);
    let newest = read(world, |filter| {
        filter.page.ascending = false;
        filter.page.limit = 1;
    });
    assert_eq!(newest.await, all[9..]);
    let grave = read(world, |filter| filter.level = Some(LogLevel::Warn));
    assert_eq!(grave.await.len(), 8);

    for nothing in [
        read(world, |filter| filter.environment = Mainnet).await,
        read(world, |filter| filter.node = node(2)).await,
        read(world, |filter| {
            filter.account = Some(AccountId::new(&world.clock, &world.entropy));
        })
        .await,
    ] {
        assert!(nothing.is_empty(), "{nothing:?}");
    }
    let cut = at(10).after(Duration::from_millis(5));
    assert_eq!(
        world
            .store
            .forget_node_logs(cut, 1)
            .await
            .expect("the database answers"),
        1
    );
    assert_eq!(
        world
            .store
            .forget_node_logs(cut, 100)
            .await
            .expect("the database answers"),
        1
    );
    assert_eq!(
        world
            .store
            .forget_node_logs(cut, 100)
            .await
            .expect("the database answers"),
        0
    );
    assert_eq!(read(world, |_| ()).await.len(), 8);
}
