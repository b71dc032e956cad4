use resultity_core::clock::{ManualClock, SeededEntropy};
use rstest::rstest;

use super::*;

const TOKENS: u64 = 10;

struct World {
    limits: Limits,
    clock: Arc<ManualClock>,
    key: KeyId,
    other_key: KeyId,
    namespace: NamespaceId,
    other_namespace: NamespaceId,
}

impl World {
    fn new(change: impl FnOnce(&mut LimitParameters)) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
        let entropy = SeededEntropy::new(1);
        let mut parameters = LimitParameters::default();
        change(&mut parameters);
        Self {
            limits: Limits::new(parameters, Arc::clone(&clock) as Arc<dyn Clock>),
            key: KeyId::new(&*clock, &entropy),
            other_key: KeyId::new(&*clock, &entropy),
            namespace: NamespaceId::new(&*clock, &entropy),
            other_namespace: NamespaceId::new(&*clock, &entropy),
            clock,
        }
    }

    fn ask(&self, tokens: u64) -> Result<RateLimits, ApiError> {
        self.ask_as(self.key, self.namespace, Endpoint::ChatCompletions, tokens)
    }

    fn ask_as(
        &self,
        key: KeyId,
        namespace: NamespaceId,
        endpoint: Endpoint,
        tokens: u64,
    ) -> Result<RateLimits, ApiError> {
        self.limits
            .admit(key, namespace, &KeyLimits::default(), endpoint, tokens)
    }
}

fn rates(requests: u32, tokens: u32, burst_seconds: u32) -> Rates {
    let number = |number| NonZeroU32::new(number).unwrap();
    Rates::new(number(requests), number(tokens)).burst_seconds(number(burst_seconds))
}

#[test]
fn the_default_never_refuses_a_thousand_small_requests_in_a_second() {
    let world = World::new(|_| ());
    for _ in 0..1000 {
        world.ask(4096).unwrap();
    }
    for _ in 0..1000 {
        world.limits.touch(world.key).unwrap();
    }
}

#[rstest]
#[case::key(|parameters: &mut LimitParameters, rates| parameters.key = rates, "this API key")]
#[case::namespace(|parameters: &mut LimitParameters, rates| parameters.namespace = rates, "this namespace")]
#[case::network(|parameters: &mut LimitParameters, rates| parameters.network = rates, "the whole network")]
fn each_limit_refuses_by_name_and_lets_through_again_after_the_wait(
    #[case] set: fn(&mut LimitParameters, Rates),
    #[case] whose: &str,
    #[values(true, false)] of_requests: bool,
) {
    // Three requests at once, or three times as many tokens as one needs; one more every second.
    let rates = if of_requests {
        rates(60, 100_000, 3)
    } else {
        rates(1000, 600, 3)
    };
    let world = World::new(|parameters| set(parameters, rates));
    for left in (0..3).rev() {
        let limits = world.ask(TOKENS).unwrap();
        let (limit, remaining, reset) = if of_requests {
            (limits.limit_requests, limits.remaining_requests, limits.reset_requests)
        } else {
            (
                limits.limit_tokens / TOKENS,
                limits.remaining_tokens / TOKENS,
                limits.reset_tokens,
            )
        };
        assert_eq!((limit, remaining, reset), (3, left, Duration::from_secs(3 - left)));
    }
    world.clock.advance(Duration::from_millis(100));
    let error = world.ask(TOKENS).unwrap_err();
    assert_eq!(error.code, ErrorCode::RateLimitExceeded);
    assert_eq!(error.retry_after, Some(Duration::from_secs(1)));
    let name = if of_requests { "requests" } else { "tokens" };
    assert!(
        error
            .message
            .starts_with(&format!("too many {name} for now: the limit of {whose} is")),
        "{error}"
    );
    let limits = error.rate_limits.unwrap();
    let (remaining, reset) = if of_requests {
        (limits.remaining_requests, limits.reset_requests)
    } else {
        (limits.remaining_tokens / TOKENS, limits.reset_tokens)
    };
    assert_eq!((remaining, reset), (0, Duration::from_millis(2900)));

    world.clock.advance(Duration::from_secs(1));
    world.ask(TOKENS).unwrap();
    world.ask(TOKENS).unwrap_err();
    world.clock.advance(Duration::from_hours(1));
    for _ in 0..3 {
        world.ask(TOKENS).unwrap();
    }
    world.ask(TOKENS).unwrap_err();
}

#[test]
fn a_refusal_takes_nothing_from_any_limit() {
    let world = World::new(|parameters| {
        parameters.key = rates(60, 600, 10);
        parameters.namespace = rates(60, 60_000, 5);
    });
    for _ in 0..5 {
        world.ask(1).unwrap();
    }
    // The namespace refuses; the key keeps what it has.
    for _ in 0..100 {
        let error = world.ask(1).unwrap_err();
        assert!(error.message.contains("this namespace"), "{error}");
    }
    let elsewhere = world.ask_as(world.key, world.other_namespace, Endpoint::ChatCompletions, 1);
    let limits = elsewhere.unwrap();
    assert_eq!((limits.remaining_requests, limits.remaining_tokens), (4, 94));
    // The tokens of the key refuse; its requests and the namespace keep what they have.
    world.clock.advance(Duration::from_secs(2));
    world.ask(60).unwrap();
    let before = world.ask(60).unwrap_err().rate_limits.unwrap();
    assert_eq!(world.ask(60).unwrap_err().rate_limits.unwrap(), before);
    world.ask(1).unwrap();
}

