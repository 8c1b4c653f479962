//! A connection to the service, and bodies with a pace.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use http_body_util::BodyExt as _;
use hyper::{
    Method, Request, Response, Uri,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    client::conn::{http1, http2},
    header::HOST,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use super::event::Via;
use crate::lab::site::{HTTP, HTTPS, SERVER_NAME, object_byte};

/// For opening a connection, and for a short answer. Longer than several retransmissions: a lost packet is late, not failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Receive buffer of slow readers, so that the sender feels the pace.
const SMALL_BUFFER: u32 = 64 << 10;

/// TLS that trusts the lab's certificate only.
pub(in crate::lab) fn tls(certificate: &Path) -> Result<Arc<ClientConfig>> {
    let certificate = CertificateDer::from_pem_file(certificate)
        .map_err(|e| anyhow::anyhow!("{}: {e}", certificate.display()))?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// An open connection that can be asked.
#[derive(Debug)]
pub(super) struct Connection {
    sender: Sender,
    /// Who answered last.
    pub(super) host: Option<String>,
}

#[derive(Debug)]
enum Sender {
    One(http1::SendRequest<Upload>),
    Two(http2::SendRequest<Upload>),
}

impl Connection {
    /// Opens one; `slow`: it will be read from slowly.
    pub(super) async fn open(target: IpAddr, via: Via, tls: &Arc<ClientConfig>, slow: bool) -> Result<Self> {
        let port = if via == Via::Http { HTTP } else { HTTPS };
        timeout(PATIENCE, Self::connect(SocketAddr::new(target, port), via, tls, slow))
            .await
            .unwrap_or_else(|_| bail!("connect: nothing within {} s", PATIENCE.as_secs()))
    }

    /// The same to any address, without TLS.
    pub(super) async fn open_plain(address: SocketAddr) -> Result<Self> {
        let stream = tcp(address, false).await?;
        Ok(Self { sender: http_1(TokioIo::new(stream)).await?, host: None })
    }

    async fn connect(address: SocketAddr, via: Via, tls: &Arc<ClientConfig>, slow: bool) -> Result<Self> {
        let stream = tcp(address, slow).await?;
        if via == Via::Http {
            return Ok(Self { sender: http_1(TokioIo::new(stream)).await?, host: None });
        }
        let mut config = (**tls).clone();
        config.alpn_protocols = vec![if via == Via::H2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let name = ServerName::try_from(SERVER_NAME).context("server name")?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.context("TLS")?;
        let io = TokioIo::new(stream);
        let sender = if via == Via::H2 {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.context("HTTP/2")?;
            // Its end is seen by whoever asks next.
            tokio::spawn(async move { drop(driver.await) });
            Sender::Two(sender)
        } else {
            http_1(io).await?
        };
        Ok(Self { sender, host: None })
    }

    /// Asks for an object and compares what comes; `pace`: so many bytes, then a pause.
    pub(super) async fn get(&mut self, path: &str, size: usize, pace: Option<Pace>) -> Result<()> {
        let mut answer = self.ask(Method::GET, path, Upload::nothing(), PATIENCE).await?;
        let mut at = 0;
        let mut credit = 0;
        while let Some(frame) = timeout(PATIENCE, answer.body_mut().frame())
            .await
            .with_context(|| format!("body: nothing for {} s after {at} bytes", PATIENCE.as_secs()))?
        {
            let frame = frame.with_context(|| format!("body: after {at} of {size} bytes"))?;
            let Some(data) = frame.data_ref() else { continue };
            let wrong = data.iter().enumerate().position(|(i, byte)| *byte != object_byte(at + i));
            ensure!(wrong.is_none(), "body: another byte than sent at {}", at + wrong.unwrap_or(0));
            at += data.len();
            credit += data.len();
            if let Some(pace) = pace {
                while credit >= pace.bytes {
                    credit -= pace.bytes;
                    sleep(pace.pause).await;
                }
            }
        }
        ensure!(at == size, "body: {at} of {size} bytes");
        Ok(())
    }

    /// Fetches a text, whatever its size.
    pub(super) async fn text(&mut self, path: &str) -> Result<String> {
        let answer = self.ask(Method::GET, path, Upload::nothing(), PATIENCE).await?;
        let body = answer.into_body().collect().await.context("body")?.to_bytes();
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Sends a body at its pace; the server must say that all of it came.
    pub(super) async fn upload(&mut self, path: &str, body: Upload, patience: Duration) -> Result<()> {
        let size = body.left as u64;
        let answer = self.ask(Method::POST, path, body, patience).await?;
        let received: u64 = answer
            .headers()
            .get("x-received-bytes")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .context("upload: the origin does not say what came")?;
        // The origin counts the request's head, too.
        ensure!((size..size + 4096).contains(&received), "upload: {received} bytes came, {size} were sent");
        answer.into_body().collect().await.context("upload: the answer's body")?;
        Ok(())
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Upload,
        patience: Duration,
    ) -> Result<Response<Incoming>> {
        let request = Request::builder().method(method);
        let sent: Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>> =
            match &mut self.sender {
                Sender::One(sender) => {
                    sender.ready().await.context("connection")?;
                    Box::pin(sender.send_request(request.uri(path).header(HOST, SERVER_NAME).body(body)?))
                }
                Sender::Two(sender) => {
                    sender.ready().await.context("connection")?;
                    let uri =
                        Uri::builder().scheme("https").authority(SERVER_NAME).path_and_query(path).build()?;
                    Box::pin(sender.send_request(request.uri(uri).body(body)?))
                }
            };
        let answer = timeout(patience, sent)
            .await
            .with_context(|| format!("request: no answer within {} s", patience.as_secs()))?
            .context("request")?;
        if let Some(host) = answer.headers().get("x-cache-host").and_then(|value| value.to_str().ok()) {
            self.host = Some(host.to_owned());
        }
        ensure!(answer.status().is_success(), "answer: {}", answer.status());
        Ok(answer)
    }
}

async fn tcp(address: SocketAddr, slow: bool) -> Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if slow {
        socket.set_recv_buffer_size(SMALL_BUFFER)?;
    }
    let stream = socket.connect(address).await.context("connect")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn http_1<T>(io: T) -> Result<Sender>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, driver) = http1::handshake(io).await.context("HTTP/1.1")?;
    tokio::spawn(async move { drop(driver.await) });
    Ok(Sender::One(sender))
}

/// So many bytes, then a pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) bytes: usize,
    pub(super) pause: Duration,
}

/// A request's body: nothing, or an object in portions with pauses between them.
#[derive(Debug)]
pub(super) struct Upload {
    left: usize,
    pace: Pace,
    pausing: Option<Pin<Box<Sleep>>>,
}

impl Upload {
    fn nothing() -> Self {
        Self::paced(0, Pace { bytes: 1, pause: Duration::ZERO })
    }

    pub(super) fn paced(size: usize, pace: Pace) -> Self {
        Self { left: size, pace, pausing: None }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if let Some(pausing) = &mut self.pausing {
            ready!(pausing.as_mut().poll(cx));
        }
        let portion = self.pace.bytes.min(self.left);
        self.left -= portion;
        self.pausing = Some(Box::pin(sleep(self.pace.pause)));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'u'; portion])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}
