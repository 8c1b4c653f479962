//! The file as people write it. The doc comments are the reference: `docs/config.md` is made from them.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
    time::Duration,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    problem::Report,
    table::{At, Field, KeyDoc, Named, REQUIRED, Table, TableDoc, Value, table, unknown_key, wrong_kind},
    value::{Kind, StatusRange, ThresholdBy},
};
use crate::model::{Combine, Pooled, Protocol, UdpClass, XdpMode, check::HttpMethod};

table! {
    /// The file is TOML. A key that is not listed here is an error; all problems of a file are reported at once.
    /// Lengths of time are texts with units: `"500ms"`, `"10s"`, `"1m30s"`, `"2h"`, `"1d"`.
    /// Names of services, pools and backends have letters, digits, `.`, `-`, `_` and `:`, begin with a letter or a digit,
    /// and need quotes in TOML when they contain a dot or a colon.
    struct File {
        /// The daemon and the host.
        lbd: Global = REQUIRED,
        /// Pools of backends, by name.
        pools: Named<Pool> = "(none)",
        /// Services, by name.
        services: Named<Service> = "(none)",
    }
}

table! {
    /// The daemon and the host.
    struct Global {
        /// Network interfaces on which packets for the VIPs arrive. The XDP program is attached to each. Changing them needs a restart.
        interfaces: Vec<At<String>> = REQUIRED,
        /// `"native"`: in the driver; starting fails where the driver cannot. `"generic"`: in the kernel's stack, which works everywhere
        /// and is several times slower. Changing it needs a restart.
        xdp_mode: XdpMode = "\"native\"",
        /// File with the key of the flow hash: 64 hex digits, not readable by others. Balancers that share VIPs must have the same
        /// key, or they disagree on where a flow goes. Without it each host makes its own key and keeps it in `state_dir`.
        /// Tables in the kernel
        /// keep the key they were made with: a new one needs `lbctl shutdown --detach` and a new start. A new one: `(umask 077; openssl rand -hex 32 > /etc/lbd/secret)`.
        secret_file: String = "(a key made at the first start)",
        /// Where the read-only HTTP server listens: metrics, status page, PyBal's endpoints. `[]` switches it off.
        http: Vec<At<SocketAddr>> = "[\"127.0.0.1:9090\"]",
        /// Control socket of `lbctl`.
        socket: String = "\"/run/lbd/lbd.sock\"",
        /// Group whose members may use the control socket. When it does not exist, only root may.
        socket_group: String = "\"lbd\"",
        /// Directory of what must survive a restart: operators' overrides, the generated key.
        state_dir: String = "\"/var/lib/lbd\"",
        /// Directory in a bpf file system where the kernel's tables and attachments are pinned. Changing it needs a restart.
        bpf_dir: String = "\"/sys/fs/bpf/lbd\"",
        /// Export the metrics under PyBal's names (`pybal_*`) too.
        pybal_metrics: bool = "false",
        /// Sizes of the kernel's tables.
        limits: Limits = "(the defaults of its keys)",
    }
}

table! {
    /// Sizes of the kernel's tables. Memory is taken at the start; changing a size needs a restart.
    struct Limits {
        /// Entries (VIP, port, protocol) of each address family: 1 to 65535.
        services: u64 = "16384",
        /// Backends over all pools, those that still drain included: 1 to 32767.
        backends: u64 = "16384",
        /// Pools: 1 to 65535.
        pools: u64 = "4096",
        /// Slots over all pools, 8 bytes each: 64 to 268435456. The default suffices for 63 pools of 65537 slots.
        slots: u64 = "4194304",
        /// Flows that can be pinned while pools change, 8 bytes each: 1024 to 268435456.
        pins: u64 = "1048576",
    }
}

table! {
    /// The backends of one or more services.
    struct Pool {
        /// Part of the pool that must stay up and enabled, 0 to 1: a failing backend is depooled only while the backends that
        /// are up and enabled are at least this part of all (PyBal's formula). Failing backends beyond it keep their traffic.
        depool_threshold: f64 = "0.5",
        /// Whether the threshold counts backends or their weights.
        threshold_by: ThresholdBy = "\"count\"",
        /// Whether a backend is up when all its checks pass or when one does.
        combine: Combine = "\"all\"",
        /// Send traffic to a new backend before its first check has passed.
        optimistic: bool = "false",
        /// The pool may have no backends, or only such with weight 0. Without it such a pool is taken for a mistake.
        allow_empty: bool = "false",
        /// Slots of the pool's table: a prime, at least 100 for each backend for an even spread. Equal on all balancers
        /// that share VIPs. Changing it divides the flows anew: more slots keep nearly all established ones, fewer break many.
        slots: u64 = "65537",
        /// Health checks that each backend must pass. None: backends are taken to be up.
        checks: Vec<At<Check>> = "(none)",
        /// The backends, by name.
        backends: Named<Backend> = "(none)",
    }
}

