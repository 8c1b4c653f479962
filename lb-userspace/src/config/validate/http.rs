//! What an HTTP check asks for and expects.

use std::{net::IpAddr, ops::Range, path::PathBuf};

use hyper::{
    Uri,
    header::{HeaderName, HeaderValue},
};
use tokio_rustls::rustls::{RootCertStore, pki_types::ServerName};

use super::global::absolute;
use crate::{
    config::{
        file,
        problem::Report,
        regular_file,
        table::{At, Field, Named, shorten},
        value::{Kind, StatusRange, Word},
    },
    model::{
        CheckKind,
        check::{HttpCheck, HttpMethod, TlsCheck},
    },
};

/// As much of a body as a check reads.
const MAX_BODY: usize = 64 << 10;
/// The largest file of authorities: some hundred times a distribution's own.
const MAX_CA_FILE: u64 = 16 << 20;
/// Headers that the request's framing and `url` decide.
const OWN_HEADERS: [&str; 8] =
    ["host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer", "expect"];

/// The keys of a check that only HTTP kinds have.
pub(super) struct Request {
    pub(super) url: Field<String>,
    pub(super) method: Field<HttpMethod>,
    pub(super) headers: Field<Named<String>>,
    pub(super) status: Field<Vec<At<StatusRange>>>,
    pub(super) body_contains: Field<String>,
    pub(super) tls: Field<file::Tls>,
}

/// The parts of a URL that a check uses.
struct Url {
    /// Host and port as written.
    authority: String,
    /// Host without brackets.
    host: String,
    port: Option<u16>,
    path: String,
}

impl Request {
    /// Reports each key that is written although the kind has no request.
    pub(super) fn refuse(self, kind: Kind, report: &mut Report) {
        let Self { url, method, headers, status, body_contains, tls } = self;
        let written = [
            ("url", url.span()),
            ("method", method.span()),
            ("headers", headers.span()),
            ("status", status.span()),
            ("body_contains", body_contains.span()),
            ("tls", tls.span()),
        ];
        for (key, span) in written {
            if let Some(span) = span {
                report
                    .error(span, format!("`{key}` means nothing for a check of kind \"{}\"", kind.word()))
                    .with_help("remove it, or write `kind = \"http\"` or `kind = \"https\"`");
            }
        }
    }

    /// The model's kind; none when something is missing or bad, which is reported. `kind_span` is where the kind stands.
    pub(super) fn validate(
        self,
        kind: Kind,
        kind_span: &Range<usize>,
        port_given: bool,
        report: &mut Report,
    ) -> Option<CheckKind> {
        let Self { url, method, headers, status, body_contains, tls } = self;
        if url.is_absent() {
            report
                .error(kind_span.clone(), format!("a check of kind \"{}\" needs a `url`", kind.word()))
                .with_help(format!("`url = \"{}://host.example/healthz\"`", kind.word()));
        }
        let url =
            url.given().and_then(|at| self::url(&at, kind, port_given, report).map(|url| (url, at.span)));
        let headers = headers.given().map_or_else(Vec::new, |at| self::headers(at.value, report));
        let method_span = method.span();
        let method = method.or(HttpMethod::default());
        let body_contains = self::body_contains(body_contains, method, method_span, report);
        let status = self::status(status, report);
        let tls_span = tls.span();
        let tls = tls.or(file::Tls::default());
        let tls = match kind {
            Kind::Https => Some(self::tls(tls, url.as_ref(), report)),
            Kind::Http | Kind::Tcp | Kind::Idle => {
                if let Some(span) = tls_span {
                    report
                        .error(span, "`tls` means nothing for a check of kind \"http\"")
                        .with_help("remove it, or write `kind = \"https\"`");
                }
                None
            }
        };
        let (url, _) = url?;
        let http = HttpCheck { method, host: url.authority, path: url.path, headers, status, body_contains };
        Some(match tls {
            Some(tls) => CheckKind::Https(http, tls?),
            None => CheckKind::Http(http),
        })
    }
}

fn url(at: &At<String>, kind: Kind, port_given: bool, report: &mut Report) -> Option<Url> {
    match parse_url(&at.value, kind) {
        Ok(url) => {
            if let (Some(port), false) = (url.port, port_given) {
                report
                    .warning(
                        at.span.clone(),
                        format!("port {port} of the URL only goes into the `Host` header"),
                    )
                    .with_help(format!("to connect to that port write `port = {port}` beside `url`"));
            }
            Some(url)
        }
        Err((message, help)) => {
            report.error(at.span.clone(), message).with_help(help);
            None
        }
    }
}

fn parse_url(text: &str, kind: Kind) -> Result<Url, (String, String)> {
    let scheme = kind.word();
    let example = format!("write it like `\"{scheme}://host.example/healthz\"`");
    let refuse = |message: &str, help: &str| Err((message.to_owned(), help.to_owned()));
    if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic()) {
        return Err((
            format!("a URL cannot have the character `{}`", odd.escape_default()),
            "percent-encode it: a space is `%20`; a host with other letters is written in its `xn--` form"
                .to_owned(),
        ));
    }
    let Some((found, rest)) = text.split_once("://") else {
        return refuse("this is not a URL", &example);
    };
    if !found.eq_ignore_ascii_case(scheme) {
        return Err((
            format!("the scheme `{}` does not fit a check of kind \"{scheme}\"", shorten(found)),
            match found.to_ascii_lowercase().as_str() {
                other @ ("http" | "https") => {
                    format!("write `kind = \"{other}\"`, or a URL that begins with `{scheme}://`")
                }
                _ => example,
            },
        ));
    }
    if rest.contains('#') {
        return refuse(
            "a URL's fragment (`#...`) is never sent",
            "remove it, or write `%23` for the character",
        );
    }
    let uri: Uri = text.parse().map_err(|error| (format!("this is not a URL: {error}"), example.clone()))?;
    let Some(authority) = uri.authority() else {
        return refuse("the URL has no host", &example);
    };
    if authority.as_str().contains('@') {
        return refuse(
            "the URL has a user name",
            "send it as a header: `headers = { Authorization = \"Basic ...\" }`",
        );
    }
    if authority.host().is_empty() {
        return refuse("the URL has no host", &example);
    }
    let port = authority.port_u16();
    if authority.as_str().len() > authority.host().len() && !matches!(port, Some(1..)) {
        return refuse("the URL's port is not a port", "write 1 to 65535, or no port");
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(Url {
        authority: authority.as_str().to_owned(),
        host: authority.host().trim_matches(['[', ']']).to_owned(),
        port,
        path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
    })
}

