use super::*;

fn warnings(text: &str) -> Vec<String> {
    let loaded = parse_text(text).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.iter().all(|w| w.severity() == Severity::Warning && w.help().is_some()));
    loaded.warnings.iter().map(|warning| warning.message().to_owned()).collect()
}

#[test]
fn a_good_file_draws_none() {
    assert_eq!(warnings(BASE), Vec::<String>::new());
}

#[test]
fn what_is_allowed_but_odd_is_said() {
    let cases = [
        (
            "[lbd]",
            "[lbd]\nhttp = [\"0.0.0.0:9090\"]",
            "everybody who reaches this address can read the state of the pools",
        ),
        (
            "[[pools.text.checks]]\nkind = \"http\"\nurl = \"http://host.example/healthz\"",
            "",
            "pool `text` has no checks: its backends are taken to be up",
        ),
        ("[lbd]", "[pools.b]\nallow_empty = true\n[lbd]", "no service uses pool `b`"),
        ("slots = 65537", "slots = 199", "199 slots for 2 backends spread the traffic unevenly"),
        (
            "10.0.0.12\" }",
            "127.0.0.2\" }",
            "127.0.0.2 is a loopback address: no packet can be forwarded there",
        ),
        (
            "port = 80",
            "port = 80\nhash = \"destination-port\"",
            "the service has one port only: all its flows go to one backend",
        ),
        (
            "slots = 65537",
            "gue_port = 6081",
            "`gue_port` means nothing: no backend of the pool has `method = \"gue\"`",
        ),
        ("host.example/", "host.example:8080/", "port 8080 of the URL only goes into the `Host` header"),
        (
            "cp1 = { address = \"10.0.0.11\" }\ncp2 = { address = \"10.0.0.12\" }",
            "cp1 = { address = \"10.0.0.11\", pooled = \"no\" }",
            "no backend of the pool has `pooled = \"yes\"` and a weight: it serves nobody",
        ),
    ];
    for (from, to, message) in cases {
        assert!(BASE.contains(from), "{from}");
        assert_eq!(warnings(&BASE.replacen(from, to, 1)), [message], "{to}");
    }
}

#[test]
fn allow_empty_makes_an_empty_or_weightless_pool_valid() {
    let backends = "cp1 = { address = \"10.0.0.11\" }\ncp2 = { address = \"10.0.0.12\" }";
    let text = BASE.replace("slots = 65537", "allow_empty = true");
    assert_eq!(warnings(&text.replace(backends, "")), Vec::<String>::new());
    assert_eq!(
        warnings(&text.replace(backends, "cp1 = { address = \"10.0.0.11\", weight = 0 }")),
        Vec::<String>::new()
    );
}

#[test]
fn a_broken_file_shows_its_warnings_too() {
    let text = BASE.replace("slots = 65537", "slots = 199").replace("port = 80", "port = 0");
    let problems = parse_text(&text).expect_err("port 0");
    assert!(problems.to_string().ends_with("lbd.toml: 1 error, 1 warning"), "{problems}");
}
