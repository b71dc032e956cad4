use super::*;
use crate::models::demo_model;
use crate::models::manager::standing::TroubleKind;
use rstest::rstest;

const TESTNET: Environment = Environment::Testnet;
const MAINNET: Environment = Environment::Mainnet;
const HOUR: Duration = Duration::from_hours(1);

/// A model of so many bytes, in one file of its own.
fn model(name: &str, size: u64) -> ModelSpec {
    let mut model = demo_model();
    model.name = name.to_owned();
    model.aliases = vec![format!("{name}-alias")];
    model.files[0].name = format!("{name}.gguf");
    model.files[0].size = size;
    model
}

fn of_version(mut model: ModelSpec, version: &str) -> ModelSpec {
    model.version = version.to_owned();
    model.files[0].sha256 = version.repeat(64);
    model
}

struct World {
    machine: Machine,
    now: Timestamp,
}

impl World {
    fn new(serve: Serve) -> Self {
        Self::with(serve, 1)
    }

    fn with(serve: Serve, environments: usize) -> Self {
        let settings = Settings {
            serve,
            memory: 1000,
            disk: 1000,
            test_every: HOUR,
            environments,
            seed: 7,
        };
        Self {
            machine: Machine::new(settings),
            now: Timestamp::from_millis(1_700_000_000_000),
        }
    }

    /// What is to be done about it, in words.
    fn put(&mut self, input: Input) -> Vec<String> {
        let actions = self.machine.handle(input, self.now);
        let name = |id: EntryId| {
            let entry = self.machine.entries.iter().find(|entry| entry.id == id);
            entry.map_or("gone".to_owned(), |entry| {
                format!("{} {}", entry.spec.name, entry.spec.version)
            })
        };
        let word = |action: &Action| match action {
            Action::Fetch(id, _) => format!("fetch {}", name(*id)),
            Action::Load(id, ..) => format!("load {}", name(*id)),
            Action::Test(id, _) => format!("test {}", name(*id)),
            Action::Stop(id) => format!("stop {}", name(*id)),
            Action::Unload(id) => format!("unload {}", name(*id)),
            // Without the beginning of their checksums.
            Action::Sweep(kept) => format!(
                "keep {}",
                kept.iter().map(|name| &name[17..]).collect::<Vec<_>>().join(" ")
            ),
        };
        actions.iter().map(word).collect()
    }

    fn listed(&mut self, models: &[ModelSpec]) -> Vec<String> {
        self.put(Input::Listed(TESTNET, models.to_vec()))
    }

    /// The first that something is done to in this way.
    fn doing(&self, step: Step) -> EntryId {
        let mut all = self.machine.entries.iter();
        all.find(|entry| entry.doing() == Some(step)).unwrap().id
    }

    fn done(&mut self, step: Step) -> Vec<String> {
        let done = match step {
            Step::Fetch => Done::Fetched(vec!["file".into()]),
            Step::Load => Done::Loaded,
            Step::Test => Done::Tested,
        };
        let id = self.doing(step);
        self.put(Input::Ended(id, Ok(done)))
    }

    fn fails(&mut self, step: Step, kind: TroubleKind) -> Vec<String> {
        let id = self.doing(step);
        self.put(Input::Ended(id, Err(Trouble::new(kind, "as the test says"))))
    }

    fn later(&mut self, time: Duration) -> Vec<String> {
        self.now = self.now.after(time);
        self.put(Input::Tick)
    }

    fn state(&self, name: &str) -> Option<ModelState> {
        let mut all = self.machine.entries.iter().rev();
        all.find(|entry| entry.spec.name == name).map(Entry::state)
    }

    /// Everything until all of the models are in service.
    fn serve(&mut self, models: &[ModelSpec]) {
        self.listed(models);
        for _ in models {
            self.done(Step::Fetch);
            self.done(Step::Load);
            self.done(Step::Test);
        }
    }
}

#[test]
fn a_model_is_fetched_loaded_tested_and_then_served() {
    let mut world = World::new(Serve::WhatFits);
    assert_eq!(world.listed(&[model("a", 10)]), ["keep a.gguf", "fetch a q4_1"]);
    assert_eq!(world.state("a"), Some(ModelState::Pending));
    assert_eq!(world.done(Step::Fetch), ["load a q4_1"]);
    assert_eq!(world.done(Step::Load), ["test a q4_1"]);
    assert_eq!(
        (world.state("a"), world.machine.serving("a")),
        (Some(ModelState::Pending), None)
    );
    assert!(world.done(Step::Test).is_empty());
    assert_eq!(world.state("a"), Some(ModelState::Active));
    assert!(world.machine.serving("a").is_some() && world.machine.serving("a-alias").is_none());
    // The same again changes nothing.
    assert_eq!(world.listed(&[model("a", 10)]), ["keep a.gguf"]);
}

