use super::*;

fn change(changes: &[(&str, &str)]) -> Diff {
    let mut text = BASE.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    diff(&valid(BASE), &valid(&text))
}

#[test]
fn equal_configurations_differ_in_nothing() {
    let none = change(&[("cp1 = {", "# a comment\ncp1 = { weight = 10,")]);
    assert!(none.is_empty() && !none.needs_restart());
    assert_eq!(none.to_string(), "no change\n");
}

#[test]
fn each_change_is_named_key_by_key() {
    let changes = change(&[
        ("[\"eth0\"]", "[\"eth0\", \"eth1\"]\nhttp = []\n[lbd.limits]\npins = 2048"),
        ("slots = 65537", "slots = 65537\ndepool_threshold = 0.6"),
        ("/healthz\"", "/healthz\"\nfall = 3\n[[pools.text.checks]]\nkind = \"tcp\""),
        (
            "cp1 = { address = \"10.0.0.11\" }",
            "cp1 = { address = \"10.0.0.11\", weight = 20, pooled = \"no\" }",
        ),
        ("cp2 = { address = \"10.0.0.12\" }", "cp3 = { address = \"10.0.0.13\" }"),
        ("[services.text-http]", "[services.text-web]"),
    ]);
    assert!(changes.needs_restart());
    insta::assert_snapshot!(changes.to_string(), @r#"
    ~ lbd interfaces: ["eth0"] -> ["eth0", "eth1"] (needs a restart)
    ~ lbd http: ["127.0.0.1:9090"] -> [] (needs a restart)
    ~ lbd limits.pins: 1048576 -> 2048 (needs a restart)
    ~ pool text depool_threshold: 0.5 -> 0.6
    ~ backend text/cp1 weight: 10 -> 20
    ~ backend text/cp1 pooled: "yes" -> "no"
    - backend text/cp2
    + backend text/cp3 { address = "10.0.0.13", weight = 10, pooled = "yes", method = "dr" }
    ~ check text/http fall: 1 -> 3
    + check text/tcp { kind = "tcp", name = "tcp", port = 80, via = "vip", interval = "10s", timeout = "5s", jitter = 0.1, rise = 1, fall = 1 }
    - service text-http
    + service text-web { vips = ["203.0.113.10", "2001:db8::10"], port = 80, protocol = "tcp", pool = "text", scheduler = "maglev", hash = "5-tuple", tracking = "auto", idle = "5m", drain_timeout = "1h", block = [], allow = [] }
    "#);
    let json = serde_json::to_value(&changes).expect("JSON");
    assert_eq!(json["restart"][0]["key"], "interfaces");
    assert_eq!(json["pools"][0]["change"], "changed");
    assert_eq!(json["pools"][0]["keys"][0]["new"], "0.6");
    assert_eq!(json["pools"][0]["backends"][1]["change"], "removed");
}

#[test]
fn every_rule_of_a_service_and_a_backend_is_compared() {
    let changes = change(&[
        (
            "[\"eth0\"]",
            "[\"eth0\"]\nicmp_rate = 0\ntunnel = { source4 = \"172.16.0.0/16\" }\nlimits = { flows = 4096 }",
        ),
        ("slots = 65537", "method = \"gue\"\ngue_port = 6081\noutliers = { lower_weight = true }"),
        ("\"10.0.0.12\" }", "\"10.0.0.12\", method = \"ipip\", server_id = 7 }"),
        ("kind = \"http\"", "kind = \"http\"\nport = 80\nvia = \"backend\""),
        (
            "[\"203.0.113.10\", \"2001:db8::10\"]\nport = 80",
            "[\"203.0.113.0/28\"]\nport = \"80-89\"\nprotocol = \"tcp+udp\"\nscheduler = \"wlc\"\npersistence = \"1m\"\nblock = [\"192.0.2.0/24\"]\nallow = [\"192.0.2.7\"]\nmax_new_per_second = 9",
        ),
    ]);
    insta::assert_snapshot!(changes.to_string(), @r#"
    ~ lbd limits.flows: 1048576 -> 4096 (needs a restart)
    ~ lbd icmp_rate: 1000 -> 0
    ~ lbd tunnel.source4: (none) -> "172.16.0.0/16"
    ~ pool text outliers: { lower_weight = false } -> { lower_weight = true }
    ~ backend text/cp1 method: "dr" -> "gue"
    ~ backend text/cp1 gue_port: (none) -> 6081
    ~ backend text/cp2 method: "dr" -> "ipip"
    ~ backend text/cp2 server_id: (none) -> 7
    ~ check text/http via: "vip" -> "backend"
    ~ service text-http vips: ["203.0.113.10", "2001:db8::10"] -> ["203.0.113.0/28"]
    ~ service text-http port: 80 -> "80-89"
    ~ service text-http protocol: "tcp" -> "tcp+udp"
    ~ service text-http udp_class: (none) -> "dns"
    ~ service text-http scheduler: "maglev" -> "wlc"
    ~ service text-http tracking: "auto" -> "always"
    ~ service text-http persistence: (none) -> "1m"
    ~ service text-http persistence_prefix4: (none) -> 32
    ~ service text-http persistence_prefix6: (none) -> 128
    ~ service text-http block: [] -> ["192.0.2.0/24"]
    ~ service text-http allow: [] -> ["192.0.2.7"]
    ~ service text-http max_new_per_second: (none) -> 9
    ~ service text-http hash: "5-tuple" -> (none)
    "#);
}

#[test]
fn a_whole_pool_comes_and_goes_with_its_backends() {
    let other = "[pools.b]\n[[pools.b.checks]]\nkind = \"tcp\"\nport = 1\n[pools.b.backends]\nx = { address = \"10.1.0.1\" }\n";
    let (old, new) = (valid(BASE), valid(&format!("{BASE}{other}")));
    let names: Vec<String> = diff(&old, &new)
        .to_string()
        .lines()
        .map(|l| l.split(' ').take(3).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(names, ["+ pool b", "+ backend b/x", "+ check b/tcp"]);
    assert_eq!(diff(&new, &old).to_string(), "- pool b\n- backend b/x\n- check b/tcp\n");
}

#[test]
fn a_key_that_goes_away_is_shown() {
    let with = BASE.replace("/healthz\"", "/healthz\"\nbody_contains = \"ok\"");
    let changes = diff(&valid(&with), &valid(BASE));
    assert_eq!(changes.to_string(), "~ check text/http body_contains: \"ok\" -> (none)\n");
}

#[test]
fn the_order_of_checks_and_addresses_is_no_secret_change() {
    let two = BASE.replace("/healthz\"", "/healthz\"\n[[pools.text.checks]]\nkind = \"tcp\"");
    let swapped = BASE.replace("kind = \"http\"", "kind = \"tcp\"\n[[pools.text.checks]]\nkind = \"http\"");
    assert!(diff(&valid(&two), &valid(&swapped)).is_empty(), "checks are told apart by name");
}

#[test]
fn what_moves_established_connections_is_said() {
    let disturbs = |changes: &[(&str, &str)]| change(changes).disturbs;
    let service = |keys: &'static str| [("port = 80", keys)];
    assert_eq!(
        disturbs(&service("port = 80\nscheduler = \"wlc\"\nidle = \"9m\"")),
        [""; 0],
        "remembered from now on"
    );
    assert_eq!(disturbs(&[("slots = 65537", "slots = 65537\ndepool_threshold = 0.6")]), [""; 0]);
    let said = disturbs(&service("port = 80\nhash = \"source\""));
    assert!(said[0].starts_with("service text-http: with another `hash`, nearly all"), "{said:?}");
    for (slots, word) in [("8191", "many"), ("131071", "a few")] {
        let said = disturbs(&[("slots = 65537", &format!("slots = {slots}"))]);
        assert!(said[0].starts_with("pool text: with ") && said[0].contains(word), "{said:?}");
    }
    // From remembered to not.
    let [before, after] =
        ["port = 80\ntracking = \"always\"", "port = 80"].map(|keys| valid(&BASE.replace("port = 80", keys)));
    let back = diff(&before, &after);
    assert!(back.disturbs[0].contains("no longer remembered"), "{:?}", back.disturbs);
    assert!(back.to_string().contains("\n! service text-http: its flows"), "{back}");
    assert!(back.lines().iter().any(|line| line.starts_with("! ")));
}
