//! Attaches, replaces without a gap, detaches.
//!
//! Each `attach` makes a new program with its own, final settings and puts it in place of the running one in one step, so a packet meets
//! either the old settings or the new ones. Only the counters are carried on.

use std::mem;

use anyhow::{Context as _, Error, Result, bail, ensure};
use aya::{
    Ebpf,
    programs::{
        Link as _, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
        links::{FdLink, LinkOrder, PinnedLink},
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact},
    },
};
use lb_common::decap::{self, Config, VERSION};
use nix::{ifaddrs::getifaddrs, net::if_::if_nametoindex, sys::socket::LinkAddr};

use super::{
    hook::Hook,
    object,
    pins::{self, Pins},
    settings::Settings,
};
use crate::datapath::unlink::unlink;

/// The place of our filter among others of the clsact qdisc. Known, so that a later command finds it.
const PRIORITY: u16 = 6080;
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// Hardware types of frames that begin with an Ethernet header: Ethernet, loopback (`linux/if_arp.h`).
const ETHERNET: [u16; 2] = [1, 772];

/// Attaches to the interface at `hook`. Whether something was attached before.
pub(super) fn attach(pins: &Pins, hook: Hook, settings: &Settings) -> Result<bool> {
    let interface = &pins.interface;
    let ifindex = index_of(interface)?;
    let lock = pins.prepare()?;
    let before = pins.attached();
    let done = put(pins, hook, &settings.to_config(ifindex), before);
    if done.is_err() && pins.attached().is_none() {
        // Nothing came of it: nothing stays.
        pins.remove().context("tidying up after a failure")?;
    }
    drop(lock);
    done.map(|()| before.is_some())
}

/// Takes it off. Whether something was attached.
pub(super) fn detach(pins: &Pins) -> Result<bool> {
    if !pins.exists() {
        return Ok(false);
    }
    let _lock = pins.lock()?;
    let mut was_there = false;
    for hook in Hook::ALL {
        was_there |= take_off(pins, hook)?;
    }
    pins.remove()?;
    Ok(was_there)
}

fn put(pins: &Pins, hook: Hook, config: &Config, before: Option<Hook>) -> Result<()> {
    // Attached to an interface of that name which is gone, or counted by rules of another version.
    let (same_interface, same_version) =
        pins.config().map_or((false, false), |old| (old.ifindex == config.ifindex, old.version == VERSION));
    if before.is_some() && !same_version {
        pins::remove(&pins.count())?;
    }
    let mut object = object::load(config, Some(&pins.count()))?;
    let replaces = before == Some(hook) && same_interface;
    if let Some(old) = before
        && !replaces
        && (!same_interface || old == hook || (old.is_xdp() && hook.is_xdp()))
    {
        // An interface takes one XDP program: the old one goes right before ours comes.
        take_off(pins, old)?;
    }
    match hook {
        Hook::Native => xdp(&mut object, pins, hook, XdpMode::Driver, replaces)?,
        Hook::Generic => xdp(&mut object, pins, hook, XdpMode::Skb, replaces)?,
        Hook::Tcx => tcx(&mut object, pins, replaces)?,
        Hook::Clsact => clsact(&mut object, pins, replaces)?,
    }
    for old in Hook::ALL.into_iter().filter(|old| *old != hook) {
        take_off(pins, old)?;
    }
    pins.keep_config(object.map(decap::CONFIG).context("the eBPF object has no configuration")?)
}

fn xdp(object: &mut Ebpf, pins: &Pins, hook: Hook, mode: XdpMode, replaces: bool) -> Result<()> {
    let interface = &pins.interface;
    let pin = pins.hook(hook);
    // Kernels before 5.18 know no frames in several buffers.
    let mut name = decap::PROG_XDP_FRAGS;
    if program::<Xdp>(object, name)?.load().is_err() {
        name = decap::PROG_XDP;
        verify(program::<Xdp>(object, name)?.load())?;
    }
    let program: &mut Xdp = program(object, name)?;
    if replaces {
        let old =
            FdLink::from(PinnedLink::from_pin(&pin).with_context(|| format!("opening {}", pin.display()))?);
        let id = old
            .try_into()
            .map_err(Error::from)
            .and_then(|old| Ok(program.attach_to_link(old)?))
            .with_context(|| format!("replacing the program on {interface}; the one before it stays"))?;
        // The pin holds the link.
        drop(program.take_link(id));
        return Ok(());
    }
    let id = program.attach(interface, mode).map_err(|e| explain(e, interface, hook))?;
    let link = program.take_link(id).context("taking the attachment")?;
    let Ok(link) = FdLink::try_from(link) else {
        bail!(
            "{interface}: the kernel knows no lasting attachments for XDP (Linux 5.9 has them); try --hook clsact"
        );
    };
    link.pin(&pin).with_context(|| format!("pinning {}", pin.display()))?;
    Ok(())
}