#[test]
fn one_is_fetched_and_one_is_loaded_or_tested_at_a_time() {
    let mut world = World::new(Serve::WhatFits);
    let models = [model("a", 10), model("b", 10), model("c", 10)];
    assert_eq!(world.listed(&models)[1..], ["fetch a q4_1"]);
    // The next is fetched while the first is loaded.
    let mut both = world.done(Step::Fetch);
    both.sort();
    assert_eq!(both, ["fetch b q4_1", "load a q4_1"]);
    assert_eq!(world.done(Step::Fetch), ["fetch c q4_1"]);
    assert_eq!(world.done(Step::Load), ["test a q4_1"]);
    assert_eq!(world.done(Step::Test), ["load b q4_1"]);
}

#[rstest]
#[case::source(Step::Fetch, TroubleKind::Source)]
#[case::mismatch(Step::Fetch, TroubleKind::Mismatch)]
#[case::disk(Step::Fetch, TroubleKind::DiskFull)]
#[case::load(Step::Load, TroubleKind::Load)]
#[case::test(Step::Test, TroubleKind::Test)]
fn what_fails_is_tried_again_later_and_later(#[case] step: Step, #[case] kind: TroubleKind) {
    let mut world = World::new(Serve::WhatFits);
    world.listed(&[model("a", 10)]);
    for before in [Step::Fetch, Step::Load, Step::Test] {
        if before == step {
            break;
        }
        world.done(before);
    }
    for expected in [30, 60] {
        assert!(world.fails(step, kind).is_empty());
        let entry = &world.machine.entries[0];
        assert_eq!(entry.state(), ModelState::Failed);
        assert_eq!(entry.trouble.as_ref().unwrap().kind, kind);
        let wait = entry.next().unwrap().since(world.now);
        let seconds = Duration::from_secs(expected);
        assert!(wait >= seconds && wait <= seconds * 3 / 2, "{wait:?}");
        assert_eq!(world.machine.deadline(world.now), entry.next());
        assert!(world.later(seconds / 2).is_empty());
        assert_eq!(world.later(seconds).len(), 1);
        assert_eq!(world.state("a"), Some(ModelState::Failed), "until it is well");
    }
    // It gets well in the end.
    let mut next = step;
    loop {
        world.done(next);
        next = match next {
            Step::Fetch => Step::Load,
            Step::Load => Step::Test,
            Step::Test => break,
        };
    }
    assert_eq!(world.state("a"), Some(ModelState::Active));
}

#[test]
fn other_sources_are_tried_at_once() {
    let mut world = World::new(Serve::WhatFits);
    let mut model = model("a", 10);
    world.listed(std::slice::from_ref(&model));
    world.fails(Step::Fetch, TroubleKind::Source);
    // The same ones are not.
    assert_eq!(world.listed(std::slice::from_ref(&model)), ["keep a.gguf"]);
    model.files[0].sources.remove(0);
    assert_eq!(world.listed(&[model]), ["keep a.gguf", "fetch a q4_1"]);
}

#[test]
fn a_download_goes_on_from_other_sources_when_they_change() {
    let mut world = World::new(Serve::WhatFits);
    let mut model = model("a", 10);
    world.listed(std::slice::from_ref(&model));
    assert_eq!(world.listed(std::slice::from_ref(&model)), ["keep a.gguf"]);
    model.files[0].sources.remove(0);
    assert_eq!(world.listed(&[model]), ["stop a q4_1", "keep a.gguf", "fetch a q4_1"]);
}

#[test]
fn other_sources_are_nothing_to_a_model_that_is_loaded() {
    let mut world = World::new(Serve::WhatFits);
    let mut model = model("a", 10);
    world.serve(std::slice::from_ref(&model));
    world.later(HOUR * 2);
    world.fails(Step::Test, TroubleKind::Test);
    model.files[0].sources.remove(0);
    assert_eq!(world.listed(&[model]), ["keep a.gguf"]);
    assert_eq!(world.later(HOUR), ["test a q4_1"]);
}

#[test]
fn what_is_lost_is_fetched_again_at_once_and_then_later_and_later() {
    let mut world = World::new(Serve::WhatFits);
    world.listed(&[model("a", 10)]);
    world.done(Step::Fetch);
    let lost = |world: &mut World| {
        let id = world.doing(Step::Load);
        world.put(Input::Ended(id, Ok(Done::Lost)))
    };
    assert_eq!(lost(&mut world), ["fetch a q4_1"]);
    assert!(world.machine.entries[0].files.is_empty());
    assert_eq!(world.done(Step::Fetch), ["load a q4_1"]);
    assert!(lost(&mut world).is_empty());
    assert_eq!(world.later(Duration::from_mins(1)), ["fetch a q4_1"]);
    world.done(Step::Fetch);
    world.done(Step::Load);
    world.done(Step::Test);
    assert_eq!(world.state("a"), Some(ModelState::Active));
}

