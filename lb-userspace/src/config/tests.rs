mod diff;
mod examples;
mod many;
mod mutations;
mod rejections;
mod round_trip;
mod shapes;
mod warnings;

use std::{fmt::Write as _, path::Path, time::Duration};

use super::*;
use crate::model::{
    CheckKind, Combine, Global, Limits, Outliers, Ports, Protocol, Rules, Tunnel, UdpClass, XdpMode,
    check::{HttpCheck, HttpMethod},
};

/// The smallest file.
const MINIMAL: &str = r#"
[lbd]
interfaces = ["eth0"]

[pools.text.backends]
cp1 = { address = "10.0.0.11" }

[services.text-http]
vips = ["203.0.113.10"]
port = 80
pool = "text"
"#;

/// A file without a warning.
const BASE: &str = r#"
[lbd]
interfaces = ["eth0"]

[pools.text]
slots = 65537

[[pools.text.checks]]
kind = "http"
url = "http://host.example/healthz"

[pools.text.backends]
cp1 = { address = "10.0.0.11" }
cp2 = { address = "10.0.0.12" }

[services.text-http]
vips = ["203.0.113.10", "2001:db8::10"]
port = 80
pool = "text"
"#;

fn parse_text(text: &str) -> Result<Loaded, Problems> {
    parse(text, Path::new("lbd.toml"))
}

fn valid(text: &str) -> Config {
    match parse_text(text) {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{problems}\n{text}"),
    }
}

#[test]
fn the_smallest_file_has_good_defaults() {
    let loaded = parse_text(MINIMAL).expect("valid");
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
        tunnel,
        limits,
    } = loaded.config.global;
    assert_eq!(interfaces, ["eth0"]);
    assert_eq!(xdp_mode, XdpMode::Native);
    assert_eq!(secret_file, None);
    assert_eq!(http, ["127.0.0.1:9090".parse().expect("an address")]);
    assert_eq!(socket, Path::new("/run/lbd/lbd.sock"));
    assert_eq!(socket_group, "lbd");
    assert_eq!(state_dir, Path::new("/var/lib/lbd"));
    assert_eq!(bpf_dir, Path::new("/sys/fs/bpf/lbd"));
    assert!(!pybal_metrics);
    assert_eq!((icmp_rate, tunnel), (1000, Tunnel::default()));
    assert_eq!(limits, Limits::default());
    let pool = &loaded.config.pools["text"];
    assert_eq!(pool.threshold, crate::model::Threshold::default());
    assert_eq!(pool.combine, Combine::All);
    assert_eq!(pool.slots, 65_537);
    assert_eq!(pool.outliers, Outliers::default());
    assert!(!pool.optimistic && !pool.allow_empty && pool.checks.is_empty());
    assert_eq!(pool.backends["cp1"].weight.get(), 10);
    let service = &loaded.config.services["text-http"];
    assert_eq!(service.ports, Ports::One(80));
    assert_eq!(service.protocols, [Protocol::Tcp]);
    assert_eq!(service.udp_class, UdpClass::Dns);
    assert_eq!(service.rules, Rules::default());
}

#[test]
fn an_http_check_has_pybals_times_and_asks_the_port_of_the_service() {
    let config = valid(BASE);
    let check = &config.pools["text"].checks[0];
    assert_eq!(&*check.name, "http");
    assert_eq!(check.port, 80);
    assert_eq!((check.interval, check.timeout), (Duration::from_secs(10), Duration::from_secs(5)));
    assert_eq!(check.jitter_per_mille, 100);
    assert_eq!((check.rise.get(), check.fall.get()), (1, 1));
    assert_eq!(
        check.kind,
        CheckKind::Http(HttpCheck {
            method: HttpMethod::Get,
            host: "host.example".to_owned(),
            path: "/healthz".to_owned(),
            headers: Vec::new(),
            status: vec![(200, 299)],
            body_contains: None,
        })
    );
}

#[test]
fn an_idle_check_connects_again_after_three_seconds_and_its_timeout_is_capped() {
    let config =
        valid(&BASE.replace("kind = \"http\"\nurl = \"http://host.example/healthz\"", "kind = \"idle\""));
    let check = &config.pools["text"].checks[0];
    assert_eq!((check.interval, check.timeout), (Duration::from_secs(3), Duration::from_secs(3)));
}

#[test]
fn of_several_ports_each_http_kind_takes_the_one_it_is_known_for() {
    let https = "[services.text-https]\nvips = [\"203.0.113.10\"]\nport = 443\npool = \"text\"\n";
    let config = valid(&format!("{BASE}{https}"));
    assert_eq!(config.pools["text"].checks[0].port, 80);
    let config =
        valid(&format!("{}{https}", BASE.replace("http://", "https://").replace("\"http\"", "\"https\"")));
    let check = &config.pools["text"].checks[0];
    assert_eq!(check.port, 443);
    let CheckKind::Https(_, tls) = &check.kind else { panic!("{check:?}") };
    assert_eq!((tls.sni.as_str(), tls.verify, &tls.ca_file), ("host.example", false, &None));
    let problems = parse_text(&format!(
        "{}{https}",
        BASE.replace("kind = \"http\"\nurl = \"http://host.example/healthz\"", "kind = \"tcp\"")
    ))
    .expect_err("80 or 443?");
    let problem = problems.iter().next().expect("one");
    assert_eq!(
        problem.message(),
        "which port to check is not clear: the services of this pool have ports 80, 443"
    );
    assert!(problem.help().expect("help").starts_with("write `port = 80`"));
}