table! {
    /// One way to find out whether a backend works. Equal checks of one address run once.
    struct Check {
        /// `"tcp"`: a connection can be opened. `"idle"`: a connection is kept open, and its unclean loss is a failure at once
        /// (PyBal's `IdleConnection`). `"http"`, `"https"`: a request is answered as expected (PyBal's `ProxyFetch`).
        kind: Kind = REQUIRED,
        /// Name in status, metrics and logs; unique in the pool.
        name: String = "(the kind)",
        /// Port of the backend. Default: the port of the services that use the pool; when they have several, `"http"` takes 80
        /// and `"https"` takes 443 if it is among them. A port in `url` is not used for this.
        port: u64 = "(see text)",
        /// From the start of one check to the start of the next, `"100ms"` to `"1h"`. For `"idle"`: between attempts to connect.
        interval: Duration = "(`\"10s\"`, idle: `\"3s\"`)",
        /// For the whole check, connecting included: from `"10ms"`, at most the interval.
        timeout: Duration = "(`\"5s\"`, or the interval if that is shorter)",
        /// Part of the interval, 0 to 0.5, by which each one is lengthened or shortened at random, so that checks do not march in step.
        jitter: f64 = "0.1",
        /// Passes in a row that make a failing backend up, 1 to 1000.
        rise: u64 = "1",
        /// Failures in a row that make a passing backend down, 1 to 1000.
        fall: u64 = "1",
        /// `http` and `https` only, and required there: what is asked for. Its scheme is the kind, its host (and port, if written)
        /// becomes the `Host` header and the TLS server name, its path and query are requested. The connection goes to the backend's
        /// address and to `port`, whatever host and port stand here.
        url: String = "(required for http and https)",
        /// `http` and `https` only: request method.
        method: HttpMethod = "\"GET\"",
        /// `http` and `https` only: further request headers, by name.
        headers: Named<String> = "(none)",
        /// `http` and `https` only: accepted status codes, single ones or ranges, such as `[200, "300-399"]`. The default is wider than PyBal's
        /// (200, 201, 202), and the list is meant literally where PyBal ignored most numbers.
        status: Vec<At<StatusRange>> = "[\"200-299\"]",
        /// `http` and `https` only: a text that the first 64 KiB of the body must contain.
        body_contains: String = "(anything is accepted)",
        /// `https` only.
        tls: Tls = "(the defaults of its keys)",
    }
}

table! {
    /// TLS of a check of kind `"https"`.
    struct Tls {
        /// Verify the backend's certificate, as a client of the service would.
        verify: bool = "false",
        /// PEM file of the authorities to trust instead of the public ones; only with `verify = true`.
        ca_file: String = "(the public authorities)",
        /// Server name that is sent and, with `verify`, compared.
        sni: String = "(the host of `url`)",
    }
}

table! {
    /// A host that serves. It holds the VIPs on its loopback and answers clients directly.
    struct Backend {
        /// Its own address, on a network that this host reaches without a router. Checks go there, and its neighbour entry gives
        /// the MAC address. One address, of either family, suffices for VIPs of both.
        address: IpAddr = REQUIRED,
        /// Relative share of new connections, 0 to 10000. 0: none, established ones finish.
        weight: u64 = "10",
        /// `"yes"`: serves while up. `"no"`: gets no new connections, is still checked and counts for the threshold.
        /// `"inactive"`: as if it were not written here. `lbctl` overrides it.
        pooled: Pooled = "\"yes\"",
    }
}

table! {
    /// Addresses, a port and a protocol, and the pool that serves them.
    struct Service {
        /// Addresses of the service, IPv4 and IPv6 mixed as you like: `["203.0.113.10", "2001:db8::10"]`.
        vips: Vec<At<IpAddr>> = REQUIRED,
        /// Port, on the VIPs as on the backends.
        port: u64 = REQUIRED,
        /// Transport protocol.
        protocol: Protocol = "\"tcp\"",
        /// Name of its pool.
        pool: String = REQUIRED,
        /// UDP only. `"dns"`: every packet is a conversation of its own. `"flow"`: for a minute after a change of the pool, packets go where they
        /// went before, new flows included, as nothing tells them apart; then they follow the pool.
        udp_class: UdpClass = "\"dns\"",
        /// A flow without a packet for this long is over, `"1s"` to `"4h"`.
        idle: Duration = "\"5m\"",
        /// A drained backend keeps its established flows no longer than this, `"1s"` to `"8h"`.
        drain_timeout: Duration = "\"1h\"",
    }
}
