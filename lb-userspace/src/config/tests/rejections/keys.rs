//! Keys and kinds of values.

use super::{CP2, Case, URL};

pub(super) const CASES: &[Case] = &[
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
];