fn headers(named: Named<String>, report: &mut Report) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, value) in named.0 {
        let name_text = shorten(&name.value);
        if HeaderName::from_bytes(name.value.as_bytes()).is_err() {
            report
                .error(name.span, format!("`{}` is not the name of a header", name_text.escape_debug()))
                .with_help("letters, digits and `-`, without a colon: `headers = { X-Check = \"lbd\" }`");
            continue;
        }
        if OWN_HEADERS.iter().any(|own| name.value.eq_ignore_ascii_case(own)) {
            let help = if name.value.eq_ignore_ascii_case("host") {
                "the host of `url` is sent as `Host`: write it there"
            } else {
                "remove it: the check sets it as the request needs"
            };
            report
                .error(name.span, format!("the header `{name_text}` is not free to choose"))
                .with_help(help);
            continue;
        }
        let Some(value) = value.given() else { continue };
        if value.value.contains(['\r', '\n', '\0']) {
            report
                .error(value.span, "a header's value is one line")
                .with_help("remove the line break, which would begin another header");
        } else if !value.value.is_ascii() || HeaderValue::from_str(&value.value).is_err() {
            report
                .error(value.span, "a header's value has visible ASCII characters only")
                .with_help("percent-encode other characters, if the backend expects that");
        } else {
            headers.push((name.value, value.value));
        }
    }
    headers
}

fn status(field: Field<Vec<At<StatusRange>>>, report: &mut Report) -> Vec<(u16, u16)> {
    let Some(list) = field.given() else {
        return vec![(200, 299)];
    };
    if list.value.is_empty() {
        report.error(list.span, "no status would be accepted").with_help("`status = [\"200-299\"]`");
    }
    list.value.into_iter().map(|At { value: StatusRange(first, last), .. }| (first, last)).collect()
}

fn body_contains(
    field: Field<String>,
    method: HttpMethod,
    method_span: Option<Range<usize>>,
    report: &mut Report,
) -> Option<String> {
    let at = field.given()?;
    if at.value.is_empty() || at.value.len() > MAX_BODY {
        report
            .error(at.span, "`body_contains` is empty or longer than the 64 KiB that are read")
            .with_help("write a text that only a good answer has, or remove the key");
    } else if method == HttpMethod::Head {
        let problem = report.error(at.span, "the answer to HEAD has no body");
        problem.with_help("remove `body_contains`, or write `method = \"GET\"`");
        if let Some(span) = method_span {
            problem.with_also(span, "the method");
        }
    }
    Some(at.value)
}

fn tls(file: file::Tls, url: Option<&(Url, Range<usize>)>, report: &mut Report) -> Option<TlsCheck> {
    let file::Tls { verify, ca_file, sni } = file;
    let unverified = match &verify {
        Field::Absent => true,
        Field::Given(at) => !at.value,
        Field::Bad => false,
    };
    let ca_file = ca_file.given().and_then(|at| {
        if unverified {
            report
                .error(at.span.clone(), "`ca_file` means nothing without `verify = true`")
                .with_help("write `verify = true` beside it");
            return None;
        }
        self::ca_file(&at, report)
    });
    let (sni, span) = match (sni.given(), url) {
        (Some(at), _) => (at.value, at.span),
        (None, Some((url, span))) => (url.host.clone(), span.clone()),
        (None, None) => return None,
    };
    if ServerName::try_from(sni.as_str()).is_err() {
        report
            .error(span, format!("`{}` cannot be the server name of TLS", shorten(&sni)))
            .with_help("write a host name, such as `sni = \"www.example.org\"`");
        return None;
    }
    Some(TlsCheck {
        // TLS knows names without a final dot.
        sni: if sni.parse::<IpAddr>().is_ok() { sni } else { sni.trim_end_matches('.').to_owned() },
        verify: !unverified,
        ca_file,
    })
}

fn ca_file(at: &At<String>, report: &mut Report) -> Option<PathBuf> {
    let path = absolute(at, report)?;
    match regular_file::read(&path, MAX_CA_FILE) {
        Err(error) => {
            report.error(at.span.clone(), format!("cannot read the authorities: {error}")).with_help(
                format!("`ls -l {}` shows whether it is there and who may read it", path.display()),
            );
        }
        Ok((pem, _)) => {
            let (usable, _) = RootCertStore::empty()
                .add_parsable_certificates(rustls_pemfile::certs(&mut pem.as_slice()).flatten());
            if usable == 0 {
                report
                    .error(at.span.clone(), "the file has no certificate in PEM form")
                    .with_help("its lines begin with `-----BEGIN CERTIFICATE-----`");
            }
        }
    }
    Some(path)
}
