//! The program on its interfaces: attached, replaced without a gap, or taken away.
//!
//! An attachment is a link pinned in bpffs: it outlives the daemon. The next daemon finds it and swaps its program atomically.

use std::{
    io,
    path::{Path, PathBuf},
};

use aya::programs::{
    ProgramError, Xdp, XdpMode as Mode,
    links::{FdLink, PinnedLink},
    xdp::XdpLink,
};

use lb_common::names;

use super::{Attachment, Error, driver, kernel, object::Object, unlink::unlink};
use crate::model::XdpMode;

/// An attachment that this process holds. Dropping it leaves the program attached.
#[derive(Debug)]
pub(super) struct Attached {
    /// What status says about it.
    pub(super) about: Attachment,
    /// Keeps the link's descriptor open, so that it can be inspected while we run.
    _link: PinnedLink,
    /// Where it is pinned.
    pin: PathBuf,
    /// It was attached by this process, not by a predecessor.
    new: bool,
    /// Index of the interface it was attached to.
    ifindex: Option<u32>,
}

impl Attached {
    /// Whether the interface of that name is still the one it was attached to.
    pub(super) fn holds(&self) -> bool {
        self.ifindex.is_some() && self.ifindex == index_of(&self.about.interface)
    }

    /// Takes the program off again if it was not there before.
    pub(super) fn undo(self) {
        let Self { about, pin, new, _link, ifindex: _ } = self;
        if new && let Err(e) = unlink(&pin) {
            tracing::error!(interface = about.interface, error = %e, "the program stays attached");
        }
    }
}

fn index_of(interface: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(interface).ok()
}

/// Attaches the program of `object` to `interface`, or puts it in place of the one that a predecessor attached there.
pub(super) fn attach(object: &Object, interface: &str, mode: XdpMode, dir: &Path) -> Result<Attached, Error> {
    let frags = wants_frags(interface, mode);
    let name = if frags { names::PROG_LB_FRAGS } else { names::PROG_LB };
    object.ensure_loaded(name)?;
    object.with_program(name, |program| attach_program(program, interface, mode, frags, dir))
}

/// A packet that may lie in several buffers needs a program that knows of them: no driver holds more than a page's worth in one.
const SINGLE_BUFFER_MTU: u32 = 3_000;

fn wants_frags(interface: &str, mode: XdpMode) -> bool {
    mode == XdpMode::Native && driver::mtu(interface).is_some_and(|mtu| mtu > SINGLE_BUFFER_MTU)
}

fn attach_program(
    program: &mut Xdp,
    interface: &str,
    mode: XdpMode,
    frags: bool,
    dir: &Path,
) -> Result<Attached, Error> {
    let pin = dir.join(pin_name(interface, mode));
    let (link, new) = if adopt(program, &pin, interface)?.is_some() {
        // The pin holds this very link: opened again instead of pinned twice.
        let link = PinnedLink::from_pin(&pin).map_err(|e| kernel(format!("opening {}", pin.display()), e))?;
        (link, false)
    } else {
        leave_other_mode(interface, mode, dir)?;
        let link = create(program, interface, mode)?
            .pin(&pin)
            .map_err(|e| kernel(format!("pinning the attachment at {}", pin.display()), e))?;
        (link, true)
    };
    Ok(Attached {
        about: Attachment {
            interface: interface.to_owned(),
            mode: word(mode),
            driver: driver::name(interface),
            frags,
        },
        _link: link,
        pin,
        new,
        ifindex: index_of(interface),
    })
}

/// An interface takes one XDP program: what a predecessor attached in the other mode goes right before ours comes.
fn leave_other_mode(interface: &str, mode: XdpMode, dir: &Path) -> Result<(), Error> {
    for other in MODES.into_iter().filter(|other| *other != mode) {
        let pin = dir.join(pin_name(interface, other));
        if !pin.exists() {
            continue;
        }
        tracing::warn!(
            interface,
            from = word(other),
            to = word(mode),
            "changing the mode: nothing is forwarded for a moment"
        );
        unlink(&pin).map_err(|e| kernel(format!("removing {}", pin.display()), e))?;
    }
    Ok(())
}

/// Takes away what a predecessor attached to interfaces that are not ours any more. Only once ours are attached.
pub(super) fn detach_others(interfaces: &[String], mode: XdpMode, dir: &Path) -> Result<(), Error> {
    let ours: Vec<String> = interfaces.iter().map(|i| pin_name(i, mode)).collect();
    for entry in
        std::fs::read_dir(dir).map_err(|e| kernel(format!("reading {}", dir.display()), e))?.flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_link = LINK_PREFIXES.iter().any(|p| name.starts_with(p));
        if is_link && !ours.contains(&name) {
            tracing::warn!(pin = name, "detaching: the configuration does not name it any more");
            unlink(&entry.path()).map_err(|e| kernel(format!("removing {}", entry.path().display()), e))?;
        }
    }
    Ok(())
}

