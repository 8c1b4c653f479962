//! The two programs on an interface: by a TCX link (Linux 6.6), pinned like the XDP program's, or as filters of a `clsact` qdisc.
//!
//! Without a daemon there are no checks, and the programs leave every other packet alone; a pinned link only sees to it that the last packets of
//! a daemon that was killed, resets, reach whom they are for.

use std::{io, path::Path};

use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType,
    links::{FdLink, PinnedLink},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError},
};
use lb_common::names;

use crate::datapath::{Error, kernel, object::Object, unlink::unlink};

/// Programs, where they go, and how their pins begin.
const PROGRAMS: [(&str, TcAttachType, &str); 2] = [
    (names::PROG_PROBE_OUT, TcAttachType::Egress, "check_out_"),
    (names::PROG_PROBE_IN, TcAttachType::Ingress, "check_in_"),
];

/// The programs on one interface.
#[derive(Debug)]
pub(super) struct Attached {
    by: By,
}

#[derive(Debug)]
enum By {
    /// The links' descriptors, so that they can be inspected while we run.
    Tcx { _links: Vec<PinnedLink> },
    /// Filters stay where they are when nobody removes them.
    Clsact { interface: String },
}

impl Attached {
    /// In a word.
    pub(super) const fn how(&self) -> &'static str {
        match self.by {
            By::Tcx { .. } => "tcx",
            By::Clsact { .. } => "clsact",
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let By::Clsact { interface } = &self.by {
            remove_filters(interface);
        }
    }
}

/// Attaches both programs, or puts them in place of a predecessor's.
pub(super) fn attach(object: &Object, interface: &str, dir: &Path) -> Result<Attached, Error> {
    match links(object, interface, dir) {
        Ok(links) => Ok(Attached { by: By::Tcx { _links: links } }),
        Err(Refused::Unknown) => filters(object, interface),
        Err(Refused::For(e)) => Err(e),
    }
}

/// Why there is no link.
#[derive(Debug)]
pub(super) enum Refused {
    /// The kernel is older than TCX.
    Unknown,
    /// Something else.
    For(Error),
}

pub(super) fn links(object: &Object, interface: &str, dir: &Path) -> Result<Vec<PinnedLink>, Refused> {
    PROGRAMS
        .iter()
        .map(|(name, at, prefix)| {
            object
                .with_classifier(name, |program| {
                    Ok(link(program, interface, *at, &dir.join(pin(prefix, interface))))
                })
                .map_err(Refused::For)?
        })
        .collect()
}

fn link(
    program: &mut SchedClassifier,
    interface: &str,
    at: TcAttachType,
    pin: &Path,
) -> Result<PinnedLink, Refused> {
    let failed = |what: &str, e: Box<dyn std::error::Error + Send + Sync>| {
        Refused::For(kernel(format!("{what} the program of checks, interface {interface}"), e))
    };
    if pin.exists() {
        match adopt(program, pin) {
            Ok(link) => return Ok(link),
            Err(why) => {
                // Its interface is gone, or it is no link of ours: what matters is that the pin goes.
                tracing::debug!(interface, why, "the pinned attachment is dead, attaching anew");
                unlink(pin).map_err(|e| failed("replacing", e.into()))?;
            }
        }
    }
    let id = match program.attach_with_options(interface, at, TcAttachOptions::TcxOrder(LinkOrder::default()))
    {
        Ok(id) => id,
        Err(e) if too_old(&e) => return Err(Refused::Unknown),
        Err(e) => return Err(failed("attaching", e.into())),
    };
    let link = program.take_link(id).map_err(|e| failed("attaching", e.into()))?;
    let link = FdLink::try_from(link).map_err(|e| failed("attaching", e.into()))?;
    link.pin(pin).map_err(|e| failed("pinning", e.into()))
}

/// The kernel does not know what a TCX link is.
fn too_old(e: &ProgramError) -> bool {
    let ProgramError::SyscallError(e) = e else { return false };
    matches!(e.io_error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

/// The link of a predecessor, with our program in it.
fn adopt(program: &mut SchedClassifier, pin: &Path) -> Result<PinnedLink, String> {
    let said = |e: &dyn std::fmt::Display| e.to_string();
    let old = FdLink::from(PinnedLink::from_pin(pin).map_err(|e| said(&e))?);
    let link = SchedClassifierLink::try_from(old).map_err(|e| said(&e))?;
    let id = program.attach_to_link(link).map_err(|e| said(&e))?;
    // Taken, so that it does not end with the program; the pin holds it, and is opened anew.
    let taken = program.take_link(id).map_err(|e| said(&e))?;
    let _keep = FdLink::try_from(taken).map_err(|e| said(&e))?;
    PinnedLink::from_pin(pin).map_err(|e| said(&e))
}

/// The programs as filters of a `clsact` qdisc. The qdisc stays: somebody else may use it too.
pub(super) fn filters(object: &Object, interface: &str) -> Result<Attached, Error> {
    let what =
        |what: &str| format!("{what} the program of checks, interface {interface} (by a clsact qdisc)");
    match tc::qdisc_add_clsact(interface) {
        Err(TcError::NetlinkError(e)) if e.raw_os_error() != Some(libc::EEXIST) => {
            return Err(kernel(
                what("attaching"),
                io::Error::from_raw_os_error(e.raw_os_error().unwrap_or(0)),
            ));
        }
        Err(e) if !matches!(e, TcError::NetlinkError(_) | TcError::AlreadyAttached) => {
            return Err(kernel(what("attaching"), e));
        }
        _ => {}
    }
    remove_filters(interface);
    let attached = Attached { by: By::Clsact { interface: interface.to_owned() } };
    for (name, at, _) in PROGRAMS {
        object.with_classifier(name, |program| {
            let options = TcAttachOptions::Netlink(NlOptions::default());
            let id = program
                .attach_with_options(interface, at, options)
                .map_err(|e| kernel(what("attaching"), e))?;
            // It is removed by its name.
            let link = program.take_link(id).map_err(|e| kernel(what("attaching"), e))?;
            std::mem::forget(link);
            Ok(())
        })?;
    }
    Ok(attached)
}

/// Takes our filters away; those of a daemon that was killed as well.
fn remove_filters(interface: &str) {
    for (name, at, _) in PROGRAMS {
        if let Err(e) = tc::qdisc_detach_program(interface, at, name) {
            tracing::trace!(interface, error = %e, "no filter to remove");
        }
    }
}

/// Removes what a predecessor attached to interfaces that the configuration does not name; one that a route leads by comes again
/// with its first check.
pub(super) fn forget_others(interfaces: &[String], dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = |(_, _, prefix): &(_, _, &str)| interfaces.iter().any(|i| pin(prefix, i) == name);
        let other =
            PROGRAMS.iter().any(|(_, _, prefix)| name.starts_with(prefix)) && !PROGRAMS.iter().any(ours);
        if other && let Err(e) = unlink(&entry.path()) {
            tracing::warn!(pin = name, error = %e, "an attachment that is no longer needed stays");
        }
    }
}

/// Takes filters of a `clsact` qdisc off every interface; links go with their pins.
pub fn sweep_out() {
    for interface in nix::net::if_::if_nameindex().iter().flatten() {
        if let Ok(name) = interface.name().to_str() {
            remove_filters(name);
        }
    }
}

/// The name of a pin: bpffs forbids dots, interfaces may have them.
fn pin(prefix: &str, interface: &str) -> String {
    format!("{prefix}{}", crate::datapath::attach::pinnable(interface))
}
