//! The places in the kernel that the decapsulator can be attached to.

use std::fmt;

use clap::ValueEnum;

/// Where packets are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Hook {
    /// XDP in the interface's driver.
    Native,
    /// XDP behind the driver: for drivers without it.
    Generic,
    /// tc ingress by a link, Linux 6.6: for interfaces that cannot take an XDP program, or have one.
    Tcx,
    /// tc ingress by a filter of the clsact qdisc: the same for older kernels.
    Clsact,
}

impl Hook {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::Native, Self::Generic, Self::Tcx, Self::Clsact];

    /// Its name on the command line and in the pin's path.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }

    /// It takes the interface's one XDP place.
    pub(super) const fn is_xdp(self) -> bool {
        matches!(self, Self::Native | Self::Generic)
    }

    /// What an operator should know.
    pub(super) const fn note(self) -> Option<&'static str> {
        match self {
            Self::Native | Self::Generic => None,
            Self::Tcx | Self::Clsact => Some(
                "IPv6 in IPv4 and IPv4 in IPv6 need Linux 6.3 here; watch cannot_strip in `lbdecap status`",
            ),
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