/// Takes the program off every interface and removes all pins below `dir`. Running without them is the same as never having started.
pub(super) fn detach_all(dir: &Path) -> Result<(), Error> {
    let removed = |path: &Path, result: io::Result<()>| match result {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(kernel(format!("removing {}", path.display()), e))
        }
        _ => Ok(()),
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(kernel(format!("reading {}", dir.display()), e)),
    };
    // Links first: without them no program runs that could use the maps.
    let paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    for path in paths.iter().filter(|p| p.is_file()) {
        removed(path, unlink(path))?;
    }
    for tables in paths.iter().filter(|p| p.is_dir()) {
        for map in std::fs::read_dir(tables).into_iter().flatten().flatten() {
            removed(&map.path(), std::fs::remove_file(map.path()))?;
        }
        std::fs::remove_dir(tables).map_err(|e| kernel(format!("removing {}", tables.display()), e))?;
    }
    Ok(())
}

const MODES: [XdpMode; 3] = [XdpMode::Native, XdpMode::Generic, XdpMode::Offload];

const LINK_PREFIXES: [&str; 3] = ["native_", "generic_", "offload_"];

const fn word(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
        XdpMode::Offload => "offload",
    }
}

/// The name under which an attachment is pinned. Not below the versioned directory of the tables: an upgrade that makes new tables still replaces the
/// program of this link.
fn pin_name(interface: &str, mode: XdpMode) -> String {
    format!("{}_{}", word(mode), pinnable(interface))
}

/// bpffs forbids dots in names, interfaces may have them.
pub(super) fn pinnable(interface: &str) -> String {
    interface.replace('%', "%25").replace('.', "%2e").replace('/', "%2f")
}

/// The attachment of a predecessor, with our program in it.
fn adopt(program: &mut Xdp, pin: &Path, interface: &str) -> Result<Option<FdLink>, Error> {
    if !pin.exists() {
        return Ok(None);
    }
    let gone = |why: String| {
        tracing::warn!(interface, why, "the pinned attachment is dead, attaching anew");
        std::fs::remove_file(pin).map_err(|e| kernel(format!("removing {}", pin.display()), e)).map(|()| None)
    };
    let old = match PinnedLink::from_pin(pin) {
        Ok(old) => FdLink::from(old),
        Err(e) => return gone(e.to_string()),
    };
    let link = match XdpLink::try_from(old) {
        Ok(link) => link,
        Err(e) => return gone(e.to_string()),
    };
    match program.attach_to_link(link) {
        Ok(id) => {
            let link =
                program.take_link(id).map_err(|e| kernel(format!("taking the link of {interface}"), e))?;
            let link =
                FdLink::try_from(link).map_err(|e| kernel(format!("taking the link of {interface}"), e))?;
            tracing::info!(interface, "replaced the program of the running attachment");
            Ok(Some(link))
        }
        Err(ProgramError::SyscallError(e))
            if matches!(e.io_error.raw_os_error(), Some(libc::ENOLINK | libc::ENODEV)) =>
        {
            gone("its interface does not exist any more".to_owned())
        }
        // The predecessor's program forwards on.
        Err(e) => Err(kernel(format!("replacing the program on {interface}; the one before it stays"), e)),
    }
}

fn create(program: &mut Xdp, interface: &str, mode: XdpMode) -> Result<FdLink, Error> {
    let wanted = match mode {
        XdpMode::Native => Mode::Driver,
        XdpMode::Generic => Mode::Skb,
        XdpMode::Offload => Mode::Hardware,
    };
    let explained = |e: aya::programs::ProgramError| kernel(explain(&e, interface, mode), e);
    let id = program.attach(interface, wanted).map_err(explained)?;
    let link = program.take_link(id).map_err(explained)?;
    FdLink::try_from(link).map_err(|_| {
        kernel(
            format!("attaching to {interface}"),
            io::Error::other(
                "the kernel knows no BPF links for XDP (Linux 5.9 or newer is needed), or its driver refused the program; \
                 `dmesg | tail` says more",
            ),
        )
    })
}

/// What to do about a refusal.
fn explain(e: &aya::programs::ProgramError, interface: &str, mode: XdpMode) -> String {
    use aya::programs::ProgramError as P;
    let errno = match e {
        P::SyscallError(s) => s.io_error.raw_os_error(),
        _ => None,
    };
    let hint = match errno {
        _ if matches!(e, P::UnknownInterface { .. }) => {
            "there is no such interface: `ip -br link` lists them".to_owned()
        }
        Some(libc::EBUSY | libc::EEXIST) => format!(
            "another XDP program is there: `ip -d link show {interface}` names it, `ip link set dev {interface} xdp off` removes it"
        ),
        Some(libc::EOPNOTSUPP) if mode == XdpMode::Native => format!(
            "its driver ({}) does not run XDP programs; `xdp_mode = \"generic\"` works everywhere, several times slower",
            driver::name(interface)
        ),
        Some(libc::EOPNOTSUPP | libc::EINVAL) if mode == XdpMode::Offload => format!(
            "its driver ({}) does not run this program in the network card; write `xdp_mode = \"native\"`",
            driver::name(interface)
        ),
        Some(libc::EPERM | libc::EACCES) => "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed".to_owned(),
        Some(libc::EINVAL | libc::ERANGE | libc::ENOMEM | libc::ENOSPC) => format!(
            "its driver ({}) refuses: often the MTU is too large for XDP, LRO is on, or there are too many queues; `dmesg | tail` says",
            driver::name(interface)
        ),
        _ => "`dmesg | tail` may say more".to_owned(),
    };
    format!("attaching to {interface} ({hint})")
}
