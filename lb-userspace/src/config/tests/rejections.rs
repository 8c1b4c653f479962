use super::*;

/// A change to [`BASE`], the message it must give, a part of the help.
type Case = (&'static str, &'static str, &'static str, &'static str);

const URL: &str = "url = \"http://host.example/healthz\"";
const VIPS: &str = "[\"203.0.113.10\", \"2001:db8::10\"]";
const CP2: &str = "cp2 = { address = \"10.0.0.12\" }";
const IDLE: &str = "kind = \"http\"\nurl = \"http://host.example/healthz\"";

const CASES: &[Case] = &[
    // Keys and kinds of values.
    ("port = 80", "prot = 80", "unknown key `prot`", "did you mean `port`?"),
    ("port = 80", "port = 80\nweight = 10", "unknown key `weight`", "the keys here are `vips`, `port`"),
    ("port = 80", "port = 80\nlb_algo = \"wrr\"", "unknown key `lb_algo`", "did you mean `scheduler`?"),
    ("slots = 65537", "lb_kind = \"DR\"", "unknown key `lb_kind`", "did you mean `method`?"),
    (
        "port = 80",
        "port = 80\ndrain-timeout = \"1h\"",
        "unknown key `drain-timeout`",
        "did you mean `drain_timeout`?",
    ),
    ("slots = 65537", "monitors = []", "unknown key `monitors`", "did you mean `checks`?"),
    (
        URL,
        "url = \"http://host.example/healthz\"\nhttp_status = 200",
        "unknown key `http_status`",
        "did you mean `status`?",
    ),
    ("[lbd]", "[service.x]\n[lbd]", "unknown key `service`", "did you mean `services`?"),
    ("[lbd]", "[lbd.limits]\nbackend = 1\n[lbd]", "unknown key `backend`", "did you mean `backends`?"),
    (
        CP2,
        "cp2 = { address = \"10.0.0.12\", enabled = true }",
        "unknown key `enabled`",
        "did you mean `pooled`?",
    ),
    ("port = 80", "", "`port` is missing", "add `port = "),
    ("vips = [\"203.0.113.10\", \"2001:db8::10\"]", "", "`vips` is missing", "add `vips = "),
    ("pool = \"text\"", "", "`pool` is missing", "add `pool = "),
    ("interfaces = [\"eth0\"]", "", "`interfaces` is missing", "add `interfaces = "),
    (CP2, "cp2 = {}", "`address` is missing", "add `address = \"192.0.2.1\"`"),
    ("kind = \"http\"\n", "", "`kind` is missing", "add `kind = "),
    ("slots = 65537", "slots = \"80\"", "expected a whole number, found a text", "write it like `1`"),
    (
        "slots = 65537",
        "slots = 80.0",
        "expected a whole number, found a number with a point",
        "write it like `1`",
    ),
    ("slots = 65537", "slots = -80", "`-80` is out of range", "from 0 on"),
    (
        "interfaces = [\"eth0\"]",
        "interfaces = \"eth0\"",
        "expected a list",
        "put it in brackets: `[\"eth0\"]`",
    ),
    ("interfaces = [\"eth0\"]", "interfaces = [1]", "expected a text, found a whole number", "write it like"),
    (
        "[[pools.text.checks]]",
        "[pools.text.checks]",
        "expected a list of tables, found one table",
        "`[[...]]`",
    ),
    (CP2, "cp2 = \"10.0.0.12\"", "expected a table, found a text", "write it like `{ ... }`"),
    ("slots = 65537", "optimistic = \"yes\"", "expected true or false, found a text", "write it like `true`"),
    (
        "slots = 65537",
        "combine = \"All\"",
        "`All` is not one of `\"all\"` or `\"any\"`",
        "did you mean `\"all\"`?",
    ),
    (
        "[lbd]",
        "[lbd]\nxdp_mode = \"skb\"",
        "`skb` is not one of `\"native\"`, `\"generic\"` or `\"offload\"`",
        "write `\"native\"`",
    ),
    (
        "kind = \"http\"",
        "kind = \"htpt\"",
        "`htpt` is not one of `\"tcp\"`, `\"idle\"`, `\"http\"` or `\"https\"`",
        "did you mean `\"http\"`?",
    ),
    // The daemon.
    ("[\"eth0\"]", "[]", "no interface is named", "ip -br link"),
    ("[\"eth0\"]", "[\"\"]", "the interface name is empty", "ip -br link"),
    ("[\"eth0\"]", "[\"a123456789012345\"]", "the interface name is longer than 15 bytes", "ip -br link"),
    (
        "[\"eth0\"]",
        "[\"eth/0\"]",
        "the interface name has characters that no interface name has",
        "ip -br link",
    ),
    ("[\"eth0\"]", "[\"eth0\", \"eth0\"]", "interface `eth0` is named twice", "remove one"),
    (
        "[lbd]",
        "[lbd]\nhttp = [\"127.0.0.1\"]",
        "`127.0.0.1` is not an IP address with a port",
        "`\"127.0.0.1:9090\"`",
    ),
    ("[lbd]", "[lbd]\nhttp = [\"127.0.0.1:0\"]", "port 0 is no port", "127.0.0.1:9090"),
    ("[lbd]", "[lbd]\nhttp = [\"[::1]:1\", \"[::1]:1\"]", "[::1]:1 is named twice", "remove one"),
    (
        "[lbd]",
        "[lbd]\nstate_dir = \"var/lib\"",
        "the path is relative to wherever lbd is started",
        "begins with `/`",
    ),
    ("[lbd]", "[lbd]\nsocket = \"/a\\u0000\"", "the path has a zero byte", "begins with `/`"),
    (
        "[lbd]",
        "[lbd]\nsocket = \"/ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss\"",
        "a socket's path has at most 107 bytes, this one has 115",
        "/run/lbd",
    ),
    ("[lbd]", "[lbd]\nsocket_group = \"\"", "this is not the name of a group", "getent group"),
    (
        "[lbd]",
        "[lbd]\nbpf_dir = \"/sys/fs/bpf/lbd.d\"",
        "a bpf file system has no names with dots",
        "/sys/fs/bpf/lbd",
    ),
    ("[lbd]", "[lbd.limits]\npins = 0\n[lbd]", "0 is out of range for `limits.pins`", "1024 to 268435456"),
    ("[lbd]", "[lbd]\nicmp_rate = 1000001", "1000001 is out of range for `icmp_rate`", "from 0 to 1000000"),
    ("[lbd]", "[lbd.limits]\nflows = 1\n[lbd]", "1 is out of range for `limits.flows`", "1024 to 268435456"),
    (
        "[lbd]",
        "[lbd.limits]\nsources = 1\n[lbd]",
        "1 is out of range for `limits.sources`",
        "1024 to 16777216",
    ),
    (
        "[lbd]",
        "[lbd.limits]\nprefixes = 0\n[lbd]",
        "0 is out of range for `limits.prefixes`",
        "1 to 16777216",
    ),
    (
        "[lbd]",
        "[lbd.tunnel]\nsource4 = \"172.16.0.0/33\"\n[lbd]",
        "`172.16.0.0/33` is neither an IP address nor a prefix",
        "the length of a prefix is 0 to 32",
    ),
    (
        "[lbd]",
        "[lbd.tunnel]\nsource4 = \"172.16.0.1/16\"\n[lbd]",
        "`172.16.0.1/16` has bits beyond its prefix length",
        "`\"172.16.0.0/16\"`",
    ),
    ("[lbd]", "[lbd.tunnel]\nsource4 = \"100::/64\"\n[lbd]", "100::/64 is not IPv4", "write it as `source6`"),
    (
        "[lbd]",
        "[lbd.tunnel]\nsource6 = \"192.0.2.1\"\n[lbd]",
        "192.0.2.1 is not IPv6",
        "write it as `source4`",
    ),
    (
        "[lbd]",
        "[lbd.tunnel]\nsource6 = \"ff02::/64\"\n[lbd]",
        "ff02::/64 is a multicast address and cannot be a tunnel's source",
        "outer source",
    ),
    (
        "[lbd]",
        "[lbd.tunnel]\nsource4 = \"10.0.0.0/7\"\n[lbd]",
        "10.0.0.0/7 is wider than a /8: too much to send from",
        "`\"172.16.0.0/16\"`",
    ),
    (
        "slots = 65537",
        "method = \"ipip\"\nallow_empty = true\n[lbd.tunnel]\nsource4 = \"10.0.0.12\"\n[pools.text.outliers]",
        "10.0.0.12 lies in 10.0.0.12, from which tunnelled packets come: the host would drop them as its own",
        "an outer source that no backend has",
    ),
    (
        "[lbd]",
        "[lbd.limits]\nbackends = 32768\n[lbd]",
        "32768 is out of range for `limits.backends`",
        "1 to 32767",
    ),
    (
        "[lbd]",
        "[lbd.limits]\nbackends = 1\n[lbd]",
        "2 backends are more than `limits.backends`, 1",
        "`backends = 2`",
    ),
    (
        "[lbd]",
        "[lbd.limits]\nslots = 65537\n[lbd]",
        "the pools need 65568 slots, each rounded up to 32: more than `limits.slots`, 65537",
        "`slots = 131072` under",
    ),
    (
        "[lbd]",
        "[lbd.limits]\nservices = 1\n[services.b]\nvips = [\"203.0.113.11\"]\nport = 80\npool = \"text\"\n[lbd]",
        "2 IPv4 addresses with ports are more than `limits.services`, 1",
        "`services = 2`",
    ),
    (
        "[lbd]",
        "[lbd.limits]\npools = 1\n[pools.b]\nallow_empty = true\n[lbd]",
        "2 pools are more than `limits.pools`, 1",
        "`pools = 2`",
    ),
    // Services.
    ("port = 80", "port = 0", "0 is out of range for a port", "from 1 to 65535"),
    ("port = 80", "port = 70000", "70000 is out of range for a port", "from 1 to 65535"),
    ("port = 80", "port = -80", "-80 is out of range for a port", "from 1 to 65535"),
    (
        "port = 80",
        "port = 80.0",
        "expected a port, a range of ports or `\"all\"`, found a number with a point",
        "write it like `80`",
    ),
    ("port = 80", "port = \"http\"", "`http` is neither a port nor a range of ports", "`\"8000-8099\"`"),
    ("port = 80", "port = \"90-80\"", "`90-80` is neither a port nor a range of ports", "`\"80-90\"`"),
    ("port = 80", "port = \"80-80\"", "`80-80` is neither a port nor a range of ports", "write `80`"),
    ("port = 80", "port = \"0-80\"", "`0-80` is neither a port nor a range of ports", "ports are 1 to 65535"),
    ("port = 80", "port = \"*\"", "`*` is neither a port nor a range of ports", "`\"all\"` for every port"),
    (VIPS, "[]", "a service needs an address", "vips = "),
    (VIPS, "[\"203.0.113.300\"]", "`203.0.113.300` is neither an IP address nor a prefix", "`\"192.0.2.1\"`"),
    (
        VIPS,
        "[\"203.0.113.1/33\"]",
        "`203.0.113.1/33` is neither an IP address nor a prefix",
        "`\"203.0.113.1/32\"`",
    ),
    (
        VIPS,
        "[\"203.0.113.17/28\"]",
        "`203.0.113.17/28` has bits beyond its prefix length",
        "write `\"203.0.113.16/28\"`, or `\"203.0.113.17\"`",
    ),
    (
        VIPS,
        "[\"0.0.0.0/0\"]",
        "0.0.0.0/0 is in 0.0.0.0/8, which names no host and cannot be a VIP",
        "unicast",
    ),
    (VIPS, "[\"168.0.0.0/7\"]", "168.0.0.0/7 contains link-local addresses and cannot be a VIP", "unicast"),
    (VIPS, "[\"32.0.0.0/7\"]", "32.0.0.0/7 is wider than a /8: that is no VIP", "a longer prefix"),
    (VIPS, "[\"2000::/15\"]", "2000::/15 is wider than a /16: that is no VIP", "a longer prefix"),
    (VIPS, "[\"203.0.113.0/28\", \"203.0.113.0/28\"]", "203.0.113.0/28 is written twice", "remove one"),
    (VIPS, "[\"203.0.113.1\", \"203.0.113.1/32\"]", "203.0.113.1 is written twice", "remove one"),
    (
        VIPS,
        "[\"203.0.113.1:80\"]",
        "`203.0.113.1:80` is neither an IP address nor a prefix",
        "the port has a key of its own",
    ),
    (VIPS, "[\"fe80::1%eth0\"]", "`fe80::1%eth0` is neither an IP address nor a prefix", "zone"),
    (
        VIPS,
        "[\"www.example.org\"]",
        "`www.example.org` is neither an IP address nor a prefix",
        "names are not resolved",
    ),
    (CP2, "cp2 = { address = \"10.0.0.12/32\" }", "`10.0.0.12/32` is not an IP address", "`\"10.0.0.12\"`"),
    (VIPS, "[\"224.0.0.1\"]", "224.0.0.1 is a multicast address and cannot be a VIP", "unicast"),
    (VIPS, "[\"ff02::1\"]", "ff02::1 is a multicast address and cannot be a VIP", "unicast"),
    (VIPS, "[\"0.0.0.0\"]", "0.0.0.0 is in 0.0.0.0/8, which names no host and cannot be a VIP", "unicast"),
    (VIPS, "[\"::\"]", ":: names no host and cannot be a VIP", "unicast"),
    (VIPS, "[\"127.0.0.1\"]", "127.0.0.1 is a loopback address and cannot be a VIP", "unicast"),
    (VIPS, "[\"169.254.0.1\"]", "169.254.0.1 is a link-local address and cannot be a VIP", "unicast"),
    (
        VIPS,
        "[\"::ffff:192.0.2.1\"]",
        "::ffff:192.0.2.1 is an IPv4 address written as IPv6 and cannot be a VIP",
        "`\"192.0.2.1\"`",
    ),
    (VIPS, "[\"203.0.113.10\", \"203.0.113.10\"]", "203.0.113.10 is written twice", "remove one"),
    (
        VIPS,
        "[\"10.0.0.11\"]",
        "10.0.0.11 is a VIP of service `text-http` and cannot be a backend's address",
        "`text/cp1`",
    ),
    (
        VIPS,
        "[\"10.0.0.12/31\"]",
        "10.0.0.12 lies in the VIPs 10.0.0.12/31 of service `text-http` and cannot be a backend's address",
        "`text/cp2`",
    ),
    (
        "[services.text-http]",
        "[services.b]\nvips = [\"203.0.113.10\"]\nport = 80\nprotocol = \"tcp+udp\"\npool = \"text\"\n[services.text-http]",
        "203.0.113.10:80/tcp belongs to service `b` already",
        "another address or port",
    ),
    (
        "[lbd]",
        "[services.b]\nvips = [\"203.0.113.10\"]\npool = \"text\"\nport = \"80-90\"\n[services.c]\nvips = [\"203.0.113.10\"]\npool = \"text\"\nport = \"90-99\"\n[lbd]",
        "203.0.113.10:90-99/tcp overlaps ports 80-90 of service `b`",
        "make the ranges disjoint",
    ),
    (
        "[lbd]",
        "[services.b]\nvips = [\"203.0.113.10\"]\npool = \"text\"\nport = \"all\"\n[services.c]\nvips = [\"203.0.113.10\"]\npool = \"text\"\nport = \"all\"\n[lbd]",
        "203.0.113.10:all/tcp belongs to service `b` already",
        "another address or port",
    ),
    (
        "[lbd]",
        "[services.b]\nvips = [\"203.0.113.10\"]\nport = 80\npool = \"text\"\n[lbd]",
        "203.0.113.10:80/tcp belongs to service `b` already",
        "another address or port",
    ),
    (
        "[lbd]",
        "[services.b]\nvips = [\"2001:DB8:0::10\"]\nport = 80\npool = \"text\"\n[lbd]",
        "[2001:db8::10]:80/tcp belongs to service `b` already",
        "another address or port",
    ),
    ("pool = \"text\"", "pool = \"txet\"", "there is no pool `txet`", "did you mean `\"text\"`?"),
    ("pool = \"text\"", "pool = \"upload\"", "there is no pool `upload`", "`[pools.upload]`"),
    (
        "port = 80",
        "port = 80\nudp_class = \"flow\"",
        "`udp_class` means nothing for a TCP service",
        "protocol = \"udp\"",
    ),
    ("port = 80", "port = 80\nidle = \"5h\"", "5h is out of range for `idle`", "from `\"1s\"` to `\"4h\"`"),
    (
        "port = 80",
        "port = 80\ndrain_timeout = \"9h\"",
        "9h is out of range for `drain_timeout`",
        "to `\"8h\"`",
    ),
    (
        "port = 80",
        "port = 80\nprotocol = \"sctp\"",
        "`sctp` is not one of `\"tcp\"`, `\"udp\"` or `\"tcp+udp\"`",
        "write `\"tcp\"`",
    ),
    (
        "port = 80",
        "port = 80\nscheduler = \"lblc\"",
        "`lblc` is not one of `\"maglev\"`, `\"sh\"`, `\"mh\"`, `\"rr\"`, `\"wrr\"`, `\"lc\"`, `\"wlc\"` or `\"sed\"`",
        "write `\"maglev\"`",
    ),
    (
        "port = 80",
        "port = 80\nscheduler = \"wlc\"\ntracking = \"auto\"",
        "the scheduler \"wlc\" needs every flow remembered: `tracking` is \"always\"",
        "tracking = \"always\"",
    ),
    (
        "port = 80",
        "port = 80\nscheduler = \"rr\"\nhash = \"source\"",
        "the scheduler \"rr\" does not hash: `hash` means nothing",
        "scheduler = \"maglev\"",
    ),
    (
        "port = 80",
        "port = 80\nhash = \"source_port\"",
        "`source_port` is not one of `\"5-tuple\"`, `\"source\"`, `\"source-port\"` or `\"destination-port\"`",
        "did you mean `\"source-port\"`?",
    ),
    (
        "port = 80",
        "port = 80\npersistence = \"0s\"",
        "0s is out of range for `persistence`",
        "from `\"1s\"` to `\"4h\"`",
    ),
    ("port = 80", "port = 80\npersistence = 300", "a length of time needs a unit", "`\"300s\"`"),
    (
        "port = 80",
        "port = 80\npersistence = \"5m\"\npersistence_prefix4 = 33",
        "33 is out of range for `persistence_prefix4`",
        "from 1 to 32",
    ),
    (
        "port = 80",
        "port = 80\npersistence = \"5m\"\npersistence_prefix6 = 0",
        "0 is out of range for `persistence_prefix6`",
        "from 1 to 128",
    ),
    (
        "port = 80",
        "port = 80\npersistence_prefix4 = 24",
        "`persistence_prefix4` means nothing without `persistence`",
        "add `persistence",
    ),
    (
        "port = 80",
        "port = 80\nblock = [\"192.0.2.1/24\"]",
        "`192.0.2.1/24` has bits beyond its prefix length",
        "write `\"192.0.2.0/24\"`",
    ),
    (
        "port = 80",
        "port = 80\nblock = [\"192.0.2.0/24\", \"192.0.2.0/24\"]",
        "192.0.2.0/24 is written twice",
        "remove one",
    ),
    (
        "port = 80",
        "port = 80\nblock = [\"192.0.2.0/24\"]\nallow = [\"192.0.2.0/24\"]",
        "192.0.2.0/24 is in `block` and in `allow`",
        "remove one",
    ),
    (
        "[lbd]\ninterfaces = [\"eth0\"]",
        "[services.b]\nvips = [\"203.0.113.11\"]\nport = 80\npool = \"text\"\nblock = [\"192.0.2.1\", \"192.0.2.2\"]\nallow = [\"2001:db8::/32\"]\n[lbd]\ninterfaces = [\"eth0\"]\nlimits = { prefixes = 1 }",
        "2 IPv4 prefixes in `block` and `allow` are more than `limits.prefixes`, 1",
        "`prefixes = 2`",
    ),
    (
        "port = 80",
        "port = 80\nmax_new_per_second = 0",
        "0 is out of range for `max_new_per_second`",
        "from 1 to 100000000",
    ),
    (
        "port = 80",
        "port = 80\nprotocol = \"udp\"\nudp_class = \"flow\"\nquic_server_id = {}",
        "`quic_server_id` means nothing for a service that is not QUIC",
        "udp_class = \"quic\"",
    ),
    (
        "port = 80",
        "port = 80\nprotocol = \"udp\"\nudp_class = \"quic\"\nquic_server_id = { offset = 1, length = 2 }",
        "backends of pool `text` have no `server_id`: `cp1`, `cp2`",
        "write `server_id = ...` in each",
    ),
    (
        "cp1 = { address = \"10.0.0.11\" }\ncp2 = { address = \"10.0.0.12\" }\n\n[services.text-http]",
        "cp1 = { address = \"10.0.0.11\", server_id = 7 }\ncp2 = { address = \"10.0.0.12\", server_id = 256 }\n\n[services.text-http]\nprotocol = \"udp\"\nudp_class = \"quic\"\nquic_server_id = { length = 1 }",
        "the `server_id` of these backends does not fit into one byte: `cp2`",
        "`length = 2`",
    ),
    (
        "cp1 = { address = \"10.0.0.11\" }\ncp2 = { address = \"10.0.0.12\" }\n\n[services.text-http]",
        "cp1 = { address = \"10.0.0.11\", server_id = 7 }\ncp2 = { address = \"10.0.0.12\", server_id = 8 }\n\n[services.text-http]\nprotocol = \"udp\"\nudp_class = \"quic\"\nquic_server_id = { offset = 19 }",
        "19 is out of range for `offset`",
        "from 0 to 18",
    ),
    ("port = 80", "port = 80\nidle = 300", "a length of time needs a unit", "`\"300s\"`"),
    ("port = 80", "port = 80\nidle = \"300 sec\"", "`300 sec` is not a length of time", "`\"1m30s\"`"),
    (
        "[services.text-http]",
        "[services.\"text http\"]",
        "a name has letters, digits, `.`, `-`, `_` and `:` only, not ` `",
        "begin with a letter",
    ),
    (
        "[services.text-http]",
        "[services.-v]",
        "a name begins with a letter or a digit, not `-`",
        "begin with a letter",
    ),
    // Pools.
    ("slots = 65537", "slots = 65536", "65536 is not a prime, as the table needs", "65521 and 65537"),
    ("slots = 65537", "slots = 1", "1 is out of range for `slots`", "from 2"),
    ("slots = 65537", "slots = 2000003", "2000003 is out of range for `slots`", "1048573"),
    (
        "slots = 65537",
        "depool_threshold = 1.5",
        "`depool_threshold` is out of range",
        "for 1.5 % write `0.015`",
    ),
    ("slots = 65537", "depool_threshold = 50", "`depool_threshold` is out of range", "for 50 % write `0.5`"),
    ("slots = 65537", "depool_threshold = -0.1", "`depool_threshold` is out of range", "from 0 to 1"),
    ("slots = 65537", "depool_threshold = nan", "`depool_threshold` is out of range", "from 0 to 1"),
    (
        "cp1 = { address = \"10.0.0.11\" }\ncp2 = { address = \"10.0.0.12\" }",
        "",
        "the pool has no backends",
        "allow_empty = true",
    ),
    (
        "cp1 = { address = \"10.0.0.11\" }\ncp2 = { address = \"10.0.0.12\" }",
        "cp1 = { address = \"10.0.0.11\", weight = 0 }",
        "every backend of the pool has weight 0: it would serve nobody",
        "allow_empty = true",
    ),
    (
        CP2,
        "cp2 = { address = \"10.0.0.12\", weight = 10001 }",
        "10001 is out of range for a weight",
        "0 to 10000",
    ),
    (
        CP2,
        "cp2 = { address = \"10.0.0.11\" }",
        "10.0.0.11 is the address of `cp1` too",
        "`cp2` its own address",
    ),
    (
        CP2,
        "cp2 = { address = \"10.0.0.12\", method = \"nat\" }",
        "`nat` is not one of `\"dr\"`, `\"ipip\"` or `\"gue\"`",
        "write `\"dr\"`",
    ),
    (
        CP2,
        "cp2 = { address = \"10.0.0.12\", method = \"ipip\", gue_port = 6081 }",
        "`gue_port` means nothing for the method \"ipip\"",
        "method = \"gue\"",
    ),
    (
        CP2,
        "cp2 = { address = \"10.0.0.12\", method = \"gue\", gue_port = 0 }",
        "0 is out of range for a port",
        "from 1 to 65535",
    ),
    (
        CP2,
        "cp2 = { address = \"10.0.0.12\", server_id = 65536 }",
        "65536 is out of range for `server_id`",
        "from 0 to 65535",
    ),
    (
        "cp1 = { address = \"10.0.0.11\" }\ncp2 = { address = \"10.0.0.12\" }",
        "cp1 = { address = \"10.0.0.11\", server_id = 1 }\ncp2 = { address = \"10.0.0.12\", server_id = 1 }",
        "1 is the `server_id` of `cp1` too",
        "give `cp2` the number",
    ),
    (
        CP2,
        "cp2 = { address = \"ff02::1\" }",
        "ff02::1 is a multicast address and cannot be a backend's",
        "own address",
    ),
    (
        CP2,
        "cp2.example = { address = \"10.0.0.12\" }",
        "unknown key `example`",
        "a name with dots needs quotes",
    ),
    (
        CP2,
        "\"cp/2\" = { address = \"10.0.0.12\" }",
        "a name has letters, digits, `.`, `-`, `_` and `:` only, not `/`",
        "begin with a letter",
    ),
    // Checks.
    (URL, "", "a check of kind \"http\" needs a `url`", "`url = \"http://host.example/healthz\"`"),
    (
        "kind = \"http\"",
        "kind = \"https\"",
        "the scheme `http` does not fit a check of kind \"https\"",
        "`kind = \"http\"`",
    ),
    (URL, "url = \"/healthz\"", "this is not a URL", "http://host.example"),
    (
        URL,
        "url = \"ftp://h/\"",
        "the scheme `ftp` does not fit a check of kind \"http\"",
        "http://host.example",
    ),
    (URL, "url = \"http://h/a b\"", "a URL cannot have the character ` `", "%20"),
    (URL, "url = \"http://h/\\r\\nX: y\"", "a URL cannot have the character `\\r`", "percent-encode"),
    (URL, "url = \"http://h/#top\"", "a URL's fragment (`#...`) is never sent", "%23"),
    (URL, "url = \"http://me:pw@h/\"", "the URL has a user name", "Authorization"),
    (URL, "url = \"http:///healthz\"", "this is not a URL: invalid format", "http://host.example"),
    (URL, "url = \"http://h:99999/\"\nport = 1", "the URL's port is not a port", "1 to 65535"),
    (
        URL,
        "url = \"http://h/\"\nmethod = \"POST\"",
        "`POST` is not one of `\"GET\"`, `\"HEAD\"` or `\"OPTIONS\"`",
        "write `\"GET\"`",
    ),
    (
        URL,
        "url = \"http://h/\"\nheaders = { \"X Y\" = \"1\" }",
        "`X Y` is not the name of a header",
        "headers = ",
    ),
    (
        URL,
        "url = \"http://h/\"\nheaders = { X = \"a\\r\\nY: b\" }",
        "a header's value is one line",
        "line break",
    ),
    (
        URL,
        "url = \"http://h/\"\nheaders = { X = \"é\" }",
        "a header's value has visible ASCII characters only",
        "percent-encode",
    ),
    (
        URL,
        "url = \"http://h/\"\nheaders = { host = \"x\" }",
        "the header `host` is not free to choose",
        "the host of `url`",
    ),
    (
        URL,
        "url = \"http://h/\"\nheaders = { Content-Length = \"1\" }",
        "the header `Content-Length` is not free to choose",
        "remove it",
    ),
    (URL, "url = \"http://h/\"\nstatus = []", "no status would be accepted", "200-299"),
    (URL, "url = \"http://h/\"\nstatus = 200", "expected a list", "`[200]`"),
    (
        URL,
        "url = \"http://h/\"\nstatus = [99]",
        "99 is neither a status code nor a range of them",
        "100 to 599",
    ),
    (
        URL,
        "url = \"http://h/\"\nstatus = [\"299-200\"]",
        "\"299-200\" is neither a status code nor a range of them",
        "the smaller one first",
    ),
    (
        URL,
        "url = \"http://h/\"\nbody_contains = \"\"",
        "`body_contains` is empty or longer than the 64 KiB that are read",
        "remove the key",
    ),
    (
        URL,
        "url = \"http://h/\"\nbody_contains = \"ok\"\nmethod = \"HEAD\"",
        "the answer to HEAD has no body",
        "method = \"GET\"",
    ),
    (
        URL,
        "url = \"http://h/\"\ntls = {}",
        "`tls` means nothing for a check of kind \"http\"",
        "kind = \"https\"",
    ),
    (
        IDLE,
        "kind = \"https\"\nurl = \"https://h/\"\ntls = { ca_file = \"/dev/null\" }",
        "`ca_file` means nothing without `verify = true`",
        "verify = true",
    ),
    (
        IDLE,
        "kind = \"https\"\nurl = \"https://h/\"\ntls = { verify = true, ca_file = \"ca.pem\" }",
        "the path is relative to wherever lbd is started",
        "begins with `/`",
    ),
    (
        IDLE,
        "kind = \"https\"\nurl = \"https://h/\"\ntls = { sni = \"a b\" }",
        "`a b` cannot be the server name of TLS",
        "sni = ",
    ),
    (
        IDLE,
        "kind = \"idle\"\nurl = \"http://h/\"",
        "`url` means nothing for a check of kind \"idle\"",
        "kind = \"http\"",
    ),
    (
        IDLE,
        "kind = \"tcp\"\nstatus = [200]",
        "`status` means nothing for a check of kind \"tcp\"",
        "kind = \"http\"",
    ),
    (IDLE, "kind = \"tcp\"\nport = 0", "0 is out of range for a port", "from 1 to 65535"),
    (
        IDLE,
        "kind = \"tcp\"\ninterval = \"10ms\"",
        "10ms is out of range for `interval`",
        "from `\"100ms\"` to `\"1h\"`",
    ),
    (
        IDLE,
        "kind = \"tcp\"\ninterval = \"2s\"\ntimeout = \"3s\"",
        "the timeout is longer than the interval of 2s",
        "at most `\"2s\"`",
    ),
    (IDLE, "kind = \"tcp\"\ntimeout = \"1ms\"", "the timeout is too short", "at least `\"10ms\"`"),
    (IDLE, "kind = \"tcp\"\njitter = \"10%\"", "expected a number, found a text", "write it like `0.5`"),
    (IDLE, "kind = \"tcp\"\njitter = 10", "`jitter` is out of range", "for 10 % write `0.1`"),
    (IDLE, "kind = \"tcp\"\nrise = 0", "0 is out of range for `rise`", "from 1 to 1000"),
    (IDLE, "kind = \"tcp\"\nfall = 1001", "1001 is out of range for `fall`", "from 1 to 1000"),
    (
        IDLE,
        "kind = \"tcp\"\nname = \"a b\"",
        "a name has letters, digits, `.`, `-`, `_` and `:` only, not ` `",
        "begin with a letter",
    ),
    (
        IDLE,
        "kind = \"tcp\"\n[[pools.text.checks]]\nkind = \"tcp\"",
        "two checks of the pool are named `tcp`",
        "`name = \"tcp-2\"`",
    ),
    (
        IDLE,
        "kind = \"tcp\"\nvia = \"host\"",
        "`host` is not one of `\"backend\"` or `\"vip\"`",
        "write `\"backend\"`",
    ),
    (
        "port = 80",
        "port = \"8000-8099\"",
        "which port to check is not clear: the services of this pool have ports 8000-8099",
        "write `port = 8000`",
    ),
    (
        "port = 80",
        "port = \"all\"",
        "which port to check is not clear: the services of this pool have ports all",
        "write `port = 80`",
    ),
    (
        "[lbd]",
        "[pools.b]\nallow_empty = true\n[[pools.b.checks]]\nkind = \"tcp\"\n[lbd]",
        "which port to check is not clear: no service uses this pool",
        "write `port = ...`",
    ),
];

