//! What services and backends of every shape mean.

use super::*;
use crate::model::{HashFields, Method, Net, Persistence, QuicId, Scheduler, Service, Tracking, Via};

/// [`BASE`] with further keys in its service.
fn service(keys: &str) -> Service {
    let config = valid(&BASE.replace("port = 80\n", &format!("port = 80\n{keys}\n")));
    config.services["text-http"].as_ref().clone()
}

fn rules(keys: &str) -> Rules {
    service(keys).rules
}

/// [`BASE`] with another port, and a check that says which one it asks.
fn on_port(port: &str) -> String {
    BASE.replace("kind = \"http\"", "kind = \"http\"\nport = 80")
        .replace("port = 80\npool", &format!("port = {port}\npool"))
}

fn nets(texts: &[&str]) -> Vec<ipnet::IpNet> {
    texts.iter().map(|text| text.parse::<Net>().expect("a prefix").0).collect()
}

#[test]
fn addresses_prefixes_ranges_and_both_protocols_make_endpoints() {
    let text = on_port("\"8000-8099\"").replace(
        "[\"203.0.113.10\", \"2001:db8::10\"]",
        "[\"203.0.113.0/28\", \"2001:db8::10/128\"]\nprotocol = \"tcp+udp\"",
    );
    let config = valid(&text);
    let endpoints: Vec<String> =
        config.services["text-http"].endpoints().map(|endpoint| endpoint.to_string()).collect();
    assert_eq!(
        endpoints,
        [
            "203.0.113.0/28:8000-8099/tcp",
            "203.0.113.0/28:8000-8099/udp",
            "[2001:db8::10]:8000-8099/tcp",
            "[2001:db8::10]:8000-8099/udp"
        ]
    );
}

#[test]
fn a_port_may_be_written_as_a_number_or_a_text() {
    for (written, ports) in [
        ("80", Ports::One(80)),
        ("\"80\"", Ports::One(80)),
        ("0x50", Ports::One(80)),
        ("\"80-90\"", Ports::Range(80, 90)),
        ("\"all\"", Ports::All),
    ] {
        assert_eq!(valid(&on_port(written)).services["text-http"].ports, ports, "{written}");
    }
}

#[test]
fn a_more_exact_service_may_lie_within_a_wider_one() {
    let more = [
        ("203.0.113.10", "\"all\""),
        ("203.0.113.10", "\"70-90\""),
        ("203.0.113.10", "\"91-99\""),
        ("203.0.113.0/28", "80"),
        ("203.0.113.0/28", "\"75-95\""),
        ("203.0.113.10", "81"),
    ];
    let mut text = BASE.to_owned();
    for (n, (net, port)) in more.into_iter().enumerate() {
        writeln!(text, "[services.s{n}]\nvips = [\"{net}\"]\nport = {port}\npool = \"text\"")
            .expect("written");
    }
    assert_eq!(valid(&text).services.len(), 7);
}

#[test]
fn ranges_that_share_a_port_are_refused_whichever_comes_first() {
    for (one, other) in [("10-20", "20-30"), ("10-30", "15-20"), ("15-20", "10-30"), ("20-30", "10-20")] {
        let text = format!(
            "{}[services.b]\nvips = [\"203.0.113.10\"]\nport = \"{other}\"\npool = \"text\"\n",
            on_port(&format!("\"{one}\""))
        );
        let problems = parse_text(&text).expect_err("they overlap");
        assert!(problems.to_string().contains("overlaps ports"), "{problems}");
        assert_eq!(problems.iter().count(), 1, "{problems}");
        // Another protocol or address has ports of its own.
        valid(
            &text.replace(&format!("port = \"{other}\""), &format!("port = \"{other}\"\nprotocol = \"udp\"")),
        );
        valid(&text.replace("[\"203.0.113.10\"]", "[\"203.0.113.11\"]"));
    }
}

#[test]
fn plain_maglev_is_what_a_service_without_rules_does() {
    assert_eq!(rules(""), Rules::default());
    assert_eq!(rules("scheduler = \"maglev\"\nhash = \"5-tuple\"\ntracking = \"auto\""), Rules::default());
}

#[test]
fn lvs_source_hashing_is_maglev_by_source() {
    for word in ["sh", "mh"] {
        let wanted = Rules { hash: HashFields::Source, ..Rules::default() };
        assert_eq!(rules(&format!("scheduler = \"{word}\"")), wanted);
        // The flag of the same scheduler, and our own word for it.
        for hash in ["source-port", "mh-port", "sh-port"] {
            let wanted = Rules { hash: HashFields::SourcePort, ..Rules::default() };
            assert_eq!(rules(&format!("scheduler = \"{word}\"\nhash = \"{hash}\"")), wanted);
        }
    }
}

#[test]
fn schedulers_that_choose_for_each_connection_remember_every_flow() {
    for (word, scheduler) in [
        ("rr", Scheduler::Rr),
        ("wrr", Scheduler::Wrr),
        ("lc", Scheduler::Lc),
        ("wlc", Scheduler::Wlc),
        ("sed", Scheduler::Sed),
    ] {
        let wanted = Rules { scheduler, tracking: Tracking::Always, ..Rules::default() };
        assert_eq!(rules(&format!("scheduler = \"{word}\"")), wanted);
        assert_eq!(rules(&format!("scheduler = \"{word}\"\ntracking = \"always\"")), wanted);
    }
    assert_eq!(rules("tracking = \"always\""), Rules { tracking: Tracking::Always, ..Rules::default() });
}

