use super::*;
use crate::{
    api::types::{TopBackend, TopService},
    datapath::Connections,
    model::Disposition,
};

fn traffic(n: u64) -> Traffic {
    Traffic { packets: n, bytes: n * 100, connections: n / 10, ..Traffic::default() }
}

fn top(at: f64, n: u64) -> Top {
    let backend = |name: &str, n, exact| TopBackend {
        pool: "p".into(),
        name: name.into(),
        state: (name != "old").then_some(Disposition::Serving),
        share: 0.5,
        traffic: traffic(n),
        connections: Connections { active: 12, inactive: 3, exact },
    };
    Top {
        at,
        services: vec![
            TopService { name: "idle".into(), pool: "p".into(), traffic: traffic(7) },
            TopService { name: "busy".into(), pool: "p".into(), traffic: traffic(n) },
        ],
        backends: vec![backend("a", n / 4, true), backend("b", n, false), backend("old", 3, true)],
        dropped: n / 100,
    }
}

#[test]
fn rates_are_differences_by_time_and_the_busiest_comes_first() {
    let rates = Rates::between(&top(10.0, 1_000), &top(12.0, 5_000));
    assert!((rates.services[0].packets - 2_000.0).abs() < 1e-6 && rates.services[0].name == "busy");
    assert!((rates.services[0].bits - 1_600_000.0).abs() < 1e-3);
    assert!((rates.backends[0].connections - 200.0).abs() < 1e-6 && rates.backends[0].name == "b");
    assert!((rates.dropped - 20.0).abs() < 1e-6);
}

#[test]
fn a_counter_that_began_anew_gives_no_negative_rate() {
    let rates = Rates::between(&top(10.0, 5_000), &top(10.0, 1_000));
    assert!(rates.services.iter().chain(&rates.backends).all(|row| row.packets >= 0.0 && row.bits >= 0.0));
}

#[test]
fn estimates_are_marked_and_leavers_are_named() {
    let text = render(&Rates::between(&top(0.0, 0), &top(1.0, 1_000)), usize::MAX);
    let text = anstream::adapter::strip_str(&text).to_string();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("b ").ends_with("~12        ~3"), "{text}");
    assert!(line("a ").ends_with(" 12         3"), "{text}");
    assert!(line("old").contains("gone"), "{text}");
    assert!(text.starts_with("lbd  1.0k pkt/s  "), "{text}");
}

#[test]
fn a_small_screen_is_never_overrun() {
    let rates = Rates::between(&top(0.0, 0), &top(1.0, 1_000));
    for lines in [8, 9, 10, 24] {
        let text = render(&rates, lines);
        assert!(text.lines().count() <= lines + 1, "{lines}: {}", text.lines().count());
    }
    assert!(render(&rates, 9).contains("more; --pool"));
}
