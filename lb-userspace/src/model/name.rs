//! Names of services, pools and backends.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Longest name in bytes.
pub const MAX_LEN: usize = 128;

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name cannot be empty")]
    Empty,
    /// More than [`MAX_LEN`] bytes.
    #[error("a name has at most {MAX_LEN} bytes")]
    TooLong,
    /// A first character that a command line or a path would take for something else.
    #[error("a name begins with a letter or a digit, not `{0}`")]
    First(char),
    /// A character that would need quoting in a URL, a shell or a metric label.
    #[error("a name has letters, digits, `.`, `-`, `_` and `:` only, not `{0}`")]
    Char(char),
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_LEN {
        return Err(NameError::TooLong);
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || ".-_:".contains(*c))) {
        Some(c) => Err(NameError::Char(c)),
        None => match text.chars().next() {
            Some(c) if !c.is_ascii_alphanumeric() => Err(NameError::First(c)),
            _ => Ok(()),
        },
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text).map(|()| Self(text.into()))
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name! {
    /// A service: a VIP set, a port and a protocol.
    ServiceName
}
name! {
    /// A pool: the backends of one or more services.
    PoolName
}
name! {
    /// A backend, unique within its pool; the same name in two pools means the same host.
    BackendName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_no_quoting_is_a_name() {
        assert!("cp1001.example.org".parse::<BackendName>().is_ok());
        assert!("textlb6_443".parse::<PoolName>().is_ok());
        assert_eq!("".parse::<PoolName>(), Err(NameError::Empty));
        assert_eq!("a b".parse::<PoolName>(), Err(NameError::Char(' ')));
        assert_eq!("-v".parse::<PoolName>(), Err(NameError::First('-')));
        assert_eq!("..".parse::<PoolName>(), Err(NameError::First('.')));
        assert_eq!("a/b".parse::<PoolName>(), Err(NameError::Char('/')));
        assert_eq!("x".repeat(129).parse::<PoolName>(), Err(NameError::TooLong));
    }
}
