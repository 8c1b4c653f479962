use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU32, sync::Arc};

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::model::{
    Backend, CheckSpec, Global, Pool, PoolName, Pooled, Service, Threshold, Via, Weight, check::TlsCheck,
};

fn kinds() -> impl Strategy<Value = CheckKind> {
    let http = (
        select(vec![HttpMethod::Get, HttpMethod::Options]),
        select(vec!["h.example", "h.example:8080", "192.0.2.1", "[2001:db8::1]:80"]),
        "/[a-z0-9%?=&/_.-]{0,12}",
        vec(("[A-Za-z][A-Za-z0-9-]{0,8}", "[ -~]{0,12}"), 0..3),
        vec((100u16..=599, 0u16..100), 1..4),
        option::of("[ -~é\n\t\"\\\\]{1,12}"),
    )
        .prop_map(|(method, host, path, headers, status, body_contains)| HttpCheck {
            method,
            host: host.to_owned(),
            path,
            // A table has each key once, and some headers are the check's own.
            headers: headers
                .into_iter()
                .map(|(name, value)| (format!("X-{name}"), value))
                .collect::<BTreeMap<_, _>>()
                .into_iter()
                .collect(),
            status: status.into_iter().map(|(first, more)| (first, (first + more).min(599))).collect(),
            body_contains,
        });
    let tls = ("[a-z][a-z0-9]{0,8}\\.example", any::<bool>()).prop_map(|(sni, verify)| TlsCheck {
        sni,
        verify,
        ca_file: None,
    });
    prop_oneof![
        Just(CheckKind::Tcp),
        Just(CheckKind::Idle),
        http.clone().prop_map(CheckKind::Http),
        (http, tls).prop_map(|(http, tls)| CheckKind::Https(http, tls)),
    ]
}

/// Kind, port, interval and timeout in ms, jitter, rise, fall.
type Sketch = (CheckKind, u16, u64, u64, u16, u32, u32);

fn checks() -> impl Strategy<Value = Vec<Arc<CheckSpec>>> {
    let check = (kinds(), 1..=u16::MAX, 100u64..3_600_000, 10u64..100, 0u16..=500, 1u32..=1000, 1u32..=1000);
    vec(check, 0..4).prop_map(|checks| {
        let spec = |(n, check): (usize, Sketch)| {
            let (kind, port, interval, timeout, jitter, rise, fall) = check;
            Arc::new(CheckSpec {
                name: format!("c{n}").into(),
                kind,
                port,
                via: Via::Backend,
                interval: Duration::from_millis(interval),
                timeout: Duration::from_millis(timeout),
                jitter_per_mille: jitter,
                rise: NonZeroU32::new(rise).expect("from 1"),
                fall: NonZeroU32::new(fall).expect("from 1"),
            })
        };
        checks.into_iter().enumerate().map(spec).collect()
    })
}

fn pools() -> impl Strategy<Value = Pool> {
    let backend = (
        "[a-z0-9][a-zA-Z0-9._:-]{0,12}",
        0u32..=Weight::MAX,
        select(vec![Pooled::Yes, Pooled::No, Pooled::Inactive]),
        any::<bool>(),
    );
    (
        vec(backend, 0..6),
        checks(),
        any::<(bool, bool, bool)>(),
        0.0f64..=1.0,
        select(vec![1021u32, 4099, 65_537]),
    )
        .prop_map(|(backends, checks, (any, by_weight, optimistic), fraction, slots)| Pool {
            name: "p".parse().expect("a name"),
            backends: backends
                .into_iter()
                .enumerate()
                .map(|(n, (name, weight, pooled, v6))| {
                    let address: String = if v6 { format!("2001:db8::{n}") } else { format!("10.0.0.{n}") };
                    let backend = Backend {
                        weight: Weight::try_from(weight).expect("in range"),
                        pooled,
                        ..Backend::new(name.parse().expect("a name"), address.parse().expect("an address"))
                    };
                    (backend.name.clone(), Arc::new(backend))
                })
                .collect(),
            checks,
            combine: if any { Combine::Any } else { Combine::All },
            threshold: Threshold { fraction, by_weight },
            outliers: Outliers::default(),
            optimistic,
            allow_empty: true,
            slots,
        })
}

fn services() -> impl Strategy<Value = (bool, bool, bool, u64, u64, u16)> {
    (any::<bool>(), any::<bool>(), any::<bool>(), 1u64..=14_400, 1u64..=28_800, 1..=u16::MAX)
}

fn configs() -> impl Strategy<Value = Config> {
    (vec(pools(), 1..4), vec(services(), 0..4), any::<(bool, bool)>()).prop_map(
        |(pools, services, (generic, pybal_metrics))| {
            let mut config = Config {
                global: Global {
                    interfaces: vec!["eth0".to_owned(), "bond0.100".to_owned()],
                    xdp_mode: if generic { XdpMode::Generic } else { XdpMode::Native },
                    secret_file: None,
                    http: if pybal_metrics {
                        Vec::new()
                    } else {
                        vec!["[::1]:9090".parse().expect("an address")]
                    },
                    socket: "/run/\"odd\" name\\.sock".into(),
                    socket_group: "wheel".to_owned(),
                    state_dir: "/var/lib/é".into(),
                    bpf_dir: "/sys/fs/bpf/b".into(),
                    pybal_metrics,
                    icmp_rate: 1000,
                    tunnel: Tunnel::default(),
                    limits: Limits { pins: 4096, ..Limits::default() },
                },
                services: BTreeMap::new(),
                pools: BTreeMap::new(),
            };
            let mut names: Vec<PoolName> = Vec::new();
            for (n, pool) in pools.into_iter().enumerate() {
                let name: PoolName = format!("p{n}.x").parse().expect("a name");
                names.push(name.clone());
                config.pools.insert(name.clone(), Arc::new(Pool { name, ..pool }));
            }
            for (n, (udp, flow, v6, idle, drain, port)) in services.into_iter().enumerate() {
                let mut vips: Vec<IpAddr> = vec![format!("203.0.113.{}", n + 1).parse().expect("an address")];
                if v6 {
                    vips.push(format!("2001:db8:1::{}", n + 1).parse().expect("an address"));
                }
                let service = Service {
                    name: format!("s:{n}").parse().expect("a name"),
                    vips: vips.into_iter().map(Into::into).collect(),
                    ports: Ports::One(port),
                    protocols: vec![if udp { Protocol::Udp } else { Protocol::Tcp }],
                    pool: names[n % names.len()].clone(),
                    udp_class: if udp && flow { UdpClass::Flow } else { UdpClass::Dns },
                    rules: Rules {
                        idle: Duration::from_secs(idle),
                        drain_timeout: Duration::from_secs(drain),
                        ..Rules::default()
                    },
                };
                config.services.insert(service.name.clone(), Arc::new(service));
            }
            config
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_printed_means_the_same(config in configs()) {
        let text = print(&config);
        match parse_text(&text) {
            Ok(loaded) => prop_assert_eq!(loaded.config, config),
            Err(problems) => prop_assert!(false, "{}\n{}", problems, text),
        }
    }

    #[test]
    fn configurations_differ_only_if_the_diff_says_so(a in configs(), b in configs()) {
        prop_assert_eq!(diff(&a, &b).is_empty(), a == b);
        prop_assert!(diff(&a, &a).is_empty());
    }
}
