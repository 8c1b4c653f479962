//! Answers that are not a success: a status and `{error, help}`.

use axum::{
    Json,
    extract::rejection::{JsonRejection, QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{
    control::ControlError,
    types::{ErrorBody, Refusal},
};

/// A status with what is wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// Body.
    pub body: ErrorBody,
}

impl ApiError {
    /// Builds one.
    pub fn new(status: StatusCode, error: impl Into<String>, help: impl Into<String>) -> Self {
        Self { status, body: ErrorBody { error: error.into(), help: help.into() } }
    }

    /// 404.
    pub fn not_found(error: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error, help)
    }

    /// 400.
    pub fn bad_request(error: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, help)
    }

    /// 503.
    pub fn unavailable(error: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error, help)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Refused(Refusal::Policy { message }) => {
                Self::new(StatusCode::CONFLICT, message, "repeat with --force to insist")
            }
            ControlError::Refused(Refusal::NotFound { message }) => {
                Self::not_found(message, "see `lbctl list` for pools and backends")
            }
            ControlError::Problems(text) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                text,
                "correct the file; the configuration in force is unchanged",
            ),
            ControlError::Unavailable(text) => {
                Self::unavailable(text, "try again; `journalctl -u lbd` says more")
            }
        }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(
            rejection.status(),
            rejection.body_text(),
            "the body must be one JSON object with the keys of the API, sent as application/json",
        )
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text(), "see the query's keys in the API's reference")
    }
}
