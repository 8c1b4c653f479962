//! Whether this kernel can run the program, asked of the kernel itself instead of its version number: distributions bring features
//! to old versions and switch them off in new ones.
//!
//! What the object cannot do without is named in the refusal, with the version that brought it; the verifier's log, which the kernel
//! would answer with otherwise, names nothing. What is missed only by parts is in [`Features`].

mod needs;
mod probe;

use super::{Error, kernel};
use needs::{Needs, helper};
use probe::Answer;

/// What a kernel may have or lack while lbd runs on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a feature of its own, named as operators know it")]
pub struct Features {
    /// Programs are compiled (`net.core.bpf_jit_enable`). Interpreted ones run at a tenth of the speed.
    pub jit: bool,
    /// The kernel describes its own types (`/sys/kernel/btf/vmlinux`).
    pub btf: bool,
    /// XDP programs may see frames of several buffers (Linux 5.18): jumbo frames, where the driver plays along.
    pub frags: bool,
    /// tc programs attach by links that order and replace them (Linux 6.6).
    pub tcx: bool,
}

impl Features {
    /// Each with its name and what it means to lack it.
    pub fn rows(&self) -> [(&'static str, bool, &'static str); 4] {
        [
            ("jit", self.jit, "packets cost ten times as much; sysctl net.core.bpf_jit_enable=1"),
            ("btf", self.btf, "tools cannot show what the program's types are"),
            ("frags", self.frags, "no frames above about 3500 bytes; Linux 5.18 has it"),
            ("tcx", self.tcx, "egress programs attach through a clsact qdisc; Linux 6.6 has it"),
        ]
    }
}

/// What this kernel has; everything absent where this process may not ask.
pub fn features() -> Features {
    Features {
        jit: probe::is_compiled() == Answer::Yes,
        btf: std::path::Path::new("/sys/kernel/btf/vmlinux").exists(),
        frags: probe::frags() == Answer::Yes,
        tcx: probe::tcx() == Answer::Yes,
    }
}

/// Refuses, in a sentence, a kernel that lacks what `object` cannot do without.
pub(super) fn check(object: &[u8]) -> Result<(), Error> {
    if let Answer::Unknown(error) = probe::smallest() {
        let hint = match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                "loading an XDP program (CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed, and a kernel whose lockdown allows it)"
            }
            Some(libc::ENOSYS) => {
                "loading an XDP program (this kernel is built without bpf(2), CONFIG_BPF_SYSCALL)"
            }
            _ => "loading the smallest XDP program",
        };
        return Err(kernel(hint.to_owned(), error));
    }
    let Some(needs) = Needs::of(object) else {
        return Err(kernel(
            "reading the eBPF object".to_owned(),
            std::io::Error::other("it is no ELF file of this machine's byte order"),
        ));
    };
    let missing = missing(&needs);
    if missing.is_empty() {
        return Ok(());
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    let release = release.as_deref().map_or("of unknown version", str::trim);
    Err(Error::Kernel(refusal(release, &missing)))
}

/// Something the kernel lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lack {
    what: String,
    /// Version of Linux that brought it; `None` where we do not know it.
    since: Option<(u32, u32)>,
}

impl Lack {
    fn new(what: &str, since: (u32, u32)) -> Self {
        Self { what: what.to_owned(), since: Some(since) }
    }
}

/// An answer that is not a clear no is none: what is really missing will be said by the step that fails.
fn missing(needs: &Needs) -> Vec<Lack> {
    let mut missing = Vec::new();
    if probe::mapped_arrays() == Answer::No {
        missing.push(Lack::new("arrays that can be mapped into a process (BPF_F_MMAPABLE)", (5, 5)));
    }
    if needs.atomics && probe::atomics() == Answer::No {
        missing.push(Lack::new("atomic instructions that return the old value", (5, 12)));
    }
    if probe::test_run_context() == Answer::No {
        missing.push(Lack::new(
            "test runs of XDP programs with an interface (BPF_PROG_TEST_RUN with ctx_in)",
            (5, 15),
        ));
    }
    for (kind, number) in &needs.helpers {
        if probe::helper(*kind, *number) == Answer::No {
            let (name, since) = helper(*number);
            missing.push(Lack { what: format!("the helper {name}"), since });
        }
    }
    missing.sort_by_key(|lack| lack.since);
    missing.dedup();
    missing
}

fn refusal(release: &str, missing: &[Lack]) -> String {
    let list: Vec<String> = missing
        .iter()
        .map(|lack| match lack.since {
            Some((major, minor)) => format!("{} (in Linux since {major}.{minor})", lack.what),
            None => lack.what.clone(),
        })
        .collect();
    // Kernels with long-term support, in which everything here is there.
    let newest = missing.iter().filter_map(|lack| lack.since).max().unwrap_or((6, 1));
    let advice =
        if newest <= (6, 1) { "Linux 6.1, Debian 12's, has all of it" } else { "a newer kernel has it" };
    format!("this kernel ({release}) cannot run lbd: it lacks {}. {advice}", list.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::object::OBJECT;

    #[test]
    fn a_refusal_names_everything_missing_in_one_sentence() {
        let missing = [
            Lack::new("the helper bpf_jiffies64", (5, 6)),
            Lack { what: "the helper number 999".to_owned(), since: None },
        ];
        assert_eq!(
            refusal("5.4.0-1", &missing),
            "this kernel (5.4.0-1) cannot run lbd: it lacks the helper bpf_jiffies64 (in Linux since 5.6), \
             the helper number 999. Linux 6.1, Debian 12's, has all of it"
        );
    }

    #[test]
    fn the_kernel_of_this_machine_is_asked_and_not_guessed() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: asking the kernel needs root");
            return;
        }
        check(OBJECT).expect("this machine runs the other tests");
        let impossible = Needs { helpers: [(needs::Kind::Xdp, 9999)].into(), atomics: true };
        let missing = missing(&impossible);
        assert_eq!(missing, [Lack { what: "the helper number 9999".to_owned(), since: None }]);
    }

    #[test]
    fn what_is_absent_has_a_reason_to_care() {
        assert!(Features::default().rows().iter().all(|(_, there, meaning)| !there && !meaning.is_empty()));
    }
}
