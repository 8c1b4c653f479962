//! Random events against what must always hold.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::coordinator::{
    member::{Fitness, Member},
    pool::PoolState,
};

const BACKENDS: [&str; 6] = ["b1", "b2", "b3", "b4", "b5", "b6"];
const POOLS: [&str; 2] = ["text", "upload"];

#[derive(Clone, Debug)]
enum Step {
    Verdict {
        nth: usize,
        up: bool,
    },
    Way {
        nth: usize,
        found: bool,
    },
    Wish {
        backend: usize,
        pool: Option<usize>,
        change: Change,
        lasts: Option<u64>,
        force: bool,
        dry_run: bool,
    },
    Reload(Vec<PoolShape>),
    Pass(u64),
}

/// A pool of a random configuration; per backend `None`, or its wish, weight, and whether it has another address.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "what a file may say, each alone")]
struct PoolShape {
    backends: Vec<Option<(Pooled, u32, bool)>>,
    fraction: f64,
    by_weight: bool,
    optimistic: bool,
    checks: usize,
    any: bool,
    allow_empty: bool,
}

fn wish() -> impl Strategy<Value = Pooled> {
    prop_oneof![6 => Just(Pooled::Yes), 1 => Just(Pooled::No), 1 => Just(Pooled::Inactive)]
}

