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
    value::{Kind, Schedule, StatusRange, ThresholdBy},
};
use crate::model::{
    Combine, HashFields, Method, Net, Pooled, Ports, Protocols, Tracking, UdpClass, Via, XdpMode,
    check::HttpMethod,
};

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
    /// The daemon and the host. `icmp_rate` and `[lbd.tunnel]` change with a reload, the other keys only with a restart.
    struct Global {
        /// Network interfaces on which packets for the VIPs arrive. The XDP program is attached to each.
        interfaces: Vec<At<String>> = REQUIRED,
        /// `"native"`: in the driver; starting fails where the driver cannot. `"generic"`: in the kernel's stack, which works everywhere
        /// and is several times slower. `"offload"`: in the network card, which hardly any card can.
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
        /// Directory in a bpf file system where the kernel's tables and attachments are pinned.
        bpf_dir: String = "\"/sys/fs/bpf/lbd\"",
        /// Export the metrics under PyBal's names (`pybal_*`) too.
        pybal_metrics: bool = "false",
        /// ICMP messages that the program may make in a VIP's name, per second: so many echo replies, and as many "packet too big" for what
        /// does not fit into a tunnel. 0: none. At most 1000000.
        icmp_rate: u64 = "1000",
        /// Outer addresses of tunnels.
        tunnel: Tunnel = "(the defaults of its keys)",
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
        /// Room for flows that are remembered one by one: all of services with `tracking = "always"`, one in 64 of the others: 1024 to 268435456.
        flows: u64 = "1048576",
        /// Clients that services with `persistence` remember: 1024 to 16777216.
        sources: u64 = "65536",
        /// Prefixes in the `block` and `allow` lists of all services, of each address family: 1 to 16777216.
        prefixes: u64 = "65536",
    }
}

table! {
    /// Outer source addresses of packets to backends with `method = "ipip"` or `"gue"`. A single address is the source of all. In a
    /// prefix the host bits are filled from the flow's hash, so that backends spread flows over their receive queues. Backends do not answer
    /// to these addresses, so any that the network in between lets through will do; routers' errors about tunnelled packets go there.
    struct Tunnel {
        /// For backends with an IPv4 address: `"172.16.0.0/16"`.
        source4: Net = "(the egress interface's address)",
        /// For backends with an IPv6 address: `"100::/64"`.
        source6: Net = "(the egress interface's address)",
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
        /// `method` of backends that have none of their own.
        method: Method = "\"dr\"",
        /// `gue_port` of backends that have none of their own.
        gue_port: u64 = "6080",
        /// What is done about backends that work but stand out.
        outliers: Outliers = "(the defaults of its keys)",
        /// Health checks that each backend must pass. None: backends are taken to be up.
        checks: Vec<At<Check>> = "(none)",
        /// The backends, by name.
        backends: Named<Backend> = "(none)",
    }
}

table! {
    /// A backend whose share of connections, resets or unanswered connection attempts stands out from its pool is always shown. A host
    /// that refuses to work is quick about it, and attracts connections.
    struct Outliers {
        /// Lower the weight of such a backend too, within what the depool threshold allows.
        lower_weight: bool = "false",
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
        /// and `"https"` takes 443 if it is among them. Required when they only have ranges or all ports. A port in `url` is not used for this.
        port: u64 = "(see text)",
        /// `"vip"`: to the VIP, by the backend's `method`, as clients' packets go, which finds a host that answers on its own address but has
        /// lost the VIP. It is the first VIP of the backend's family, of a service with the check's port if there is one; without a VIP of
        /// that family, and where the kernel cannot, the check goes to the backend's own address, and status says so. `"backend"`: always there.
        via: Via = "(`\"vip\"` where a service of the pool has the check's port, otherwise `\"backend\"`)",
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
        /// Its own address; checks go there. For `method = "dr"` it is on a network that this host reaches without a router, as its
        /// neighbour entry gives the MAC address. For tunnels it may be anywhere that is routed: the tunnel ends there. One address, of
        /// either family, suffices for VIPs of both.
        address: IpAddr = REQUIRED,
        /// Relative share of new connections, 0 to 10000. 0: none, established ones finish.
        weight: u64 = "10",
        /// `"yes"`: serves while up. `"no"`: gets no new connections, is still checked and counts for the threshold.
        /// `"inactive"`: as if it were not written here. `lbctl` overrides it.
        pooled: Pooled = "\"yes\"",
        /// How packets reach it. `"dr"`: with its MAC address, unchanged (LVS: gatewaying). `"ipip"`: in an IP packet. `"gue"`: in
        /// UDP (Generic UDP Encapsulation). For the latter two it needs a decapsulating device: see `deploy/`.
        method: Method = "(the pool's `method`)",
        /// `gue` only: UDP port on which it decapsulates.
        gue_port: u64 = "(the pool's `gue_port`)",
        /// Its number in the connection ids of its QUIC server, 0 to 65535, unique in the pool. Needed by services with `quic_server_id`.
        server_id: u64 = "(none)",
    }
}