fn tcx(object: &mut Ebpf, pins: &Pins, replaces: bool) -> Result<()> {
    let interface = &pins.interface;
    let pin = pins.hook(Hook::Tcx);
    let program: &mut SchedClassifier = program(object, decap::PROG_TC)?;
    verify(program.load())?;
    if replaces {
        let old =
            FdLink::from(PinnedLink::from_pin(&pin).with_context(|| format!("opening {}", pin.display()))?);
        let id = SchedClassifierLink::try_from(old)
            .map_err(Error::from)
            .and_then(|old| Ok(program.attach_to_link(old)?))
            .with_context(|| format!("replacing the program on {interface}; the one before it stays"))?;
        drop(program.take_link(id));
        return Ok(());
    }
    // First: what others do at this place, they do to the packet inside.
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program
        .attach_with_options(interface, TcAttachType::Ingress, options)
        .map_err(|e| explain(e, interface, Hook::Tcx))?;
    let link = program.take_link(id).context("taking the attachment")?;
    FdLink::try_from(link)
        .context("taking the attachment")?
        .pin(&pin)
        .with_context(|| format!("pinning {}", pin.display()))?;
    Ok(())
}

/// A filter lives in the kernel by itself. The pinned program only remembers that it is there.
fn clsact(object: &mut Ebpf, pins: &Pins, replaces: bool) -> Result<()> {
    let interface = &pins.interface;
    let pin = pins.hook(Hook::Clsact);
    let program: &mut SchedClassifier = program(object, decap::PROG_TC)?;
    verify(program.load())?;
    let id = if replaces {
        program.attach_to_link(filter(interface)?)
    } else {
        match qdisc_add_clsact(interface) {
            Ok(()) | Err(TcError::AlreadyAttached) => {}
            // Somebody's qdisc: the filter goes there.
            Err(TcError::NetlinkError(e)) if e.raw_os_error() == Some(libc::EEXIST) => {}
            Err(e) => return Err(e).with_context(|| format!("adding the clsact qdisc to {interface}")),
        }
        let options = TcAttachOptions::Netlink(NlOptions {
            priority: PRIORITY,
            handle: HANDLE,
            ..NlOptions::default()
        });
        program.attach_with_options(interface, TcAttachType::Ingress, options)
    };
    let link = program
        .take_link(id.map_err(|e| explain(e, interface, Hook::Clsact))?)
        .context("taking the attachment")?;
    // Dropping it would remove the filter.
    mem::forget(link);
    pins::remove(&pin)?;
    program.pin(&pin).with_context(|| format!("pinning {}", pin.display()))
}

fn filter(interface: &str) -> Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, TcAttachType::Ingress, PRIORITY, HANDLE, None)
        .with_context(|| format!("finding {interface}"))
}

/// Takes off what is pinned for `hook`. Whether something was.
fn take_off(pins: &Pins, hook: Hook) -> Result<bool> {
    let pin = pins.hook(hook);
    if !pin.exists() {
        return Ok(false);
    }
    if hook == Hook::Clsact {
        // An interface that is gone took its filters along, and one made anew has none of ours.
        let current = if_nametoindex(pins.interface.as_str()).ok();
        if pins.config().is_ok_and(|old| Some(u32::from_le_bytes(old.ifindex)) == current) {
            filter(&pins.interface)?.detach().with_context(|| {
                format!(
                    "removing the filter of {}; `tc filter show dev {0} ingress` lists it",
                    pins.interface
                )
            })?;
        }
        pins::remove(&pin)?;
    } else {
        unlink(&pin).with_context(|| format!("removing {}", pin.display()))?;
    }
    Ok(true)
}

fn program<'o, P>(object: &'o mut Ebpf, name: &str) -> Result<&'o mut P>
where
    &'o mut P: TryFrom<&'o mut aya::programs::Program, Error = ProgramError>,
{
    object
        .program_mut(name)
        .with_context(|| format!("the eBPF object has no program {name}"))?
        .try_into()
        .with_context(|| format!("the program {name} is of another kind"))
}

fn verify(loaded: Result<(), ProgramError>) -> Result<()> {
    loaded.context("the kernel did not take the program (CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed)")
}

fn index_of(interface: &str) -> Result<u32> {
    let index = if_nametoindex(interface)
        .with_context(|| format!("{interface}: no such interface; `ip -br link` lists them"))?;
    let kind = getifaddrs().context("listing the interfaces")?.find_map(|entry| {
        (entry.interface_name == interface)
            .then(|| entry.address.and_then(|address| address.as_link_addr().map(LinkAddr::hatype)))
            .flatten()
    });
    ensure!(
        kind.is_none_or(|kind| ETHERNET.contains(&kind)),
        "{interface}: its frames have no Ethernet header; attach to the interface below it"
    );
    Ok(index)
}

/// What to do about a refusal.
fn explain(error: ProgramError, interface: &str, hook: Hook) -> Error {
    let errno = match &error {
        ProgramError::SyscallError(e) => e.io_error.raw_os_error(),
        _ => None,
    };
    let help = match errno {
        Some(libc::EBUSY | libc::EEXIST) if hook.is_xdp() => {
            format!("another XDP program is there (`ip -d link show {interface}` names it): use --hook tcx or clsact")
        }
        Some(libc::EOPNOTSUPP) if hook == Hook::Native => {
            "its driver does not run XDP programs: use --hook generic, tcx or clsact".to_owned()
        }
        Some(libc::EINVAL | libc::ENOMEM | libc::ENOSPC | libc::ERANGE) if hook == Hook::Native => {
            "its driver refuses: often the MTU is too large for XDP or LRO is on; `dmesg | tail` says, --hook tcx or clsact work"
                .to_owned()
        }
        Some(libc::EINVAL) if hook == Hook::Tcx => "before Linux 6.6 use --hook clsact".to_owned(),
        _ => "`dmesg | tail` may say more".to_owned(),
    };
    Error::from(error).context(format!("attaching to {interface} ({hook}): {help}"))
}
