//! `load(path)`: file → validated [`crate::model::Config`], or every problem of the file at once.
