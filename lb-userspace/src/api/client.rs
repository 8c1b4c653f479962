//! `lbctl`'s end of the socket: one connection per request, a time limit, and errors that say what to do.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use super::types::ErrorBody;

/// Longest wait for an answer; longer than the server's own limits.
const PATIENCE: Duration = Duration::from_secs(65);
/// Largest answer: a list of 10 000 backends with checks is about 10 MiB.
const MAX_ANSWER: usize = 64 << 20;

/// Why there is no answer, or not the wished one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens at the socket, or it may not be used.
    #[error("lbd is not reachable at {}: {why}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the kernel or the connection said.
        why: String,
        /// What to do.
        help: &'static str,
    },
    /// The daemon said no.
    #[error("{}", body.error)]
    Answer {
        /// HTTP status.
        status: u16,
        /// What it said.
        body: ErrorBody,
    },
    /// The answer makes no sense.
    #[error("lbd's answer was not understood: {0}")]
    Odd(String),
}

/// The daemon behind a socket.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// Connects nowhere yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// `GET path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// `POST path` with a JSON body.
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Odd(error.to_string()))?;
        self.send(Method::POST, path, body.into()).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let exchange = self.exchange(method, path, body);
        let (status, body) = tokio::time::timeout(PATIENCE, exchange)
            .await
            .map_err(|_| self.broken(&"it did not answer in time"))??;
        if !status.is_success() {
            return Err(ClientError::Answer {
                status: status.as_u16(),
                body: serde_json::from_slice(&body).unwrap_or_else(|_| ErrorBody {
                    error: format!("lbd answered {status}"),
                    help: "are lbctl and lbd of the same version? `lbctl --version`, `lbd --version`".into(),
                }),
            });
        }
        serde_json::from_slice(&body).map_err(|error| ClientError::Odd(error.to_string()))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let stream = UnixStream::connect(&self.path).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "lbd")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Odd(error.to_string()))?;
        let answer = sender.send_request(request).await.map_err(|error| self.broken(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| self.broken(&error))?
            .to_bytes();
        connection.abort();
        Ok((status, body))
    }

    fn unreachable(&self, error: &io::Error) -> ClientError {
        let (why, help) = match error.kind() {
            io::ErrorKind::NotFound => ("No such file".into(), "Is it running? systemctl status lbd"),
            io::ErrorKind::ConnectionRefused => {
                ("Connection refused".into(), "The socket is there, but nobody listens. systemctl status lbd")
            }
            io::ErrorKind::PermissionDenied => (
                "Permission denied".into(),
                "Use sudo, or become a member of the socket's group: usermod -aG lbd NAME, then log in again",
            ),
            _ => (error.to_string(), "Is it running? systemctl status lbd"),
        };
        ClientError::Unreachable { path: self.path.clone(), why, help }
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> ClientError {
        ClientError::Unreachable {
            path: self.path.clone(),
            why: format!("the connection broke: {error}"),
            help: "Did it just stop or restart? systemctl status lbd",
        }
    }
}
