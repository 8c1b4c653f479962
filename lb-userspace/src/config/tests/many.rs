use super::*;

const MANY: &str = r#"[lbd]
interfaces = ["eth0", "eth0"]
htttp = []

[pools.text]
depool_threshold = 50
slots = 1000

[[pools.text.checks]]
kind = "http"
url = "https://host.example/"
interval = 10
timeout = "5 s"

[pools.text.backends]
cp1 = { address = "10.0.0.11" }
cp2 = { address = "10.0.0.11", weight = 99999 }

[services.a]
vips = ["203.0.113.10"]
port = 80
pool = "text"

[services.b]
vips = ["203.0.113.10"]
port = 80
pool = "txt"
"#;

#[test]
fn all_problems_of_a_file_are_shown_at_once() {
    let problems = parse_text(MANY).expect_err("nothing is right");
    insta::assert_snapshot!(problems.to_string(), @r#"
    error: interface `eth0` is named twice
     --> lbd.toml:2:23
      |
    2 | interfaces = ["eth0", "eth0"]
      |               ------  ^^^^^^
      |               |
      |               first here
      |
      = help: remove one of them

    error: unknown key `htttp`
     --> lbd.toml:3:1
      |
    3 | htttp = []
      | ^^^^^
      |
      = help: did you mean `http`?

    error: `depool_threshold` is out of range
     --> lbd.toml:6:20
      |
    6 | depool_threshold = 50
      |                    ^^
      |
      = help: for 50 % write `0.5`

    error: 1000 is not a prime, as the table needs
     --> lbd.toml:7:9
      |
    7 | slots = 1000
      |         ^^^^
      |
      = help: the nearest primes are 997 and 1009

    error: the scheme `https` does not fit a check of kind "http"
      --> lbd.toml:11:7
       |
    11 | url = "https://host.example/"
       |       ^^^^^^^^^^^^^^^^^^^^^^^
       |
       = help: write `kind = "https"`, or a URL that begins with `http://`

    error: a length of time needs a unit
      --> lbd.toml:12:12
       |
    12 | interval = 10
       |            ^^
       |
       = help: for 10 seconds write `"10s"`

    error: `5 s` is not a length of time
      --> lbd.toml:13:11
       |
    13 | timeout = "5 s"
       |           ^^^^^
       |
       = help: write a number and a unit (ms, s, m, h, d): `"500ms"`, `"10s"`, `"1m30s"`

    error: 10.0.0.11 is the address of `cp1` too
      --> lbd.toml:17:19
       |
    16 | cp1 = { address = "10.0.0.11" }
       |                   ----------- first here
    17 | cp2 = { address = "10.0.0.11", weight = 99999 }
       |                   ^^^^^^^^^^^
       |
       = help: give `cp2` its own address, or remove it; for a larger share raise `weight`

    error: 99999 is out of range for a weight
      --> lbd.toml:17:41
       |
    17 | cp2 = { address = "10.0.0.11", weight = 99999 }
       |                                         ^^^^^
       |
       = help: write a number from 0 to 10000

    error: 203.0.113.10:80/tcp belongs to service `a` already
      --> lbd.toml:25:9
       |
    20 | vips = ["203.0.113.10"]
       |         -------------- in service `a`
    ...
    25 | vips = ["203.0.113.10"]
       |         ^^^^^^^^^^^^^^
       |
       = help: give one of the services another address or port

    error: there is no pool `txt`
      --> lbd.toml:27:8
       |
    27 | pool = "txt"
       |        ^^^^^
       |
       = help: did you mean `"text"`?

    lbd.toml: 11 errors
    "#);
}

#[test]
fn all_errors_of_syntax_are_shown_at_once_and_nothing_else() {
    let text = BASE.replace("[\"eth0\"]", "[\"eth0\"").replace("port = 80", "port 80");
    let problems = parse_text(&text).expect_err("broken twice");
    insta::assert_snapshot!(problems.to_string(), @r#"
    error: missing comma between array elements, expected `,`
     --> lbd.toml:5:1
      |
    5 | [pools.text]
      | ^
      |
      = help: write `,` between the elements; behind the last one close the list with `]`

    error: key with no value, expected `=`
      --> lbd.toml:18:6
       |
    18 | port 80
       |      ^
       |
       = help: the file is TOML: `[table]`, `key = "text"`, `key = 1`, `key = ["a", "b"]`, `key = { a = 1 }`

    lbd.toml: 2 errors
    "#);
}

#[test]
fn machines_get_line_column_message_and_help() {
    let problems = parse_text(&BASE.replace("port = 80", "port = 0")).expect_err("port 0");
    assert_eq!(
        serde_json::to_value(&problems).expect("JSON"),
        serde_json::json!([{
            "severity": "error",
            "line": 18,
            "column": 8,
            "message": "0 is out of range for a port",
            "help": "write a number from 1 to 65535",
        }])
    );
    let one_line = problems.iter().next().map(ToString::to_string);
    assert_eq!(
        one_line.as_deref(),
        Some("lbd.toml:18:8: 0 is out of range for a port (help: write a number from 1 to 65535)")
    );
}

#[test]
fn a_flood_of_problems_is_cut_but_counted() {
    let mut text = BASE.to_owned();
    for n in 0..150 {
        writeln!(text, "x{n} = 1").expect("written");
    }
    let problems = parse_text(&text).expect_err("unknown keys");
    assert_eq!(problems.iter().count(), 150);
    let shown = problems.to_string();
    assert!(shown.contains("... and 50 more"), "{shown}");
    assert!(shown.ends_with("lbd.toml: 150 errors"), "{shown}");
}