#[test]
fn persistence_is_per_client_unless_prefixes_are_written() {
    let timeout = Duration::from_mins(5);
    assert_eq!(
        rules("persistence = \"5m\"").persistence,
        Some(Persistence { timeout, prefix4: 32, prefix6: 128 })
    );
    assert_eq!(
        rules("persistence = \"5m\"\npersistence_prefix4 = 24\npersistence_prefix6 = 56").persistence,
        Some(Persistence { timeout, prefix4: 24, prefix6: 56 })
    );
}

#[test]
fn protection_is_taken_as_written() {
    let rules = rules(
        "block = [\"0.0.0.0/0\", \"2001:db8:bad::/48\"]\nallow = [\"192.0.2.7\"]\nmax_new_per_second = 5000",
    );
    assert_eq!(rules.block, nets(&["0.0.0.0/0", "2001:db8:bad::/48"]));
    assert_eq!(rules.allow, nets(&["192.0.2.7"]));
    assert_eq!(rules.max_new_per_second, Some(5000));
}

#[test]
fn quic_finds_the_server_id_where_the_file_says() {
    let text = BASE
        .replace("\"10.0.0.11\"", "\"10.0.0.11\", server_id = 0")
        .replace("\"10.0.0.12\"", "\"10.0.0.12\", server_id = 65535")
        .replace(
            "port = 80\n",
            "port = 443\nprotocol = \"udp\"\nudp_class = \"quic\"\nquic_server_id = {}\n",
        );
    let config = valid(&text);
    let service = &config.services["text-http"];
    assert_eq!(service.udp_class, UdpClass::Quic);
    assert_eq!(service.rules.quic_id, Some(QuicId { offset: 1, len: 2 }));
    let ids: Vec<_> = config.pools["text"].backends.values().map(|backend| backend.server_id).collect();
    assert_eq!(ids, [Some(0), Some(65_535)]);
}

#[test]
fn a_pools_method_is_its_backends_unless_they_have_their_own() {
    let text = BASE
        .replace("slots = 65537", "method = \"gue\"\ngue_port = 6081")
        .replace("\"10.0.0.12\" }", "\"10.0.0.12\", method = \"dr\" }\ncp3 = { address = \"2001:db8:1::3\", method = \"tunnel\" }\ncp4 = { address = \"10.0.0.14\", gue_port = 7000 }");
    let config = valid(&text);
    let of = |name: &str| {
        let backend = &config.pools["text"].backends[name];
        (backend.method, backend.gue_port)
    };
    assert_eq!(of("cp1"), (Method::Gue, 6081));
    assert_eq!(of("cp2"), (Method::Dr, 6080));
    assert_eq!(of("cp3"), (Method::Ipip, 6080));
    assert_eq!(of("cp4"), (Method::Gue, 7000));
}

#[test]
fn outer_sources_are_single_addresses_or_prefixes() {
    let config = valid(&format!("[lbd.tunnel]\nsource4 = \"192.0.2.1\"\nsource6 = \"100::/64\"\n{BASE}"));
    let tunnel = config.global.tunnel;
    assert_eq!(tunnel.source4.map(|net| net.to_string()).as_deref(), Some("192.0.2.1/32"));
    assert_eq!(tunnel.source6.map(|net| net.to_string()).as_deref(), Some("100::/64"));
}

#[test]
fn an_outer_source_may_hold_addresses_of_backends_without_a_tunnel() {
    valid(&format!("[lbd.tunnel]\nsource4 = \"10.0.0.0/16\"\n{BASE}"));
}

#[test]
fn switches_outside_services_are_taken_as_written() {
    let text = BASE
        .replace("[lbd]", "[lbd]\nxdp_mode = \"offload\"\nicmp_rate = 0")
        .replace("slots = 65537", "outliers = { lower_weight = true }")
        .replace("kind = \"http\"", "kind = \"http\"\nvia = \"backend\"");
    let config = valid(&text);
    assert_eq!((config.global.xdp_mode, config.global.icmp_rate), (XdpMode::Offload, 0));
    let pool = &config.pools["text"];
    assert!(pool.outliers.lower_weight);
    assert_eq!(pool.checks[0].via, Via::Backend);
}

#[test]
fn of_ports_and_ranges_a_check_takes_the_port_it_is_known_for() {
    let more = "[services.b]\nvips = [\"203.0.113.11\"]\nport = \"all\"\npool = \"text\"\n";
    assert_eq!(valid(&format!("{BASE}{more}")).pools["text"].checks[0].port, 80);
}

#[test]
fn thousands_of_services_on_one_address_are_read_in_good_time() {
    let mut text = BASE.to_owned();
    for n in 0..5_000 {
        let (first, last) = (1_000 + 10 * n, 1_000 + 10 * n + 8);
        writeln!(
            text,
            "[services.r{n}]\nvips = [\"203.0.113.10\"]\nport = \"{first}-{last}\"\npool = \"text\""
        )
        .expect("written");
    }
    assert_eq!(valid(&text).services.len(), 5_001);
}
