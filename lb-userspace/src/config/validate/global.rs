//! `[lbd]` and `[lbd.limits]`.

use std::{
    net::SocketAddr,
    path::{Component, Path, PathBuf},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{address, cross::Places, number32};
use crate::{
    config::{
        file,
        problem::Report,
        secret::{self, SecretError},
        table::{At, Field},
    },
    model::{Global, Limits, Net, Tunnel, XdpMode, global::ICMP_RATE},
};

/// The kernel's IFNAMSIZ without the closing zero.
const MAX_INTERFACE: usize = 15;
/// The kernel's `sun_path` without the closing zero.
const MAX_SOCKET_PATH: usize = 107;
/// More answers a second than this would be a flood of our own making.
const MAX_ICMP_RATE: u32 = 1_000_000;

pub(super) fn global(file: file::Global, places: &mut Places, report: &mut Report) -> Global {
    let file::Global {
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
        tunnel,
        limits,
    } = file;
    Global {
        interfaces: self::interfaces(interfaces, report),
        xdp_mode: xdp_mode.or(XdpMode::default()),
        secret_file: self::secret_file(secret_file, report),
        http: self::http(http, report),
        socket: self::socket(socket, report),
        socket_group: self::socket_group(socket_group, report),
        state_dir: path(state_dir, "/var/lib/lbd", report),
        bpf_dir: self::bpf_dir(bpf_dir, report),
        pybal_metrics: pybal_metrics.or(false),
        icmp_rate: number32(icmp_rate, 0..=MAX_ICMP_RATE, ICMP_RATE, "`icmp_rate`", report),
        tunnel: self::tunnel(tunnel.or(file::Tunnel::default()), places, report),
        limits: self::limits(limits.or(file::Limits::default()), report),
    }
}

fn interfaces(field: Field<Vec<At<String>>>, report: &mut Report) -> Vec<String> {
    let Some(list) = field.given() else {
        return Vec::new();
    };
    if list.value.is_empty() {
        report
            .error(list.span, "no interface is named")
            .with_help("name the one on which packets for the VIPs arrive: `interfaces = [\"eth0\"]` (`ip -br link` lists them)");
    }
    let mut seen: Vec<At<String>> = Vec::new();
    for at in list.value {
        let name = &at.value;
        let why = if name.is_empty() {
            Some("is empty")
        } else if name.len() > MAX_INTERFACE {
            Some("is longer than 15 bytes")
        } else if name == "."
            || name == ".."
            || name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
        {
            Some("has characters that no interface name has")
        } else {
            None
        };
        if let Some(why) = why {
            report
                .error(at.span, format!("the interface name {why}"))
                .with_help("`ip -br link` lists the interfaces of this host");
        } else if let Some(first) = seen.iter().find(|first| first.value == at.value) {
            report
                .error(at.span, format!("interface `{name}` is named twice"))
                .with_also(first.span.clone(), "first here")
                .with_help("remove one of them");
        } else {
            seen.push(at);
        }
    }
    seen.into_iter().map(|at| at.value).collect()
}

fn secret_file(field: Field<String>, report: &mut Report) -> Option<PathBuf> {
    let at = field.given()?;
    let path = absolute(&at, report)?;
    if let Err(error) = secret::read(&path) {
        let help = match &error {
            SecretError::Exposed { .. } => {
                format!("`chmod 600 {}`; make a new key if anybody may have read it", path.display())
            }
            SecretError::Malformed { .. } => {
                format!("make one: `(umask 077; openssl rand -hex 32 > {})`", path.display())
            }
            SecretError::Read { .. } | SecretError::Keep { .. } => {
                format!("`ls -l {}` shows whether it is there and who may read it", path.display())
            }
        };
        let message = match &error {
            SecretError::Exposed { mode, .. } => {
                format!("the key can be read or changed by others (mode {mode:04o})")
            }
            SecretError::Malformed { .. } => "the file does not have 64 hex digits".to_owned(),
            SecretError::Read { error, .. } | SecretError::Keep { error, .. } => {
                format!("cannot read the key: {error}")
            }
        };
        report.error(at.span, message).with_help(help);
    }
    Some(path)
}

fn http(field: Field<Vec<At<SocketAddr>>>, report: &mut Report) -> Vec<SocketAddr> {
    let Some(list) = field.given() else {
        return vec![SocketAddr::from(([127, 0, 0, 1], 9090))];
    };
    let mut seen: Vec<At<SocketAddr>> = Vec::new();
    for at in list.value {
        if at.value.port() == 0 {
            report
                .error(at.span, "port 0 is no port")
                .with_help(format!("`\"{}\"`", SocketAddr::new(at.value.ip(), 9090)));
        } else if let Some(first) = seen.iter().find(|first| first.value == at.value) {
            report
                .error(at.span, format!("{} is named twice", at.value))
                .with_also(first.span.clone(), "first here")
                .with_help("remove one of them");
        } else {
            if !at.value.ip().is_loopback() {
                report
                    .warning(at.span.clone(), "everybody who reaches this address can read the state of the pools")
                    .with_help("the server is read-only and has no login: filter who may reach it, or listen on `\"127.0.0.1:9090\"`");
            }
            seen.push(at);
        }
    }
    seen.into_iter().map(|at| at.value).collect()
}

fn socket(field: Field<String>, report: &mut Report) -> PathBuf {
    if let Some(span) = field.span()
        && let Field::Given(at) = &field
        && at.value.len() > MAX_SOCKET_PATH
    {
        report
            .error(
                span,
                format!(
                    "a socket's path has at most {MAX_SOCKET_PATH} bytes, this one has {}",
                    at.value.len()
                ),
            )
            .with_help("`\"/run/lbd/lbd.sock\"`");
    }
    path(field, "/run/lbd/lbd.sock", report)
}

fn socket_group(field: Field<String>, report: &mut Report) -> String {
    let Some(at) = field.given() else {
        return "lbd".to_owned();
    };
    if at.value.is_empty()
        || at.value.contains(|c: char| c == ':' || c == ',' || c.is_whitespace() || c.is_control())
    {
        report
            .error(at.span, "this is not the name of a group")
            .with_help("`getent group` lists the groups; `\"root\"` leaves the socket to root");
    }
    at.value
}

fn bpf_dir(field: Field<String>, report: &mut Report) -> PathBuf {
    if let Field::Given(at) = &field
        && Path::new(&at.value)
            .components()
            .any(|part| matches!(part, Component::Normal(name) if name.as_encoded_bytes().contains(&b'.')))
    {
        report
            .error(at.span.clone(), "a bpf file system has no names with dots")
            .with_help("`\"/sys/fs/bpf/lbd\"`");
    }
    path(field, "/sys/fs/bpf/lbd", report)
}

fn path(field: Field<String>, default: &str, report: &mut Report) -> PathBuf {
    field.given().and_then(|at| absolute(&at, report)).unwrap_or_else(|| PathBuf::from(default))
}

/// A path that means the same wherever the daemon was started.
pub(super) fn absolute(at: &At<String>, report: &mut Report) -> Option<PathBuf> {
    let why = if !at.value.starts_with('/') {
        Some("is relative to wherever lbd is started")
    } else if at.value.contains('\0') {
        Some("has a zero byte")
    } else {
        None
    };
    if let Some(why) = why {
        report
            .error(at.span.clone(), format!("the path {why}"))
            .with_help("write a path that begins with `/`");
        return None;
    }
    Some(PathBuf::from(&at.value))
}

fn tunnel(file: file::Tunnel, places: &mut Places, report: &mut Report) -> Tunnel {
    let file::Tunnel { source4, source6 } = file;
    Tunnel {
        source4: source(source4, "IPv4", "source6", four, places, report),
        source6: source(source6, "IPv6", "source4", six, places, report),
    }
}

fn four(net: IpNet) -> Option<Ipv4Net> {
    match net {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    }
}

fn six(net: IpNet) -> Option<Ipv6Net> {
    match net {
        IpNet::V4(_) => None,
        IpNet::V6(net) => Some(net),
    }
}

fn source<T>(
    field: Field<Net>,
    family: &str,
    other: &str,
    of_family: impl Fn(IpNet) -> Option<T>,
    places: &mut Places,
    report: &mut Report,
) -> Option<T> {
    let at = field.given()?;
    let net = of_family(at.value.0);
    if net.is_none() {
        report
            .error(at.span, format!("{} is not {family}", at.value))
            .with_help(format!("write it as `{other}`"));
    } else if let Some(why) = address::unusable_net(at.value.0) {
        report
            .error(at.span, format!("{} {why} and cannot be a tunnel's source", at.value))
            .with_help(address::instead(at.value.0.addr(), "the outer source address of tunnelled packets"));
    } else if let Some(why) = address::too_wide(at.value.0) {
        report.error(at.span, format!("{} {why}: too much to send from", at.value)).with_help(
            "16 host bits spread flows over any number of queues: `\"172.16.0.0/16\"`, `\"100::/112\"`",
        );
    } else {
        places.tunnel_source(at.value, at.span);
    }
    net
}

fn limits(file: file::Limits, report: &mut Report) -> Limits {
    let file::Limits { services, backends, pools, slots, pins, flows, sources, prefixes } = file;
    let default = Limits::default();
    Limits {
        services: number32(services, 1..=65_535, default.services, "`limits.services`", report),
        backends: number32(backends, 1..=32_767, default.backends, "`limits.backends`", report),
        pools: number32(pools, 1..=65_535, default.pools, "`limits.pools`", report),
        slots: number32(slots, 64..=1 << 28, default.slots, "`limits.slots`", report),
        pins: number32(pins, 1_024..=1 << 28, default.pins, "`limits.pins`", report),
        flows: number32(flows, 1_024..=1 << 28, default.flows, "`limits.flows`", report),
        sources: number32(sources, 1_024..=1 << 24, default.sources, "`limits.sources`", report),
        prefixes: number32(prefixes, 1..=1 << 24, default.prefixes, "`limits.prefixes`", report),
    }
}
