use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU32, sync::Arc};

use ipnet::IpNet;
use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::select,
};

use super::*;
use crate::model::{
    Backend, CheckSpec, Global, HashFields, Method, Net, Persistence, Pool, PoolName, Pooled, Protocols,
    QuicId, Scheduler, Service, Threshold, Tracking, Via, Weight, check::TlsCheck,
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
                via: if rise % 2 == 0 { Via::Backend } else { Via::Vip },
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
        select(vec![(Method::Dr, 6080), (Method::Ipip, 6080), (Method::Gue, 6080), (Method::Gue, 1)]),
        any::<u8>(),
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
                .map(|(n, (name, weight, pooled, v6, (method, gue_port), id))| {
                    let address: String = if v6 { format!("2001:db8::{n}") } else { format!("10.0.0.{n}") };
                    let backend = Backend {
                        weight: Weight::try_from(weight).expect("in range"),
                        pooled,
                        method,
                        gue_port,
                        // Unique.
                        server_id: Some(u16::from(id) << 3 | n as u16),
                        ..Backend::new(name.parse().expect("a name"), address.parse().expect("an address"))
                    };
                    (backend.name.clone(), Arc::new(backend))
                })
                .collect(),
            checks,
            combine: if any { Combine::Any } else { Combine::All },
            threshold: Threshold { fraction, by_weight },
            outliers: Outliers { lower_weight: optimistic },
            optimistic,
            allow_empty: true,
            slots,
        })
}

fn nets() -> impl Strategy<Value = Vec<IpNet>> {
    let net = (any::<[u8; 16]>(), any::<bool>(), 0u8..=128).prop_map(|(bytes, v6, length)| {
        let four = IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let address = if v6 { IpAddr::from(bytes) } else { four };
        let length = if v6 { length } else { length % 33 };
        IpNet::new(address, length).expect("a prefix").trunc()
    });
    btree_set(net, 0..4).prop_map(|nets| nets.into_iter().collect())
}

fn ports() -> impl Strategy<Value = Ports> {
    prop_oneof![
        (1..=u16::MAX).prop_map(Ports::One),
        (1..u16::MAX, 1..=u16::MAX).prop_map(|(first, more)| Ports::Range(first, first.saturating_add(more))),
        Just(Ports::All),
    ]
}

/// Scheduler, hash and tracking that go together.
fn scheduling() -> impl Strategy<Value = (Scheduler, HashFields, Tracking)> {
    let hash = select(vec![
        HashFields::FiveTuple,
        HashFields::Source,
        HashFields::SourcePort,
        HashFields::DestinationPort,
    ]);
    let maglev = (hash, select(vec![Tracking::Auto, Tracking::Always]))
        .prop_map(|(hash, tracking)| (Scheduler::Maglev, hash, tracking));
    let others = select(vec![Scheduler::Rr, Scheduler::Wrr, Scheduler::Lc, Scheduler::Wlc, Scheduler::Sed])
        .prop_map(|scheduler| (scheduler, HashFields::FiveTuple, Tracking::Always));
    prop_oneof![maglev, others]
}

fn rules() -> impl Strategy<Value = Rules> {
    let persistence = (1u64..=14_400, 1u8..=32, 1u8..=128).prop_map(|(seconds, prefix4, prefix6)| {
        Persistence { timeout: Duration::from_secs(seconds), prefix4, prefix6 }
    });
    (
        scheduling(),
        (1u64..=14_400, 1u64..=28_800),
        option::of(persistence),
        nets(),
        any::<usize>(),
        option::of(1u32..=100_000_000),
        option::of((0u8..=18, 1u8..=2)),
    )
        .prop_map(
            |((scheduler, hash, tracking), (idle, drain), persistence, mut block, at, ceiling, quic)| {
                let allow = block.split_off(at % (block.len() + 1));
                Rules {
                    hash,
                    tracking,
                    scheduler,
                    idle: Duration::from_secs(idle),
                    drain_timeout: Duration::from_secs(drain),
                    persistence,
                    block,
                    allow,
                    max_new_per_second: ceiling,
                    quic_id: quic.map(|(offset, len)| QuicId { offset, len }),
                }
            },
        )
}

fn services() -> impl Strategy<Value = (Protocols, UdpClass, bool, bool, Ports, Rules)> {
    (
        select(vec![Protocols::Tcp, Protocols::Udp, Protocols::Both]),
        select(vec![UdpClass::Dns, UdpClass::Flow, UdpClass::Quic]),
        any::<bool>(),
        any::<bool>(),
        ports(),
        rules(),
    )
}

fn tunnels() -> impl Strategy<Value = Tunnel> {
    let four = option::of(select(vec!["172.16.0.0/16", "192.0.2.1/32"]));
    let six = option::of(select(vec!["100::/64", "2001:db8:2::1/128"]));
    (four, six).prop_map(|(four, six)| Tunnel {
        source4: four.map(|net| net.parse().expect("a prefix")),
        source6: six.map(|net| net.parse().expect("a prefix")),
    })
}

fn configs() -> impl Strategy<Value = Config> {
    (vec(pools(), 1..4), vec(services(), 0..4), any::<(bool, bool)>(), tunnels(), 0..=1_000_000u32).prop_map(
        |(pools, services, (generic, pybal_metrics), tunnel, icmp_rate)| {
            let mut config = Config {
                global: Global {
                    interfaces: vec!["eth0".to_owned(), "bond0.100".to_owned()],
                    xdp_mode: if generic { XdpMode::Offload } else { XdpMode::Native },
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
                    icmp_rate,
                    tunnel,
                    limits: Limits {
                        pins: 4096,
                        flows: 1024,
                        sources: 2048,
                        prefixes: 99,
                        ..Limits::default()
                    },
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
            for (n, (protocols, class, v6, wide, ports, rules)) in services.into_iter().enumerate() {
                let net = |text: String| text.parse::<Net>().expect("a prefix").0;
                let mut vips = vec![net(format!("203.0.{}.0/{}", n + 1, if wide { 24 } else { 32 }))];
                if v6 {
                    vips.push(net(format!("2001:db8:1:{n}::/{}", if wide { 64 } else { 128 })));
                }
                let udp_class = if protocols == Protocols::Tcp { UdpClass::Dns } else { class };
                let quic_id =
                    rules.quic_id.filter(|_| udp_class == UdpClass::Quic).map(|id| QuicId { len: 2, ..id });
                let service = Service {
                    name: format!("s:{n}").parse().expect("a name"),
                    vips,
                    ports,
                    protocols: protocols.list().to_vec(),
                    pool: names[n % names.len()].clone(),
                    udp_class,
                    rules: Rules { quic_id, ..rules },
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
