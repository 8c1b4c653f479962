//! Pools.

use super::{CP2, Case};

pub(super) const CASES: &[Case] = &[
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
];