table! {
    /// Addresses, ports and protocols, and the pool that serves them. A packet that fits several services belongs to the one with the
    /// longest prefix, and of those to one port before a range before all.
    struct Service {
        /// Addresses and prefixes of the service, IPv4 and IPv6 mixed as you like: `["203.0.113.10", "203.0.113.32/28", "2001:db8::10"]`.
        vips: Vec<At<Net>> = REQUIRED,
        /// Ports, on the VIPs as on the backends: one, `80`, a range, `"8000-8099"`, or `"all"`.
        port: Ports = REQUIRED,
        /// Transport protocol, or both.
        protocol: Protocols = "\"tcp\"",
        /// Name of its pool.
        pool: String = REQUIRED,
        /// UDP only. `"dns"`: every packet is a conversation of its own. `"flow"`: for a minute after a change of the pool, packets go where they
        /// went before, new flows included, as nothing tells them apart; then they follow the pool. `"quic"`: the first packets of connections
        /// are told apart by their long header, so that nothing needs to wait.
        udp_class: UdpClass = "\"dns\"",
        /// Who gets a new connection. `"maglev"`: the owner of the flow's place in a table that all balancers compute alike. `"sh"`, `"mh"`: LVS's
        /// words for `"maglev"` with `hash = "source"`, unless `hash` is written. `"rr"`, `"wrr"`: one after the other, the second by weight.
        /// `"lc"`, `"wlc"`: the one with the fewest connections, the second for its weight. `"sed"`: the shortest expected delay. All but
        /// `"maglev"` remember every flow, and balancers do not agree on where a flow goes.
        scheduler: Schedule = "\"maglev\"",
        /// Only with `"maglev"`: what packets that shall meet at one backend have in common. `"5-tuple"`: addresses, ports and protocol. `"source"`:
        /// the client's address. `"source-port"`: the client's address and port (LVS: the flags `sh-port`, `mh-port`). `"destination-port"`: the port on the VIP alone.
        hash: HashFields = "\"5-tuple\"",
        /// `"auto"`: remembers the flows that a change of the pool would move, and estimates connection counts from a sample. `"always"`:
        /// remembers every flow, for exact counts; room for them is `limits.flows`.
        tracking: Tracking = "(`\"auto\"`; `\"always\"` with a scheduler other than `\"maglev\"`)",
        /// A flow without a packet for this long is over, `"1s"` to `"4h"`.
        idle: Duration = "\"5m\"",
        /// A drained backend keeps its established flows no longer than this, `"1s"` to `"8h"`.
        drain_timeout: Duration = "\"1h\"",
        /// Sticky source, as LVS's persistence: a client's new connections go where its last ones went, until it was silent for this long,
        /// `"1s"` to `"4h"`. Room for clients is `limits.sources`.
        persistence: Duration = "(clients are not remembered)",
        /// Only with `persistence`: IPv4 clients that have so many leading bits in common are one, 1 to 32.
        persistence_prefix4: u64 = "(`32`)",
        /// Only with `persistence`: IPv6 clients that have so many leading bits in common are one, 1 to 128.
        persistence_prefix6: u64 = "(`128`)",
        /// Clients that are refused: addresses and prefixes. For a client in several prefixes of `block` and `allow` the longest one decides.
        block: Vec<At<Net>> = "[]",
        /// Clients that are served. With a list that is not empty, clients in neither list are refused.
        allow: Vec<At<Net>> = "[]",
        /// New connections a second beyond which further ones are dropped, on each balancer: 1 to 100000000. Established ones are not concerned.
        max_new_per_second: u64 = "(no ceiling)",
        /// With `udp_class = "quic"`: the connection ids that the backends give their clients name the backend, so that a client that
        /// changes its address stays there. Each backend of the pool needs its `server_id`.
        quic_server_id: QuicServerId = "(connection ids are not looked at)",
    }
}

table! {
    /// Where the `server_id` stands in a connection id.
    struct QuicServerId {
        /// Bytes of the connection id before it, 0 to 18.
        offset: u64 = "1",
        /// Its length in bytes, 1 or 2, the most significant byte first.
        length: u64 = "2",
    }
}
