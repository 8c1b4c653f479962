//! `https` against real servers, and certificates good and bad.

use std::{io::Write as _, path::PathBuf, sync::Arc, time::Duration};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::mpsc};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        server::{ClientHello, ResolvesServerCert},
        sign,
    },
};

use super::{
    super::{
        Pass, ProbeError,
        probe::{Network, Probe},
    },
    check, http_check, read_request, serve, spec, target, tls_check,
};
use crate::model::{CheckKind, check::TlsCheck};

fn self_signed() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(vec!["www.example.org".into()]).unwrap()
}

/// Gives out one certificate without asking whether the key fits.
#[derive(Debug)]
struct Fixed(Arc<sign::CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<sign::CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// A server with this certificate and key; its port, and server name and protocol of each connection.
async fn serving(
    certificate: &CertifiedKey<KeyPair>,
    key: &KeyPair,
) -> (u16, mpsc::Receiver<(Option<String>, Option<Vec<u8>>)>) {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = ring::sign::any_supported_type(&key).unwrap();
    let certified = sign::CertifiedKey::new(vec![certificate.cert.der().clone()], key);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Fixed(Arc::new(certified))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (hellos, received) = mpsc::channel(16);
    let port = serve(move |stream: TcpStream| {
        let (acceptor, hellos) = (acceptor.clone(), hellos.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let session = stream.get_ref().1;
            let hello =
                (session.server_name().map(str::to_owned), session.alpn_protocol().map(<[u8]>::to_vec));
            hellos.send(hello).await.unwrap();
            read_request(&mut stream).await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            let _ = stream.write_all(answer).await;
        }
    })
    .await;
    (port, received)
}

fn https(tls: TlsCheck) -> CheckKind {
    CheckKind::Https(http_check(), tls)
}

fn ca_file(pem: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    file
}

fn pem(certificate: &CertifiedKey<KeyPair>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----");
    for (n, bytes) in certificate.cert.der().chunks(3).enumerate() {
        if n % 16 == 0 {
            text.push('\n');
        }
        let bits =
            bytes.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - bytes.len()));
        for digit in 0..4 {
            let index = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= bytes.len() { DIGITS[index].into() } else { '=' });
        }
    }
    text + "\n-----END CERTIFICATE-----\n"
}

fn trusting(path: impl Into<PathBuf>) -> TlsCheck {
    TlsCheck { verify: true, ca_file: Some(path.into()), ..tls_check() }
}

const ANSWERED: Result<Pass, ProbeError> = Ok(Pass::Answered(hyper::StatusCode::OK));

#[tokio::test]
async fn without_verification_any_certificate_will_do() {
    let certificate = self_signed();
    let (port, mut hellos) = serving(&certificate, &certificate.signing_key).await;
    let tls = TlsCheck { sni: "other.example.org".into(), ..tls_check() };
    assert_eq!(check(https(tls), port).await, ANSWERED);
    let hello = hellos.recv().await.unwrap();
    assert_eq!(hello, (Some("other.example.org".into()), Some(b"http/1.1".to_vec())));
}

#[tokio::test]
async fn without_verification_the_server_must_still_have_the_key() {
    let certificate = self_signed();
    let (port, _) = serving(&certificate, &self_signed().signing_key).await;
    let error = check(https(tls_check()), port).await.unwrap_err();
    assert_eq!(error.to_string(), "TLS: invalid peer certificate: BadSignature");
}

#[tokio::test]
async fn verification_wants_a_known_authority_and_the_right_name() {
    let certificate = self_signed();
    let (port, _hellos) = serving(&certificate, &certificate.signing_key).await;
    let public = TlsCheck { verify: true, ..tls_check() };
    let error = check(https(public), port).await.unwrap_err();
    assert_eq!(error.to_string(), "TLS: invalid peer certificate: UnknownIssuer");

    let file = ca_file(&pem(&certificate));
    assert_eq!(check(https(trusting(file.path())), port).await, ANSWERED);

    let wrong = TlsCheck { sni: "other.example.org".into(), ..trusting(file.path()) };
    let error = check(https(wrong), port).await.unwrap_err().to_string();
    assert!(error.starts_with("TLS: invalid peer certificate: certificate not valid for name"), "{error}");
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_named() {
    let certificate = self_signed();
    let (port, _hellos) = serving(&certificate, &certificate.signing_key).await;
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("ca.pem");
    let error = check(https(trusting(&missing)), port).await.unwrap_err();
    let wanted = format!("CA file {}: No such file or directory (os error 2)", missing.display());
    assert_eq!(error.to_string(), wanted);
    assert!(error.counts());

    let empty = ca_file("nothing of interest\n");
    let error = check(https(trusting(empty.path())), port).await.unwrap_err().to_string();
    assert!(error.ends_with("has no certificate (PEM is wanted)"), "{error}");
}

#[tokio::test]
async fn a_renewed_ca_file_is_used_without_a_reload() {
    let certificate = self_signed();
    let (port, _hellos) = serving(&certificate, &certificate.signing_key).await;
    let file = ca_file(&pem(&self_signed()));
    let target = target(spec(https(trusting(file.path())), port));
    let network = Network::default();
    let pass = async || network.check(&target).await.map(|success| success.pass);
    assert!(pass().await.is_err());
    std::fs::write(file.path(), pem(&certificate)).unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    assert_eq!(pass().await, ANSWERED);
}

#[tokio::test]
async fn a_server_without_tls_is_told_so() {
    let port = serve(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        read_request_forever(stream).await;
    })
    .await;
    let error = check(https(tls_check()), port).await.unwrap_err();
    assert!(matches!(error, ProbeError::Tls(_)), "{error}");
    assert_eq!(error.kind(), "tls");
}

#[tokio::test]
async fn a_handshake_without_answer_is_a_timeout() {
    let (accepted, mut ready) = mpsc::channel(1);
    let port = serve(move |stream| {
        let accepted = accepted.clone();
        async move {
            // The client hello is there: the client is past connecting.
            stream.readable().await.unwrap();
            accepted.send(()).await.unwrap();
            std::future::pending::<()>().await;
            drop(stream);
        }
    })
    .await;
    let result = tokio::spawn(check(https(tls_check()), port));
    ready.recv().await.unwrap();
    tokio::time::pause();
    let error = result.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "timed out after 5s while negotiating TLS");
}

async fn read_request_forever(mut stream: TcpStream) {
    use tokio::io::AsyncReadExt;
    let mut buffer = [0; 1024];
    while matches!(stream.read(&mut buffer).await, Ok(n) if n > 0) {}
}