fn shape() -> impl Strategy<Value = PoolShape> {
    let one = prop::option::weighted(
        0.6,
        (wish(), prop_oneof![Just(0), Just(1), Just(10)], prop::bool::weighted(0.1)),
    );
    let fraction = prop_oneof![Just(0.1), Just(0.3), Just(0.5), Just(0.8), Just(1.0)];
    let flags =
        (any::<bool>(), prop::bool::weighted(0.2), 0..3_usize, any::<bool>(), prop::bool::weighted(0.2));
    (vec(one, BACKENDS.len()), fraction, flags).prop_map(|(backends, fraction, flags)| {
        let (by_weight, optimistic, checks, any, allow_empty) = flags;
        PoolShape { backends, fraction, by_weight, optimistic, checks, any, allow_empty }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let change = prop_oneof![
        wish().prop_map(|pooled| Change::Pooled { pooled }),
        prop::option::of(0..20_u32).prop_map(|w| Change::Weight { weight: w.map(|w| w.try_into().unwrap()) }),
    ];
    let lasts = prop::option::of(1..100_u64);
    let command = (
        0..BACKENDS.len(),
        prop::option::of(0..POOLS.len()),
        change,
        lasts,
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    );
    prop_oneof![
        8 => (0..64_usize, any::<bool>()).prop_map(|(nth, up)| Step::Verdict { nth, up }),
        4 => (0..64_usize, prop::bool::weighted(0.7)).prop_map(|(nth, found)| Step::Way { nth, found }),
        4 => command.prop_map(|(backend, pool, change, lasts, force, dry_run)| {
            Step::Wish { backend, pool, change, lasts, force, dry_run }
        }),
        2 => vec(shape(), 1..=POOLS.len()).prop_map(Step::Reload),
        1 => (1..60_u64).prop_map(Step::Pass),
    ]
}

fn build(shapes: &[PoolShape]) -> Config {
    let one = |(name, shape): (&&str, &PoolShape)| {
        let mut pool = pool(name, &[]);
        for (backend_name, wanted) in BACKENDS.iter().zip(&shape.backends) {
            if let Some((pooled, weight, moved)) = wanted {
                let mut backend = backend(backend_name);
                (backend.pooled, backend.weight) = (*pooled, (*weight).try_into().unwrap());
                if *moved {
                    backend.address = address(&format!("{backend_name}0"));
                }
                pool.backends.insert(backend.name.clone(), Arc::new(backend));
            }
        }
        pool.threshold = Threshold { fraction: shape.fraction, by_weight: shape.by_weight };
        pool.checks = ["tcp", "http"].iter().take(shape.checks).map(|name| check(name)).collect();
        pool.combine = if shape.any { Combine::Any } else { Combine::All };
        (pool.optimistic, pool.allow_empty) = (shape.optimistic, shape.allow_empty);
        pool
    };
    let mut config = config(POOLS.iter().zip(shapes).map(one).collect());
    // A service that follows the last pool there is.
    let roaming = service("roaming", POOLS[shapes.len() - 1]);
    config.services.insert(roaming.name.clone(), Arc::new(roaming));
    config
}

/// Backends with new connections per service.
fn serving(world: &mut World) -> BTreeMap<String, usize> {
    let desired = world.desired();
    let count = |pool: &crate::model::PoolName| {
        desired.pools[pool].backends.values().filter(|b| b.disposition.takes_new()).count()
    };
    desired.services.iter().map(|(name, service)| (name.to_string(), count(&service.pool))).collect()
}

fn holds(pool: &PoolState, name: &str, member: &Member, leaving: bool, world: &World) {
    let fit = member.fitness == Fitness::Fit;
    let failing = member.fitness.why_unfit().is_some();
    match member.disposition {
        Disposition::Serving => {
            assert!(member.wish.enabled(), "{name} serves though nobody wants it");
            assert!(!failing, "{name} serves though it fails");
            let known = member.next_hop(&world.state.facts).is_some();
            assert!(known || ["b1", "b2", "b3"].contains(&name), "{name} serves without a way");
        }
        Disposition::Held => {
            let threshold = failing && !pool.tally.may_depool(pool.config.threshold);
            assert!(threshold || member.lingering || leaving, "{name} is held for nothing");
        }
        Disposition::Draining | Disposition::Down | Disposition::Out => {
            assert!(!(fit && member.wish.enabled()), "{name} could serve");
            assert!(!leaving, "{name} should be gone");
        }
    }
}

fn check_world(world: &mut World) {
    let desired = world.desired();
    for (pool_name, pool) in &world.state.pools {
        for (name, member) in &pool.members {
            holds(pool, name.as_str(), member, false, world);
            if pool.leaving.contains_key(name) || !member.watched() {
                continue;
            }
            let wanted = &desired.pools[pool_name].backends[name];
            assert_eq!((wanted.weight, wanted.disposition), (member.wish.weight, member.disposition));
            let id = pool.id(name);
            let entry = world.state.overrides.get(&id);
            let weight = entry.and_then(|e| e.weight.as_ref()).map_or(member.configured.weight, |s| s.value);
            assert_eq!(wanted.weight, weight);
        }
        for (name, member) in &pool.leaving {
            holds(pool, name.as_str(), member, true, world);
            assert_eq!(desired.pools[pool_name].backends[name].address, member.address());
        }
    }
    // Looking again, and the same file again, change nothing.
    if let Some(current) = world.state.config.clone() {
        assert!(world.reload((*current).clone()).unwrap().is_empty());
        assert!(world.effects.is_empty());
    }
    let names: Vec<_> = world.state.pools.keys().cloned().collect();
    for name in names {
        let mut pool = world.state.pools[&name].clone();
        let settled = pool.settle(&world.state.facts, &world.state.overrides, world.now.wall);
        assert!(settled.lines.is_empty() && !settled.gone, "{:?}", settled.lines);
    }
    assert_eq!(*world.desired(), *desired);
}

/// Returns whether the step may empty a pool.
fn take(world: &mut World, step: Step) -> bool {
    match step {
        Step::Verdict { nth, up } => {
            let mut targets: Vec<_> = world.targets.iter().cloned().collect();
            targets.sort_by_key(|t| (t.address, t.spec.name.clone()));
            if !targets.is_empty() {
                let target = targets.swap_remove(nth % targets.len());
                world.verdict(target, if up { Verdict::Up } else { Verdict::Down });
            }
        }
        Step::Way { nth, found } => {
            let addresses: Vec<_> = world.addresses.iter().copied().collect();
            if !addresses.is_empty() {
                let address = addresses[nth % addresses.len()];
                world.resolve(address, if found { Ok(hop(address)) } else { Err("no answer".into()) });
            }
        }
        Step::Wish { backend, pool, change, lasts, force, dry_run } => {
            let mut command = command(BACKENDS[backend], change);
            command.selector.pool = pool.map(|pool| POOLS[pool].parse().unwrap());
            command.lasts = lasts.map(Duration::from_secs);
            (command.force, command.dry_run) = (force, dry_run);
            let before = world.desired();
            let leaves = |pool: &PoolState| pool.leaving.contains_key(BACKENDS[backend]);
            let gone = world.state.pools.values().any(leaves);
            let result = world.run(&command);
            if dry_run || result.is_err() {
                assert_eq!(world.desired(), before);
            }
            if result.is_ok() && !dry_run {
                let again = world.run(&Command { lasts: None, ..command });
                // What left the configuration and was told to go is not there any more.
                assert!(again.is_ok_and(|outcomes| outcomes.iter().all(|o| !o.changed)) || gone);
            }
            return force && !dry_run;
        }
        Step::Reload(shapes) => {
            let before = world.desired();
            let (preview, config) = (build(&shapes), build(&shapes));
            let expected = world.state.preview(&Arc::new(preview), world.now);
            let result = world.reload(config);
            assert_eq!(result, expected);
            if result.is_err() {
                assert_eq!(world.desired(), before);
            }
            return shapes
                .iter()
                .any(|shape| shape.allow_empty && shape.backends.iter().all(Option::is_none));
        }
        Step::Pass(seconds) => world.pass(seconds),
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_service_that_serves_goes_on_serving(first in vec(shape(), 1..=2), steps in vec(step(), 1..80)) {
        let found = |name: &str| AdoptedBackend {
                method: Method::Dr,
                gue_port: GUE_PORT,
                server_id: None,
            address: address(name),
            weight: Weight::default(),
            disposition: Disposition::Serving,
        };
        let ids = ["b1", "b2", "b3"].map(|name| {
            (BackendId { pool: "text".parse().unwrap(), backend: name.parse().unwrap() }, found(name))
        });
        let mut world = World::empty(Overrides::default(), ids.into());
        world.reload(build(&first)).unwrap();
        let meant = first[0].allow_empty && first[0].backends.iter().all(Option::is_none);
        assert!(meant || serving(&mut world)["text"] > 0, "a restart emptied the pool");
        check_world(&mut world);
        for step in steps {
            let before = serving(&mut world);
            let may_empty = take(&mut world, step.clone());
            let after = serving(&mut world);
            for (service, count) in before {
                let now = after.get(&service).copied();
                assert!(
                    count == 0 || may_empty || now != Some(0),
                    "{step:?} took everything from {service}; it had {count}: {:?}", world.log
                );
            }
            check_world(&mut world);
        }
    }
}
