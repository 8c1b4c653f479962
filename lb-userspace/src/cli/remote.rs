//! Another balancer's read-only HTTP port, for comparing with it.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, Uri,
    body::Bytes,
    client::conn::http1,
    header::{ACCEPT, HOST},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::exit::Failure;

/// Longest wait for the whole answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Largest answer: a table of 65 537 slots is half a megabyte.
const MAX_ANSWER: usize = 64 << 20;

/// `GET path` from the balancer at `base`, for example `http://lb2.example.org:9090`.
pub async fn get<T: DeserializeOwned>(base: &str, path: &str) -> Result<T, Failure> {
    let url = url(base, path)?;
    let what = url.to_string();
    let unreachable = |why: String| Failure::Unreachable {
        error: format!("{what}: {why}"),
        help: "it must be the address of that balancer's `http` port, reachable from here".into(),
    };
    let body = tokio::time::timeout(PATIENCE, fetch(url))
        .await
        .map_err(|_| unreachable("no answer in time".into()))?
        .map_err(unreachable)?;
    serde_json::from_slice(&body).map_err(|error| {
        unreachable(format!("its answer was not understood ({error}); is it of the same version?"))
    })
}

fn url(base: &str, path: &str) -> Result<Uri, Failure> {
    let wrong = || {
        Failure::Usage(format!(
            "`{base}` is not the address of a balancer: write http://lb2.example.org:9090"
        ))
    };
    let host = base.strip_prefix("http://").ok_or_else(wrong)?;
    // A path may be there out of habit: /api or /api/v1.
    let host = host.split_once('/').map_or(host, |(host, _)| host);
    let url: Uri = format!("http://{host}{path}").parse().map_err(|_| wrong())?;
    if url.host().is_none_or(str::is_empty) { Err(wrong()) } else { Ok(url) }
}

async fn fetch(url: Uri) -> Result<Bytes, String> {
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = url.port_u16().unwrap_or(9090);
    let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let authority = url.authority().map_or_else(|| host.to_owned(), ToString::to_string);
    let path = url.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let request = Request::get(path)
        .header(HOST, authority)
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    connection.abort();
    if status.is_success() { Ok(body) } else { Err(format!("it answered {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_path_and_must_be_http() {
        let text = |base| url(base, "/api/v1/tables").map(|url| url.to_string()).ok();
        assert_eq!(text("http://lb2:9090").as_deref(), Some("http://lb2:9090/api/v1/tables"));
        assert_eq!(
            text("http://[2001:db8::1]:9090/api").as_deref(),
            Some("http://[2001:db8::1]:9090/api/v1/tables")
        );
        for wrong in ["lb2:9090", "https://lb2", "http://", "http:// x"] {
            assert_eq!(text(wrong), None, "{wrong}");
        }
    }
}
