//! Server and client over a real socket.

use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    client::{Client, ClientError},
    fixture::Site,
    serve, socket,
    types::{
        Backends, Change, Command, Done, List, Measure, Outcomes, Pooled, ReloadReport, Selector, Severity,
        Shutdown, Standing, Status,
    },
};

struct Served {
    site: Site,
    client: Client,
    path: PathBuf,
    _dir: tempfile::TempDir,
    stop: DropGuard,
}

fn served() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lbd.sock");
    let site = Site::new();
    let stop = CancellationToken::new();
    let bound = socket::bind(&path, None).unwrap();
    tokio::spawn(serve::socket(bound, serve::socket_router(site.socket_state(), None), stop.clone()));
    Served { site, client: Client::new(&path), path, _dir: dir, stop: stop.drop_guard() }
}

fn command(backend: &str, pooled: Pooled) -> Command {
    Command {
        selector: Selector { backend: backend.parse().unwrap(), pool: None },
        change: Change::Pooled { pooled },
        reason: Some("test".into()),
        lasts: None,
        force: false,
        dry_run: false,
    }
}

async fn raw(path: &PathBuf, text: &str) -> String {
    let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn status_shows_pools_overrides_and_alerts_the_worst_first() {
    let served = served();
    let status: Status = served.client.get("/api/v1/status").await.unwrap();
    assert_eq!(status.pools.len(), 2);
    assert_eq!(status.overrides.len(), 1);
    assert_eq!(status.overrides[0].what.by, "alice");
    assert_eq!(status.alerts[0].severity, Severity::Critical);
    assert!(status.alerts[0].text.contains("d2"), "{:?}", status.alerts);
    assert!(status.alerts.iter().any(|a| a.text.contains("cp1003 (tcp: connection refused)")));
}

#[tokio::test]
async fn list_has_every_service_and_backend_and_those_that_leave() {
    let served = served();
    let list: List = served.client.get("/api/v1/list").await.unwrap();
    assert_eq!(list.services.len(), 2);
    let text = list.pools.iter().find(|p| p.summary.name == "text_80").unwrap();
    assert_eq!(text.members.len(), 5);
    assert_eq!(text.leaving.len(), 1);
    assert_eq!(text.leaving[0].name, "old1");
    let traffic = text.members[0].traffic.unwrap();
    assert_eq!((traffic.packets, traffic.connections), (600, 60));
    let cp1005 = &text.members[4];
    let connections = cp1005.connections.unwrap();
    assert_eq!((connections.active, connections.inactive, connections.exact), (576, 64, false));
    assert_eq!((cp1005.outlier.state, text.summary.suspect), (Standing::Suspect, 1));
    let measured = cp1005.outlier.measures[&Measure::Refused];
    assert_eq!((measured.value, measured.pool), (Some(0.98), Some(0.01)));
    assert_eq!(text.members[0].outlier.state, Standing::Ok);
    assert!(text.members[1].rates.is_none(), "nobody has judged it yet");
}

#[tokio::test]
async fn a_command_reaches_the_daemon_with_the_askers_name() {
    let served = served();
    let done: Outcomes = served.client.post("/api/v1/command", &command("cp1001", Pooled::No)).await.unwrap();
    assert!(done.outcomes[0].changed);
    let asked = served.site.daemon.asked.lock().unwrap().clone();
    let own = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    assert!(asked[0].starts_with(&format!("{own}: Command")), "{asked:?}");
    let now: Backends = served.client.get("/api/v1/backends/cp1001").await.unwrap();
    assert_eq!(now.backends[0].pooled, Pooled::No);
    assert!(now.backends[0].table.unwrap().draining_slots > 0);
}

#[tokio::test]
async fn refusals_keep_their_kind() {
    let served = served();
    let ask = async |backend| {
        let command = command(backend, Pooled::No);
        match served.client.post::<_, Outcomes>("/api/v1/command", &command).await {
            Err(ClientError::Answer { status, body }) => (status, body),
            other => panic!("{other:?}"),
        }
    };
    let (status, body) = ask("d1").await;
    assert_eq!(status, 409);
    assert!(body.error.contains("threshold") && body.help.contains("--force"));
    assert_eq!(ask("nobody").await.0, 404);
}

#[tokio::test]
async fn reload_test_and_shutdown_answer() {
    let served = served();
    let report: ReloadReport = served.client.post("/api/v1/config/reload", &()).await.unwrap();
    assert_eq!(report.changes.len(), 1);
    let done: Done = served.client.post("/api/v1/shutdown", &Shutdown { detach: true }).await.unwrap();
    assert!(done.done.contains("forwarding ends"));
    assert!(served.site.daemon.asked.lock().unwrap()[1].ends_with("shutdown detach=true"));
}

#[tokio::test]
async fn whatever_comes_gets_an_answer_with_help() {
    let served = served();
    for (request, status) in [
        ("GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "404"),
        ("GET /api/v1/pools/nope HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "404"),
        ("GET /api/v1/where HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "400"),
        (
            "GET /api/v1/where?src=1.2.3.4:5&dst=[::1]:80&protocol=tcp&first=true HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            "400",
        ),
        ("GET /api/v1/backends/a%20b?pool=a%20b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "400"),
        ("GET /api/v1/command HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "405"),
        ("DELETE /api/v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "405"),
        (
            "POST /api/v1/command HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n{]}",
            "400",
        ),
        (
            "POST /api/v1/command HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
            "415",
        ),
        (
            "POST /api/v1/command HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
            "422",
        ),
    ] {
        let answer = raw(&served.path, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
        let body = answer.split("\r\n\r\n").nth(1).unwrap();
        let body: super::types::ErrorBody =
            serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"));
        assert!(!body.error.is_empty() && !body.help.is_empty());
    }
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_the_next_client_is_served() {
    let served = served();
    for garbage in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n"] {
        let answer = raw(&served.path, garbage).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    assert!(served.client.get::<Status>("/api/v1/status").await.is_ok());
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let served = served();
    let mut big = command("cp1001", Pooled::No);
    big.reason = Some("x".repeat(serve::MAX_BODY));
    match served.client.post::<_, Outcomes>("/api/v1/command", &big).await {
        Err(ClientError::Answer { status: 413, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(served.site.daemon.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_stopped_server_takes_its_socket_away() {
    let served = served();
    let _: Status = served.client.get("/api/v1/status").await.unwrap();
    let Served { client, path, stop, .. } = served;
    drop(stop);
    while path.exists() {
        tokio::task::yield_now().await;
    }
    match client.get::<Status>("/api/v1/status").await {
        Err(ClientError::Unreachable { why, help, .. }) => {
            assert_eq!(why, "No such file");
            assert!(help.contains("systemctl status lbd"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn trouble_of_the_data_plane_is_an_alert() {
    let served = served();
    {
        let mut status = served.site.datapath.status.lock().unwrap();
        status.drift_repaired = 3;
        status.attachments[0].mode = "generic";
        status.problem = Some("map SLOTS: out of memory".into());
    }
    let status: Status = served.client.get("/api/v1/status").await.unwrap();
    for text in ["3 table entries", "eth0 runs in generic mode", "map SLOTS: out of memory"] {
        assert!(status.alerts.iter().any(|a| a.text.contains(text)), "{text}: {:?}", status.alerts);
    }
    served.site.datapath.status.lock().unwrap().attachments.clear();
    let status: Status = served.client.get("/api/v1/status").await.unwrap();
    assert!(status.alerts.iter().any(|a| a.text.contains("nothing is forwarded")));
}

#[tokio::test(start_paused = true)]
async fn half_a_request_does_not_hold_a_connection_for_ever() {
    let served = served();
    let begin = tokio::time::Instant::now();
    let answer = raw(&served.path, "GET /api/v1/status HTTP/1.1\r\nhost").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(begin.elapsed().as_secs(), 10);
    let half = "POST /api/v1/command HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{";
    let begin = tokio::time::Instant::now();
    let answer = raw(&served.path, half).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(begin.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_make_room_for_one_that_asks() {
    let served = served();
    let mut idle = Vec::new();
    for _ in 0..serve::CONNECTIONS {
        idle.push(tokio::net::UnixStream::connect(&served.path).await.unwrap());
    }
    let begin = tokio::time::Instant::now();
    assert!(served.client.get::<Status>("/api/v1/status").await.is_ok());
    assert_eq!(begin.elapsed().as_secs(), 10, "it waited until the idle ones were cut off");
}
