//! TLS of an `https` check.

use std::{
    collections::HashMap,
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{net::TcpStream, sync::Mutex, time::Instant};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::{
            Resumption,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{self, CryptoProvider},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    },
};

use super::{ProbeError, Stage, deadline::Deadline};
use crate::model::check::TlsCheck;

/// A CA file is looked at again after this long, so that a renewed one is used without a reload.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A CA file's configuration is forgotten when no check has asked for it this long.
const FORGET: Duration = Duration::from_hours(2);

/// Client configurations, made once and shared by all checks that want the same.
#[derive(Debug, Default)]
pub(super) struct Configs {
    unverified: OnceLock<Result<Arc<ClientConfig>, ProbeError>>,
    public: OnceLock<Result<Arc<ClientConfig>, ProbeError>>,
    /// By CA file. As many as the configuration names, as unused ones are forgotten.
    files: Mutex<HashMap<PathBuf, Cached>>,
}

#[derive(Debug)]
struct Cached {
    looked: Instant,
    version: Option<Version>,
    config: Result<Arc<ClientConfig>, ProbeError>,
}

/// Device, inode, length, modification time: another file, or another content.
type Version = (u64, u64, u64, i64, i64);

impl Configs {
    /// The configuration a check wants.
    pub(super) async fn get(&self, check: &TlsCheck) -> Result<Arc<ClientConfig>, ProbeError> {
        match (check.verify, &check.ca_file) {
            (false, _) => self.unverified.get_or_init(unverified).clone(),
            (true, None) => self.public.get_or_init(public).clone(),
            (true, Some(path)) => self.authorities(path).await,
        }
    }

    /// The lock is held while the file is read, so that many checks read it once.
    async fn authorities(&self, path: &Path) -> Result<Arc<ClientConfig>, ProbeError> {
        let now = Instant::now();
        let mut files = self.files.lock().await;
        if let Some(cached) = files.get(path)
            && now - cached.looked < LOOK_AGAIN
        {
            return cached.config.clone();
        }
        files.retain(|_, cached| now.saturating_duration_since(cached.looked) < FORGET);
        let version = tokio::fs::metadata(path).await.as_ref().ok().map(version);
        let config = match files.get(path) {
            Some(cached) if version.is_some() && cached.version == version => cached.config.clone(),
            _ => trusting(path).await,
        };
        let cached = Cached { looked: now, version, config: config.clone() };
        files.insert(path.to_owned(), cached);
        config
    }
}

/// Shakes hands on an open connection. The server name is independent of address and `Host`.
pub(super) async fn handshake(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    sni: &str,
    deadline: Deadline,
) -> Result<TlsStream<TcpStream>, ProbeError> {
    let name = ServerName::try_from(sni.to_owned())
        .map_err(|_| ProbeError::Tls(format!("`{sni}` is not a server name").into()))?;
    let shaken = async {
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(inner) => ProbeError::Tls(inner.to_string().into()),
                None => ProbeError::from_io(Stage::Tls, &error),
            }
        })
    };
    deadline.within(Stage::Tls, shaken).await
}

fn version(file: &Metadata) -> Version {
    (file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec())
}

/// Named, because rustls panics when it has to choose among several.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(crypto::ring::default_provider())).clone()
}

fn public() -> Result<Arc<ClientConfig>, ProbeError> {
    with_roots(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect())
}

async fn trusting(path: &Path) -> Result<Arc<ClientConfig>, ProbeError> {
    let fail = |why: String| ProbeError::CaFile { path: path.to_owned(), why: why.into() };
    let pem = tokio::fs::read(path).await.map_err(|error| fail(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| fail(error.to_string()))?;
        roots.add(certificate).map_err(|error| fail(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fail("has no certificate (PEM is wanted)".to_owned()));
    }
    with_roots(roots)
}

fn with_roots(roots: RootCertStore) -> Result<Arc<ClientConfig>, ProbeError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| ProbeError::Tls(error.to_string().into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(finish(config))
}

fn unverified() -> Result<Arc<ClientConfig>, ProbeError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| ProbeError::Tls(error.to_string().into()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
        .with_no_client_auth();
    Ok(finish(config))
}

/// A resumed session would not show that a full handshake works, and saves nothing that can be measured.
fn finish(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Accepts any certificate, but not a server that lacks its key: signatures are checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