#[test]
fn every_mistake_is_refused_alone_at_its_place_and_with_help() {
    parse_text(BASE).expect("the base is valid");
    let mut wrong = String::new();
    for (from, to, message, help) in CASES {
        assert!(BASE.contains(from), "{from}");
        let text = BASE.replacen(from, to, 1);
        let Err(problems) = parse_text(&text) else {
            writeln!(wrong, "accepted: {to}").expect("written");
            continue;
        };
        let errors: Vec<&Problem> = problems.iter().filter(|p| p.severity() == Severity::Error).collect();
        let good = matches!(errors[..], [error] if error.message() == *message && error.help().is_some_and(|text| text.contains(help)));
        if !good || errors[0].line() == 0 {
            writeln!(wrong, "for {to}\nwanted {message}\n   and {help}\n{problems}\n").expect("written");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn an_unreadable_value_is_complained_of_once() {
    let text = BASE
        .replace("port = 80", "port = \"http\"")
        .replace("cp1 = { address = \"10.0.0.11\" }\ncp2 = { address = \"10.0.0.12\" }", "cp1 = 1")
        .replace("[\"eth0\"]", "[0]");
    let problems = parse_text(&text).expect_err("three mistakes");
    assert_eq!(problems.iter().count(), 3, "{problems}");
}