#[test]
fn waits_have_an_end() {
    let waits: Vec<_> = (1..40).map(backoff).collect();
    assert!(waits.is_sorted());
    assert_eq!((waits[0], waits[38]), (FIRST_WAIT, LONGEST_WAIT));
}

#[test]
fn an_active_model_is_tested_now_and_then_and_stays_in_service_meanwhile() {
    let mut world = World::new(Serve::WhatFits);
    world.serve(&[model("a", 10)]);
    assert!(world.later(HOUR / 2).is_empty());
    assert_eq!(world.later(HOUR), ["test a q4_1"]);
    assert_eq!(world.state("a"), Some(ModelState::Active));
    world.done(Step::Test);
    // One that fails gets no jobs until it passes; after some failures it is loaded anew.
    assert_eq!(world.later(HOUR * 2), ["test a q4_1"]);
    assert!(world.fails(Step::Test, TroubleKind::Test).is_empty());
    assert_eq!(
        (world.state("a"), world.machine.serving("a")),
        (Some(ModelState::Failed), None)
    );
    assert_eq!(world.later(HOUR), ["test a q4_1"]);
    world.fails(Step::Test, TroubleKind::Test);
    world.later(HOUR);
    assert_eq!(world.fails(Step::Test, TroubleKind::Test), ["unload a q4_1"]);
    assert_eq!(world.later(HOUR), ["load a q4_1"]);
    world.done(Step::Load);
    world.done(Step::Test);
    assert_eq!(world.state("a"), Some(ModelState::Active));
}

#[test]
fn tests_of_many_nodes_are_spread() {
    let at = |seed: u64| {
        let mut world = World::new(Serve::WhatFits);
        world.machine.noise = seed;
        world.serve(&[model("a", 10)]);
        world.machine.entries[0].next().unwrap().since(world.now)
    };
    let times: Vec<_> = (0..20).map(at).collect();
    assert!(
        times.iter().all(|time| *time >= HOUR * 3 / 4 && *time <= HOUR * 5 / 4),
        "{times:?}"
    );
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(*last > *first + HOUR / 4, "{times:?}");
}

#[test]
fn what_is_not_listed_any_more_is_out_of_service_at_once_and_its_files_go() {
    let mut world = World::new(Serve::WhatFits);
    world.serve(&[model("a", 10), model("b", 10)]);
    assert_eq!(world.listed(&[model("b", 10)]), ["unload a q4_1", "keep b.gguf"]);
    assert_eq!(
        (world.state("a"), world.machine.serving("a")),
        (Some(ModelState::Archived), None)
    );
    // With the next snapshot it is forgotten; if it comes back it begins anew.
    assert_eq!(world.listed(&[model("b", 10), model("a", 10)])[1..], ["fetch a q4_1"]);
    assert_eq!(world.machine.entries.len(), 2);
}

#[test]
fn what_is_being_done_to_a_model_that_goes_is_stopped_and_counts_no_more() {
    for step in [Step::Fetch, Step::Load, Step::Test] {
        let mut world = World::new(Serve::WhatFits);
        world.listed(&[model("a", 10)]);
        for before in [Step::Fetch, Step::Load] {
            if before == step {
                break;
            }
            if step != Step::Fetch {
                world.done(before);
            }
        }
        let id = world.doing(step);
        let out = world.listed(&[]);
        assert_eq!(out[0], "stop a q4_1");
        assert_eq!(out.contains(&"unload a q4_1".to_owned()), step != Step::Fetch);
        for outcome in [Ok(Done::Tested), Err(Trouble::new(TroubleKind::Test, "late"))] {
            assert!(world.put(Input::Ended(id, outcome)).is_empty());
            assert_eq!(world.state("a"), Some(ModelState::Archived));
        }
    }
}

#[test]
fn another_version_takes_the_place_of_the_one_before() {
    let mut world = World::new(Serve::WhatFits);
    let (old, new) = (of_version(model("a", 10), "1"), of_version(model("a", 10), "2"));
    world.serve(std::slice::from_ref(&old));
    assert_eq!(
        world.listed(std::slice::from_ref(&new)),
        ["unload a 1", "keep a.gguf", "fetch a 2"]
    );
    assert_eq!(world.machine.serving("a"), None);
    world.done(Step::Fetch);
    world.done(Step::Load);
    world.done(Step::Test);
    let serving = world.machine.serving("a").unwrap();
    let entry = world.machine.entries.iter().find(|entry| entry.id == serving).unwrap();
    assert_eq!(entry.spec.version, "2");
}