#[test]
fn a_request_larger_than_the_burst_is_told_so_and_not_to_wait() {
    let world = World::new(|parameters| parameters.key = rates(60, 600, 10));
    let error = world.ask(101).unwrap_err();
    assert_eq!((error.code, error.retry_after), (ErrorCode::RateLimitExceeded, None));
    assert!(error.message.contains("may need 101 tokens"), "{error}");
    assert!(error.message.contains("no more than 100 at once"), "{error}");
    assert_eq!(error.rate_limits.unwrap().remaining_tokens, 100);
    world.ask(100).unwrap();
    world.ask(u64::MAX).unwrap_err();
}

#[test]
fn another_key_and_another_namespace_are_not_affected() {
    let world = World::new(|parameters| {
        parameters.key = rates(60, 6000, 1);
        parameters.namespace = rates(60, 6000, 2);
    });
    world.ask(1).unwrap();
    world.ask(1).unwrap_err();
    let chat = Endpoint::ChatCompletions;
    world.ask_as(world.other_key, world.namespace, chat, 1).unwrap();
    let third = KeyId::new(&*world.clock, &SeededEntropy::new(2));
    let error = world.ask_as(third, world.namespace, chat, 1).unwrap_err();
    assert!(error.message.contains("this namespace"), "{error}");
    world.ask_as(third, world.other_namespace, chat, 1).unwrap();
}

#[test]
fn endpoints_share_a_limit_unless_one_has_its_own() {
    let world = World::new(|parameters| {
        parameters.key = rates(60, 6000, 2);
        parameters.endpoints.insert(Endpoint::Embeddings, rates(60, 6000, 1));
    });
    let ask = |endpoint| world.ask_as(world.key, world.namespace, endpoint, 1);
    ask(Endpoint::ChatCompletions).unwrap();
    ask(Endpoint::Responses).unwrap();
    ask(Endpoint::Completions).unwrap_err();
    ask(Endpoint::Embeddings).unwrap();
    let error = ask(Endpoint::Embeddings).unwrap_err();
    assert!(error.message.contains("this API key at /v1/embeddings"), "{error}");
}

#[rstest]
#[case::raised(Some(600), None, false, 10, 100)]
#[case::lowered(Some(60), Some(600), false, 1, 10)]
#[case::own_endpoint_is_never_raised(Some(60_000), Some(60_000), true, 3, 50)]
#[case::own_endpoint_is_lowered(Some(60), Some(600), true, 1, 10)]
fn a_key_with_its_own_numbers(
    #[case] requests: Option<u32>,
    #[case] tokens: Option<u32>,
    #[case] has_own_endpoint: bool,
    #[case] limit_requests: u64,
    #[case] limit_tokens: u64,
) {
    let world = World::new(|parameters| {
        parameters.key = rates(300, 6000, 1);
        if has_own_endpoint {
            parameters.endpoints.insert(Endpoint::Completions, rates(180, 3000, 1));
        }
    });
    let overrides = KeyLimits {
        requests_per_minute: requests.and_then(NonZeroU32::new),
        tokens_per_minute: tokens.and_then(NonZeroU32::new),
        ..KeyLimits::default()
    };
    let admitted = world
        .limits
        .admit(world.key, world.namespace, &overrides, Endpoint::Completions, 1);
    let limits = admitted.unwrap();
    assert_eq!(
        (limits.limit_requests, limits.limit_tokens),
        (limit_requests, limit_tokens)
    );
}

#[test]
fn reads_are_counted_apart() {
    let world = World::new(|parameters| {
        parameters.key = rates(1, 60, 1);
        parameters.reads_per_minute = NonZeroU32::new(2).unwrap();
    });
    world.ask(1).unwrap();
    world.limits.touch(world.key).unwrap();
    world.limits.touch(world.key).unwrap();
    let error = world.limits.touch(world.key).unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_secs(30)));
    world.limits.touch(world.other_key).unwrap();
}

#[test]
fn a_clock_that_is_set_back_locks_nobody_out() {
    #[derive(Debug)]
    struct Set(Mutex<Timestamp>);
    impl Clock for Set {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }
    }
    let start = Timestamp::from_millis(1_800_000_000_000);
    let clock = Arc::new(Set(Mutex::new(start)));
    let parameters = LimitParameters {
        key: rates(60, 6000, 2),
        ..LimitParameters::default()
    };
    let limits = Limits::new(parameters, Arc::clone(&clock) as Arc<dyn Clock>);
    let entropy = SeededEntropy::new(1);
    let (key, namespace) = (KeyId::new(&*clock, &entropy), NamespaceId::new(&*clock, &entropy));
    let ask = || limits.admit(key, namespace, &KeyLimits::default(), Endpoint::ChatCompletions, 1);
    ask().unwrap();
    ask().unwrap();
    *clock.0.lock().unwrap() = Timestamp::from_millis(0);
    ask().unwrap_err();
    *clock.0.lock().unwrap() = Timestamp::from_millis(1000);
    ask().unwrap();
}

#[test]
fn those_who_ask_no_more_are_forgotten() {
    let world = World::new(|parameters| {
        parameters.key = rates(60, 6000, 1);
        parameters.namespace = rates(60, 6000, 1);
    });
    let entropy = SeededEntropy::new(3);
    for _ in 0..10 * SWEEP_FROM {
        let (key, namespace) = (
            KeyId::new(&*world.clock, &entropy),
            NamespaceId::new(&*world.clock, &entropy),
        );
        world.ask_as(key, namespace, Endpoint::ChatCompletions, 1).unwrap();
        world.clock.advance(Duration::from_millis(10));
    }
    assert!(world.limits.state.lock().unwrap().used.len() <= SWEEP_FROM);
}
