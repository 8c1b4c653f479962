//! Model → file, with every key written out: what `lbctl config show` prints, and what [`super::diff()`] compares.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::{
    duration,
    value::{Schedule, ThresholdBy, Word},
};
use crate::model::{
    Backend, CheckKind, CheckSpec, Config, Global, Limits, Method, Net, Outliers, Persistence, Pool, Ports,
    Protocols, QuicId, Rules, Scheduler, Service, Threshold, Tunnel,
    check::{HttpCheck, TlsCheck},
};

/// The keys of a table and their values as they are written in a file. Optional keys without a value are left out.
pub(super) type Keys = Vec<(&'static str, String)>;

/// A file that means this configuration.
pub fn print(config: &Config) -> String {
    let Config { global, services, pools } = config;
    let mut out = String::from("[lbd]\n");
    lines(&mut out, global_keys(global));
    out.push_str("\n[lbd.limits]\n");
    lines(&mut out, limits_keys(&global.limits));
    let tunnel = tunnel_keys(&global.tunnel);
    if !tunnel.is_empty() {
        out.push_str("\n[lbd.tunnel]\n");
        lines(&mut out, tunnel);
    }
    for pool in pools.values() {
        let name = quote_key(pool.name.as_str());
        let _ = write!(out, "\n[pools.{name}]\n");
        lines(&mut out, pool_keys(pool));
        for check in &pool.checks {
            let _ = write!(out, "\n[[pools.{name}.checks]]\n");
            lines(&mut out, check_keys(check));
        }
        if pool.backends.is_empty() {
            continue;
        }
        let _ = write!(out, "\n[pools.{name}.backends]\n");
        for backend in pool.backends.values() {
            let _ = writeln!(out, "{} = {}", quote_key(backend.name.as_str()), inline(backend_keys(backend)));
        }
    }
    for service in services.values() {
        let _ = write!(out, "\n[services.{}]\n", quote_key(service.name.as_str()));
        lines(&mut out, service_keys(service));
    }
    out
}

fn lines(out: &mut String, keys: Keys) {
    for (key, value) in keys {
        // Writing to a `String` cannot fail.
        let _ = writeln!(out, "{key} = {value}");
    }
}

pub(super) fn global_keys(global: &Global) -> Keys {
    let Global {
        interfaces,
        xdp_mode,
        secret_file,
        http,
        socket,
        socket_group,
        state_dir,
        bpf_dir,
        pybal_metrics,
        icmp_rate,
        tunnel: _,
        limits: _,
    } = global;
    let mut keys = vec![
        ("interfaces", list(interfaces.iter().map(|name| quote(name)))),
        ("xdp_mode", quote(xdp_mode.word())),
    ];
    if let Some(path) = secret_file {
        keys.push(("secret_file", quote(&path.to_string_lossy())));
    }
    keys.extend([
        ("http", list(http.iter().map(|address| quote(&address.to_string())))),
        ("socket", quote(&socket.to_string_lossy())),
        ("socket_group", quote(socket_group)),
        ("state_dir", quote(&state_dir.to_string_lossy())),
        ("bpf_dir", quote(&bpf_dir.to_string_lossy())),
        ("pybal_metrics", pybal_metrics.to_string()),
        ("icmp_rate", icmp_rate.to_string()),
    ]);
    keys
}

pub(super) fn tunnel_keys(tunnel: &Tunnel) -> Keys {
    let Tunnel { source4, source6 } = tunnel;
    let four = source4.map(|net| ("source4", Net(net.into())));
    let six = source6.map(|net| ("source6", Net(net.into())));
    four.into_iter().chain(six).map(|(key, net)| (key, quote(&net.to_string()))).collect()
}

pub(super) fn limits_keys(limits: &Limits) -> Keys {
    let Limits { services, backends, pools, slots, pins, flows, sources, prefixes } = limits;
    vec![
        ("services", services.to_string()),
        ("backends", backends.to_string()),
        ("pools", pools.to_string()),
        ("slots", slots.to_string()),
        ("pins", pins.to_string()),
        ("flows", flows.to_string()),
        ("sources", sources.to_string()),
        ("prefixes", prefixes.to_string()),
    ]
}

pub(super) fn pool_keys(pool: &Pool) -> Keys {
    let Pool {
        name: _,
        backends: _,
        checks: _,
        combine,
        outliers: Outliers { lower_weight },
        threshold: Threshold { fraction, by_weight },
        optimistic,
        allow_empty,
        slots,
    } = pool;
    let by = if *by_weight { ThresholdBy::Weight } else { ThresholdBy::Count };
    vec![
        ("depool_threshold", format!("{fraction:?}")),
        ("threshold_by", quote(by.word())),
        ("combine", quote(combine.word())),
        ("optimistic", optimistic.to_string()),
        ("allow_empty", allow_empty.to_string()),
        ("slots", slots.to_string()),
        ("outliers", inline(vec![("lower_weight", lower_weight.to_string())])),
    ]
}

pub(super) fn backend_keys(backend: &Backend) -> Keys {
    let Backend { name: _, address, weight, pooled, method, gue_port, server_id } = backend;
    let mut keys = vec![
        ("address", quote(&address.to_string())),
        ("weight", weight.to_string()),
        ("pooled", quote(pooled.word())),
        ("method", quote(method.word())),
    ];
    if *method == Method::Gue {
        keys.push(("gue_port", gue_port.to_string()));
    }
    keys.extend(server_id.map(|id| ("server_id", id.to_string())));
    keys
}

pub(super) fn service_keys(service: &Service) -> Keys {
    let Service { name: _, vips, ports, protocols, pool, udp_class, rules } = service;
    let protocols = Protocols::of(protocols);
    let ports = match ports {
        Ports::One(port) => port.to_string(),
        Ports::Range(..) | Ports::All => quote(&ports.to_string()),
    };
    let mut keys = vec![
        ("vips", nets(vips)),
        ("port", ports),
        ("protocol", quote(protocols.word())),
        ("pool", quote(pool.as_str())),
    ];
    if protocols != Protocols::Tcp {
        keys.push(("udp_class", quote(udp_class.word())));
    }
    keys.extend(rules_keys(rules));
    keys
}

fn rules_keys(rules: &Rules) -> Keys {
    let Rules {
        hash,
        tracking,
        scheduler,
        idle,
        drain_timeout,
        persistence,
        block,
        allow,
        max_new_per_second,
        quic_id,
    } = rules;
    let mut keys = vec![("scheduler", quote(Schedule::Named(*scheduler).word()))];
    if *scheduler == Scheduler::Maglev {
        keys.push(("hash", quote(hash.word())));
    }
    keys.extend([
        ("tracking", quote(tracking.word())),
        ("idle", time(*idle)),
        ("drain_timeout", time(*drain_timeout)),
    ]);
    if let Some(Persistence { timeout, prefix4, prefix6 }) = persistence {
        keys.extend([
            ("persistence", time(*timeout)),
            ("persistence_prefix4", prefix4.to_string()),
            ("persistence_prefix6", prefix6.to_string()),
        ]);
    }
    keys.extend([("block", nets(block)), ("allow", nets(allow))]);
    keys.extend(max_new_per_second.map(|ceiling| ("max_new_per_second", ceiling.to_string())));
    if let Some(QuicId { offset, len }) = quic_id {
        let id = vec![("offset", offset.to_string()), ("length", len.to_string())];
        keys.push(("quic_server_id", inline(id)));
    }
    keys
}

fn nets(nets: &[IpNet]) -> String {
    list(nets.iter().map(|net| quote(&Net(*net).to_string())))
}

pub(super) fn check_keys(check: &CheckSpec) -> Keys {
    let CheckSpec { name, kind, port, via, interval, timeout, jitter_per_mille, rise, fall } = check;
    let mut keys = vec![
        ("kind", quote(kind.as_str())),
        ("name", quote(name)),
        ("port", port.to_string()),
        ("via", quote(via.word())),
        ("interval", time(*interval)),
        ("timeout", time(*timeout)),
        ("jitter", format!("{:?}", f64::from(*jitter_per_mille) / 1000.0)),
        ("rise", rise.to_string()),
        ("fall", fall.to_string()),
    ];
    match kind {
        CheckKind::Tcp | CheckKind::Idle => {}
        CheckKind::Http(http) => keys.extend(http_keys("http", http)),
        CheckKind::Https(http, tls) => {
            keys.extend(http_keys("https", http));
            keys.push(("tls", inline(tls_keys(tls))));
        }
    }
    keys
}

fn http_keys(scheme: &str, http: &HttpCheck) -> Keys {
    let HttpCheck { method, host, path, headers, status, body_contains } = http;
    let mut keys =
        vec![("url", quote(&format!("{scheme}://{host}{path}"))), ("method", quote(method.word()))];
    if !headers.is_empty() {
        let pairs: Vec<String> =
            headers.iter().map(|(name, value)| format!("{} = {}", quote_key(name), quote(value))).collect();
        keys.push(("headers", format!("{{ {} }}", pairs.join(", "))));
    }
    let range = |(first, last): &(u16, u16)| {
        if first == last { first.to_string() } else { format!("\"{first}-{last}\"") }
    };
    keys.push(("status", list(status.iter().map(range))));
    if let Some(text) = body_contains {
        keys.push(("body_contains", quote(text)));
    }
    keys
}

fn tls_keys(tls: &TlsCheck) -> Keys {
    let TlsCheck { sni, verify, ca_file } = tls;
    let mut keys = vec![("verify", verify.to_string())];
    if let Some(path) = ca_file {
        keys.push(("ca_file", quote(&path.to_string_lossy())));
    }
    keys.push(("sni", quote(sni)));
    keys
}

/// An inline table.
pub(super) fn inline(keys: Keys) -> String {
    let pairs: Vec<String> = keys.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", pairs.join(", "))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn time(duration: std::time::Duration) -> String {
    quote(&duration::format(duration))
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A key, quoted when TOML would read it as several.
fn quote_key(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { key.to_owned() } else { quote(key) }
}
