//! Prometheus, liveness and PyBal endpoints.
