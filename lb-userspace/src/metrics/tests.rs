//! The HTTP port over real connections: PyBal's endpoints byte for byte, the scrape, the refusals.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{http, names, scrape};
use crate::{
    api::{fixture::Site, serve},
    coordinator::snapshot::{PoolView, Snapshot},
    model::{CheckKind, CheckSpec, CheckTarget, Disposition, Pooled},
};

struct Served {
    site: Site,
    address: SocketAddr,
    _stop: DropGuard,
}

async fn served() -> Served {
    let site = Site::new();
    let stop = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve::tcp(listener, http::router(&site.sources, true), stop.clone()));
    Served { site, address, _stop: stop.drop_guard() }
}

struct Got {
    status: u16,
    head: String,
    body: String,
}

impl Served {
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn request(&self, method: &str, path: &str, headers: &str) -> Got {
        let answer = self
            .raw(&format!("{method} {path} HTTP/1.1\r\nhost: lb\r\nconnection: close\r\n{headers}\r\n"))
            .await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Got { status: head[9..12].parse().unwrap(), head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    async fn text(&self, path: &str) -> Got {
        self.request("GET", path, "").await
    }

    async fn json(&self, path: &str) -> Got {
        self.request("GET", path, "accept: application/json\r\n").await
    }

    fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = Snapshot::clone(&self.site.snapshot.borrow());
        change(&mut snapshot);
        self.site.snapshot.send_replace(Arc::new(snapshot));
    }

    fn pool(&self, name: &str, change: impl FnOnce(&mut PoolView)) {
        self.change(|snapshot| change(Arc::make_mut(snapshot.pools.get_mut(name).unwrap())));
    }
}

#[tokio::test]
async fn pybals_pools_are_byte_for_byte() {
    let served = served().await;
    for path in ["/pools", "/pools/"] {
        let got = served.text(path).await;
        assert_eq!((got.status, got.body.as_str()), (200, "dns_53_udp\ntext_80\n"));
        assert!(got.head.contains("\r\ncontent-type: text/plain\r\n"), "{}", got.head);
        let got = served.json(path).await;
        assert_eq!(got.body, r#"["dns_53_udp", "text_80"]"#);
        assert!(got.head.contains("\r\ncontent-type: application/json\r\n"), "{}", got.head);
    }
}

#[tokio::test]
async fn pybals_servers_are_byte_for_byte_and_inactive_ones_unknown() {
    let served = served().await;
    for path in ["/pools/text_80", "/pools/text_80/", "/pools/text%5f80"] {
        assert_eq!(
            served.text(path).await.body,
            "cp1001:\tenabled/up/pooled\ncp1002:\tdisabled/up/not pooled\n\
             cp1003:\tenabled/partially up/not pooled\ncp1005:\tenabled/up/pooled\n"
        );
    }
    assert_eq!(
        served.json("/pools/dns_53_udp").await.body,
        "{\"d1\": {\"pooled\": true, \"weight\": 100, \"up\": true, \"enabled\": true}, \
         \"d2\": {\"pooled\": true, \"weight\": 100, \"up\": false, \"enabled\": true}}"
    );
}

#[tokio::test]
async fn pybals_server_has_four_keys_and_no_fifth() {
    let served = served().await;
    for path in ["/pools/text_80/cp1002", "/pools/text_80/cp1002/", "/pools/text_80/cp1002/x"] {
        assert_eq!(served.text(path).await.body, "disabled/up/not pooled\n");
        assert_eq!(
            served.json(path).await.body,
            r#"{"pooled": false, "weight": 100, "up": true, "enabled": false}"#
        );
    }
}

#[tokio::test]
async fn what_pybal_does_not_know_is_404_in_its_words() {
    let served = served().await;
    for path in [
        "/nope",
        "/pools/nope",
        "/pools/nope/cp1001",
        "/pools/text_80/nope",
        "/pools/text_80/cp1004",
        "/pools//",
        "/pools/%ff%fe",
        "/pools/%",
        "/poolsx",
    ] {
        let got = served.text(path).await;
        assert_eq!((got.status, got.body.as_str()), (404, "The desired url was not found"), "{path}");
        let got = served.json(path).await;
        assert_eq!(got.body, r#"{"error": "The desired url was not found"}"#);
    }
}

#[tokio::test]
async fn json_is_given_only_for_exactly_application_json() {
    let served = served().await;
    for accept in ["*/*", "application/json, text/plain", "application/json;q=1", "Application/JSON"] {
        let got = served.request("GET", "/pools", &format!("accept: {accept}\r\n")).await;
        assert_eq!(got.body, "dns_53_udp\ntext_80\n", "{accept}");
    }
    let got = served.request("GET", "/pools", "accept: text/html\r\naccept: application/json\r\n").await;
    assert_eq!(got.body, r#"["dns_53_udp", "text_80"]"#);
}

#[tokio::test]
async fn alerts_are_critical_then_warning_then_ok() {
    let served = served().await;
    assert_eq!(
        served.text("/alerts").await.body,
        "CRITICAL - dns_53_udp: Servers d2 are marked down but pooled"
    );
    served.pool("text_80", |pool| {
        for name in ["cp1001", "cp1005"] {
            pool.backends.get_mut(name).unwrap().disposition = Disposition::Held;
        }
    });
    assert_eq!(
        served.text("/alerts/").await.body,
        "CRITICAL - dns_53_udp: Servers d2 are marked down but pooled; \
         text_80: Servers cp1001, cp1005 are marked down but pooled"
    );
    for pool in ["text_80", "dns_53_udp"] {
        served.pool(pool, |pool| {
            for backend in pool.backends.values_mut() {
                backend.disposition = Disposition::Serving;
            }
            pool.threshold.fraction = 0.76;
        });
    }
    assert_eq!(
        served.text("/alerts").await.body,
        "WARNING - Pool dns_53_udp is too small to allow depooling. Pool text_80 is too small to allow depooling. "
    );
    assert_eq!(
        served.json("/alerts").await.body,
        "{\"status\": \"warning\", \"msg\": \"Pool dns_53_udp is too small to allow depooling. \
         Pool text_80 is too small to allow depooling. \"}"
    );
    served.pool("text_80", |pool| pool.threshold.fraction = 0.75);
    served.pool("dns_53_udp", |pool| {
        pool.backends.get_mut("d2").unwrap().pooled = Pooled::Inactive;
    });
    assert_eq!(served.text("/alerts").await.body, "OK - All pools are healthy");
    assert_eq!(served.json("/alerts").await.body, r#"{"status": "ok", "msg": "All pools are healthy"}"#);
}

#[tokio::test]
async fn an_empty_site_answers_as_pybal_does() {
    let served = served().await;
    served.change(|snapshot| snapshot.pools.clear());
    assert_eq!(served.text("/pools").await.body, "\n");
    assert_eq!(served.json("/pools").await.body, "[]");
    assert_eq!(served.text("/alerts").await.body, "OK - All pools are healthy");
}

#[tokio::test]
async fn nothing_can_be_changed_over_tcp() {
    let served = served().await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        for path in ["/api/v1/command", "/pools/text_80/cp1001", "/metrics", "/"] {
            let got = served.request(method, path, "content-length: 0\r\n").await;
            assert_eq!(got.status, 405, "{method} {path}");
            assert!(got.head.contains("\r\nallow: get, head"), "{}", got.head);
            assert!(got.body.contains("this port is read-only"));
        }
    }
    assert_eq!(served.text("/api/v1/command").await.status, 404);
    assert!(served.site.daemon.asked.lock().unwrap().is_empty());
    let head = served.request("HEAD", "/pools", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn the_apis_reads_are_there_and_its_unknown_paths_are_json() {
    let served = served().await;
    assert!(served.text("/api/v1/status").await.body.starts_with("{\"version\":\"0.1.0\""));
    assert!(served.text("/api/v1/nope").await.body.contains("\"help\""));
}

#[tokio::test]
async fn what_is_not_http_does_not_hurt_the_next_client() {
    let served = served().await;
    for garbage in
        ["\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\r\n\r\n", "GET /%zz HTTP/1.1\r\nx\r\n\r\n"]
    {
        let answer = served.raw(garbage).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(70_000));
    let answer = served.raw(&long).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(served.text("/livez").await.status, 200);
}

#[tokio::test]
async fn livez_fails_when_the_coordinator_is_stuck_and_readyz_before_the_start() {
    let served = served().await;
    assert_eq!(served.text("/livez").await.status, 200);
    assert_eq!(served.text("/readyz").await.status, 200);
    served.change(|snapshot| {
        snapshot.ready = false;
        snapshot.published = snapshot.published.checked_sub(Duration::from_secs(6)).unwrap();
    });
    let got = served.text("/livez").await;
    assert_eq!(got.status, 503);
    assert!(got.body.contains("has not published its state for 6 s"), "{}", got.body);
    assert_eq!(served.text("/readyz").await.status, 503);
    let scraped = served.text("/metrics").await.body;
    assert!(scraped.contains("\nlb_up 0\n"), "metrics work meanwhile, and say so");
}

#[tokio::test]
async fn the_page_shows_the_state_and_lets_nobody_smuggle_markup_in() {
    let served = served().await;
    served.pool("text_80", |pool| {
        pool.backends.get_mut("cp1003").unwrap().why = "<script>alert(1)</script>".into();
    });
    let got = served.text("/").await;
    assert!(got.head.contains("content-security-policy: default-src 'none'; style-src 'self'"));
    assert!(got.body.contains("<td>cp1002</td>") && got.body.contains("class=\"draining\""));
    assert!(got.body.contains("&lt;script&gt;") && !got.body.contains("<script"));
    assert_eq!(served.text("/style.css").await.body, super::page::STYLE);
}

/// Splits a sample into its series and value; panics at what Prometheus would refuse.
fn sample(line: &str) -> (&str, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    (series, value.parse().unwrap_or_else(|_| panic!("{line}")))
}

fn scraped(site: &Site, pybal: bool) -> String {
    String::from_utf8(scrape::collect(&site.sources, pybal).unwrap()).unwrap()
}

#[test]
fn the_scrape_has_each_metric_once_and_no_series_twice() {
    let text = scraped(&Site::new(), true);
    let mut help = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    let mut series = BTreeSet::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split_once(' ').unwrap().0;
            assert!(help.insert(current), "HELP of {current} twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current);
            assert!(["counter", "gauge"].contains(&kind));
            assert!(kinds.insert(name), "TYPE of {name} twice");
        } else {
            let (id, _) = sample(line);
            assert!(series.insert(id), "{id} twice");
            assert_eq!(id.split('{').next(), Some(current), "a sample outside its family");
        }
    }
    // The site has no http check, so PyBal's fetch duration has no sample.
    let missing: Vec<_> = names::OWN
        .iter()
        .chain(names::PYBAL)
        .map(|name| name.name)
        .filter(|name| !help.contains(name))
        .collect();
    assert_eq!(missing, ["pybal_monitor_proxyfetch_request_duration_seconds"]);
}

#[test]
fn the_scrape_says_what_is() {
    let text = scraped(&Site::new(), true);
    for line in [
        r#"lb_info{version="0.1.0",abi="1"} 1"#,
        "lb_up 1",
        r#"lb_service_connections_total{service="text"} 100"#,
        r#"lb_backend_packets_total{pool="text_80",backend="cp1001"} 600"#,
        r#"lb_backend_packets_total{pool="text_80",backend="old1"} 7"#,
        r#"lb_backend_state{pool="text_80",backend="cp1002",state="draining"} 1"#,
        r#"lb_backend_state{pool="text_80",backend="cp1002",state="serving"} 0"#,
        r#"lb_backend_up{pool="text_80",backend="cp1004"} 0"#,
        r#"lb_pool_backends{pool="text_80"} 4"#,
        r#"lb_pool_backends_up_enabled{pool="text_80"} 2"#,
        r#"lb_pool_backends_serving{pool="dns_53_udp"} 2"#,
        r#"lb_pool_backends_held{pool="dns_53_udp"} 1"#,
        r#"lb_pool_could_not_depool_total{pool="dns_53_udp"} 3"#,
        r#"lb_pool_slots_in_transition{pool="text_80"} 1200"#,
        r#"lb_packets_stopped_total{reason="ttl_expired",verdict="drop"} 17"#,
        r#"lb_pins_total{event="base"} 1100"#,
        r#"lb_check_up{pool="text_80",backend="cp1003",check="tcp"} 0"#,
        r#"lb_check_results_total{pool="text_80",backend="cp1001",check="tcp",result="pass"} 90"#,
        "lb_config_last_reload_successful 1",
        "lb_config_last_reload_success_timestamp_seconds 1704067200",
        r#"lb_config_reloads_total{result="failure"} 1"#,
        "lb_datapath_revision_lag 0",
        "lb_overrides 1",
        r#"pybal_service_servers{service="text_80"} 4"#,
        r#"pybal_service_pooled_down_servers{service="dns_53_udp"} 1"#,
        r#"pybal_monitor_status{service="text_80",host="cp1001",monitor="IdleConnection"} 1"#,
        r#"pybal_monitor_down_transitions_total{service="text_80",host="cp1003",monitor="tcp"} 1"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(!scraped(&Site::new(), false).contains("pybal_"));
}

#[test]
fn two_checks_of_one_kind_keep_two_series() {
    let site = Site::new();
    let mut snapshot = Snapshot::clone(&site.snapshot.borrow());
    let pool = Arc::make_mut(snapshot.pools.get_mut("text_80").unwrap());
    let backend = pool.backends.get_mut("cp1001").unwrap();
    let second = CheckTarget {
        address: backend.address,
        spec: Arc::new(CheckSpec {
            name: "idle-admin".into(),
            kind: CheckKind::Idle,
            ..CheckSpec::clone(&backend.checks[1].spec)
        }),
        production: None,
    };
    backend.checks.push(second);
    site.snapshot.send_replace(Arc::new(snapshot));
    let text = scraped(&site, true);
    for monitor in ["IdleConnection", "idle-admin"] {
        let series =
            format!("pybal_monitor_status{{service=\"text_80\",host=\"cp1001\",monitor=\"{monitor}\"}} 1");
        assert_eq!(text.lines().filter(|l| **l == series).count(), 1, "{monitor}");
    }
}