#[test]
fn the_url_gives_header_and_server_name_but_not_where_to_connect() {
    let text = BASE
        .replace("kind = \"http\"", "kind = \"https\"\nport = 8443")
        .replace("http://host.example/healthz", "https://Host.example:444?a=b");
    let config = valid(&text);
    let check = &config.pools["text"].checks[0];
    let CheckKind::Https(http, tls) = &check.kind else { panic!("{check:?}") };
    assert_eq!(check.port, 8443);
    assert_eq!((http.host.as_str(), http.path.as_str()), ("Host.example:444", "/?a=b"));
    assert_eq!(tls.sni, "Host.example");
}

#[test]
fn an_ipv6_host_loses_its_brackets_in_the_server_name_only() {
    let text = BASE
        .replace("kind = \"http\"", "kind = \"https\"")
        .replace("http://host.example", "https://[2001:db8::1]");
    let config = valid(&text);
    let CheckKind::Https(http, tls) = &config.pools["text"].checks[0].kind else { panic!("https") };
    assert_eq!((http.host.as_str(), tls.sni.as_str()), ("[2001:db8::1]", "2001:db8::1"));
}

#[test]
fn a_missing_file_is_a_problem_without_a_place() {
    let problems = load(Path::new("/nonexistent/lbd.toml")).expect_err("not there");
    let text = problems.to_string();
    assert!(text.contains("cannot read the configuration file: No such file"), "{text}");
    assert!(text.contains("/nonexistent/lbd.toml"), "{text}");
    assert_eq!(problems.iter().next().map(Problem::line), Some(0));
}

#[test]
fn a_file_that_is_not_utf8_is_refused_with_its_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("lbd.toml");
    std::fs::write(&path, b"# fine\n# \xff\n").expect("written");
    let problems = load(&path).expect_err("not UTF-8");
    assert!(problems.to_string().contains("line 2 is not UTF-8"), "{problems}");
}

#[test]
fn a_good_file_is_loaded_from_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("lbd.toml");
    std::fs::write(&path, BASE).expect("written");
    assert_eq!(load(&path).expect("valid").config, valid(BASE));
}

/// A certificate in PEM form.
fn pem(der: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for chunk in der.chunks(3) {
        let byte = |n: usize| chunk.get(n).map_or(0, |byte| usize::from(*byte));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4 {
            out.push(if n <= chunk.len() { char::from(LETTERS[bits >> (18 - 6 * n) & 63]) } else { '=' });
        }
    }
    out + "\n-----END CERTIFICATE-----\n"
}

#[test]
fn files_named_in_a_file_are_looked_at() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file");
    let named = |text: &str| text.replace("FILE", &path.display().to_string());
    let secret = named(&BASE.replace("[lbd]", "[lbd]\nsecret_file = \"FILE\""));
    let ca = named(
        &BASE
            .replace("kind = \"http\"", "kind = \"https\"\ntls = { verify = true, ca_file = \"FILE\" }")
            .replace("http://", "https://"),
    );
    let message = |text: &str| {
        parse_text(text).expect_err("refused").iter().next().map(ToString::to_string).unwrap_or_default()
    };
    assert!(message(&secret).contains("cannot read the key: No such file"), "{}", message(&secret));
    assert!(message(&ca).contains("cannot read the authorities: No such file"), "{}", message(&ca));
    std::fs::write(&path, "nothing").expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
    assert!(message(&secret).contains("`chmod 600 "), "{}", message(&secret));
    assert!(message(&ca).contains("no certificate in PEM form"), "{}", message(&ca));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
    assert!(message(&secret).contains("64 hex digits"), "{}", message(&secret));
    std::fs::write(&path, "7".repeat(64)).expect("written");
    assert_eq!(valid(&secret).global.secret_file.as_deref(), Some(&*path));
    let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).expect("a certificate");
    std::fs::write(&path, pem(authority.cert.der())).expect("written");
    let config = valid(&ca);
    std::fs::write(&path, pem(b"no certificate")).expect("written");
    assert!(message(&ca).contains("no certificate in PEM form"), "{}", message(&ca));
    let CheckKind::Https(_, tls) = &config.pools["text"].checks[0].kind else { panic!("https") };
    assert_eq!((tls.verify, tls.ca_file.as_deref()), (true, Some(&*path)));
}

#[test]
fn ten_thousand_backends_are_read_in_good_time() {
    let mut text = String::from(
        "[lbd]\ninterfaces = [\"eth0\"]\n[pools.big]\nslots = 1048573\n[[pools.big.checks]]\nkind = \"tcp\"\n[pools.big.backends]\n",
    );
    for n in 0..10_000 {
        writeln!(text, "cp{n} = {{ address = \"10.0.{}.{}\" }}", n / 250, 1 + n % 250).expect("written");
    }
    text.push_str("[services.big]\nvips = [\"203.0.113.1\"]\nport = 80\npool = \"big\"\n");
    let config = valid(&text);
    assert_eq!(config.pools["big"].backends.len(), 10_000);
}
