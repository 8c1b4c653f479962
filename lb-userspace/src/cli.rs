//! lbctl.