#[test]
fn a_price_changes_nothing_and_another_test_prompt_is_asked() {
    let mut world = World::new(Serve::WhatFits);
    world.serve(&[model("a", 10)]);
    let mut dearer = model("a", 10);
    dearer.price.per_request = resultity_core::credits::Credits::from_whole(7);
    assert_eq!(world.listed(&[dearer]), ["keep a.gguf"]);
    let mut asked = model("a", 10);
    asked.test_prompt = "Something else?".to_owned();
    assert_eq!(world.listed(&[asked]), ["keep a.gguf", "test a q4_1"]);
    assert_eq!(world.state("a"), Some(ModelState::Active));
}

#[rstest]
// Memory: a quarter more than the files.
#[case::all_fit(Serve::WhatFits, &[300, 300], &["pending", "pending"])]
#[case::too_large(Serve::WhatFits, &[900, 300], &["memory", "pending"])]
#[case::not_beside(Serve::WhatFits, &[700, 300], &["pending", "memory"])]
#[case::named(Serve::Named(vec!["m1-alias".into()]), &[10, 10], &["not chosen", "pending"])]
#[case::named_is_tried(Serve::Named(vec!["m0".into()]), &[5000, 10], &["pending", "not chosen"])]
#[case::nobody(Serve::Named(vec![]), &[10], &["not chosen"])]
fn what_fits_or_was_named_is_served(#[case] serve: Serve, #[case] sizes: &[u64], #[case] expected: &[&str]) {
    let mut world = World::new(serve);
    let models: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(index, size)| model(&format!("m{index}"), *size))
        .collect();
    world.listed(&models);
    let all = world.machine.entries().iter().map(|entry| match entry.left_out() {
        None => "pending",
        Some(LeftOut::Memory) => "memory",
        Some(LeftOut::NotChosen) => "not chosen",
        Some(LeftOut::Disk) => "disk",
        Some(LeftOut::Removed) => "removed",
    });
    assert_eq!(all.collect::<Vec<_>>(), expected);
    let inactive = expected.iter().filter(|state| **state != "pending").count();
    let states = world.machine.entries().iter().map(Entry::state);
    assert_eq!(states.filter(|state| *state == ModelState::Inactive).count(), inactive);
}

#[test]
fn what_is_there_stays_when_more_is_listed() {
    let mut world = World::new(Serve::WhatFits);
    world.serve(&[model("a", 500)]);
    world.listed(&[model("b", 500), model("a", 500)]);
    assert_eq!(world.state("a"), Some(ModelState::Active));
    assert_eq!(world.machine.entries()[0].left_out(), Some(LeftOut::Memory));
    // When it goes there is room.
    let out = world.listed(&[model("b", 500)]);
    assert!(out.contains(&"fetch b q4_1".to_owned()), "{out:?}");
}

#[test]
fn what_was_removed_by_hand_is_not_served_until_it_is_wanted_again() {
    let mut world = World::new(Serve::WhatFits);
    world.serve(&[model("a", 10)]);
    assert_eq!(world.put(Input::Unwanted(["a".to_owned()].into())), ["unload a q4_1"]);
    assert_eq!(
        (world.state("a"), world.machine.serving("a")),
        (Some(ModelState::Inactive), None)
    );
    assert_eq!(world.listed(&[model("a", 10)]), ["keep a.gguf"]);
    assert_eq!(world.put(Input::Unwanted(BTreeSet::new())), ["fetch a q4_1"]);
}

#[test]
fn in_two_networks_no_file_goes_before_both_have_said_what_they_list() {
    let mut world = World::with(Serve::WhatFits, 2);
    assert_eq!(world.listed(&[model("a", 10)]), ["fetch a q4_1"]);
    let both = world.put(Input::Listed(MAINNET, vec![model("b", 10)]));
    assert_eq!(both, ["keep a.gguf b.gguf"]);
    // What one of them does not list the other may.
    let out = world.put(Input::Listed(MAINNET, vec![model("a", 10)]));
    assert_eq!(out, ["keep a.gguf"]);
    assert_eq!(world.state("a"), Some(ModelState::Pending));
}

#[test]
fn what_has_no_files_is_left_to_engines() {
    let mut world = World::new(Serve::WhatFits);
    let mut external = model("a", 10);
    external.files.clear();
    assert_eq!(world.listed(&[external]), ["keep "]);
    assert!(world.machine.entries().is_empty());
}

#[test]
fn after_a_restart_all_are_tested() {
    let mut world = World::new(Serve::WhatFits);
    world.serve(&[model("a", 10), model("b", 10)]);
    assert_eq!(world.put(Input::Restarted), ["test a q4_1"]);
    assert_eq!(world.done(Step::Test), ["test b q4_1"]);
}
