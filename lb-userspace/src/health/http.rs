//! `http` and `https`: one HTTP/1.1 request is answered as expected (`PyBal`'s `ProxyFetch`). Redirects are answers, not followed.

use std::{error::Error, fmt::Write as _, io, pin::pin, sync::Arc};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    ProbeError, Stage,
    body::{Progress, Search},
    deadline::Deadline,
    probe::Pass,
};
use crate::model::check::{HttpCheck, HttpMethod};

/// Status line and headers may have so many bytes; a server that sends more cannot take our memory.
const HEAD_LIMIT: usize = 64 * 1024;

/// Sends the request on an open connection and judges the answer.
pub(super) async fn check<S>(stream: S, check: &HttpCheck, deadline: Deadline) -> Result<Pass, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = request(check)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_LIMIT)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(|error| explain(Stage::Answer, &error))?;
    let mut exchange = pin!(async {
        let answer = deadline
            .within(Stage::Answer, async {
                let answer = sender.send_request(request).await;
                answer.map_err(|error| explain(Stage::Answer, &error))
            })
            .await?;
        judge(answer, check, deadline).await
    });
    // Driven here rather than in a task of its own: a check is one task, and dropping it closes everything.
    let mut connection = pin!(connection);
    tokio::select! {
        result = &mut exchange => result,
        driven = &mut connection => {
            let result = exchange.await;
            match (&result, driven) {
                // Hyper tells the sender only that the connection is gone; the connection knows why.
                (Err(ProbeError::Closed(stage)), Err(why)) => Err(explain(*stage, &why)),
                _ => result,
            }
        }
    }
}

fn request(check: &HttpCheck) -> Result<Request<Empty<Bytes>>, ProbeError> {
    let bad = |what: &str, why: &dyn std::fmt::Display| ProbeError::Request(format!("{what}: {why}").into());
    let value = |name: &str, text: &str| {
        HeaderValue::from_str(text).map_err(|error| bad(&format!("header `{name}`"), &error))
    };
    let mut request = Request::builder()
        .method(match check.method {
            HttpMethod::Get => Method::GET,
            HttpMethod::Head => Method::HEAD,
            HttpMethod::Options => Method::OPTIONS,
        })
        .uri(&check.path)
        .body(Empty::new())
        .map_err(|error| bad(&format!("path `{}`", check.path), &error))?;
    let headers = request.headers_mut();
    for (name, text) in &check.headers {
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|error| bad(&format!("header name `{name}`"), &error))?;
        headers.append(key, value(name, text)?);
    }
    headers.insert(HOST, value("host", &check.host)?);
    if !headers.contains_key(USER_AGENT) {
        let ours = HeaderValue::from_static(concat!("lbd/", env!("CARGO_PKG_VERSION")));
        headers.insert(USER_AGENT, ours);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

async fn judge(
    answer: Response<Incoming>,
    check: &HttpCheck,
    deadline: Deadline,
) -> Result<Pass, ProbeError> {
    let got = answer.status();
    if !accepts(&check.status, got) {
        return Err(ProbeError::Status { got, wanted: ranges(&check.status) });
    }
    if let Some(wanted) = &check.body_contains {
        deadline.within(Stage::Body, search(answer.into_body(), wanted)).await?;
    }
    Ok(Pass::Answered(got))
}

/// No range at all means the default, 200–299.
fn accepts(wanted: &[(u16, u16)], got: StatusCode) -> bool {
    let code = got.as_u16();
    if wanted.is_empty() {
        return got.is_success();
    }
    wanted.iter().any(|(from, to)| (*from..=*to).contains(&code))
}

fn ranges(wanted: &[(u16, u16)]) -> Arc<str> {
    if wanted.is_empty() {
        return "200-299".into();
    }
    let mut text = String::new();
    for (from, to) in wanted {
        if !text.is_empty() {
            text.push_str(", ");
        }
        // Writing into a String cannot fail.
        let _ = if from == to { write!(text, "{from}") } else { write!(text, "{from}-{to}") };
    }
    text.into()
}

async fn search(mut body: Incoming, wanted: &str) -> Result<(), ProbeError> {
    let mut search = Search::new(wanted);
    let mut progress = search.feed(&[]);
    while progress == Progress::More {
        let Some(frame) = body.frame().await else {
            break;
        };
        let frame = frame.map_err(|error| explain(Stage::Body, &error))?;
        if let Some(chunk) = frame.data_ref() {
            progress = search.feed(chunk);
        }
    }
    if progress == Progress::Found {
        return Ok(());
    }
    Err(ProbeError::Body { wanted: wanted.into(), searched: search.seen() })
}

fn explain(stage: Stage, error: &hyper::Error) -> ProbeError {
    if error.is_parse() {
        return ProbeError::NotHttp(error.to_string().into());
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(inner) = inner.downcast_ref::<io::Error>() {
            return ProbeError::from_io(stage, inner);
        }
        cause = inner.source();
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return ProbeError::Closed(stage);
    }
    ProbeError::Io { stage, why: error.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_ranges_are_inclusive_and_none_means_success() {
        let code = |n| StatusCode::from_u16(n).unwrap();
        assert!(accepts(&[(301, 302), (404, 404)], code(302)));
        assert!(accepts(&[(301, 302), (404, 404)], code(404)));
        assert!(!accepts(&[(301, 302), (404, 404)], code(200)));
        assert!(accepts(&[], code(204)) && !accepts(&[], code(301)));
        assert_eq!(&*ranges(&[(301, 302), (404, 404)]), "301-302, 404");
        assert_eq!(&*ranges(&[]), "200-299");
    }

    #[test]
    fn own_headers_are_added_but_host_and_connection_stay_ours() {
        let check = HttpCheck {
            method: HttpMethod::Head,
            host: "www.example.org".into(),
            path: "/check?full=1".into(),
            headers: vec![
                ("X-Probe".into(), "1".into()),
                ("Host".into(), "other".into()),
                ("Connection".into(), "keep-alive".into()),
            ],
            status: vec![],
            body_contains: None,
        };
        let request = request(&check).unwrap();
        assert_eq!((request.method(), request.uri().to_string()), (&Method::HEAD, "/check?full=1".into()));
        let header = |name: &str| {
            let all: Vec<_> = request.headers().get_all(name).iter().collect();
            assert_eq!(all.len(), 1, "{name}");
            all[0].to_str().unwrap().to_owned()
        };
        assert_eq!(header("host"), "www.example.org");
        assert_eq!(header("connection"), "close");
        assert_eq!(header("x-probe"), "1");
        assert_eq!(header("user-agent"), concat!("lbd/", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        let mut check = HttpCheck {
            method: HttpMethod::Get,
            host: "a\nb".into(),
            path: "/".into(),
            headers: vec![],
            status: vec![],
            body_contains: None,
        };
        assert!(
            request(&check).unwrap_err().to_string().starts_with("request cannot be sent: header `host`")
        );
        check.host = "a".into();
        check.path = "/a b".into();
        assert!(request(&check).unwrap_err().to_string().contains("path `/a b`"));
    }
}
