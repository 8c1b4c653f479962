//! The programs on real interfaces, in namespaces.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use lb_common::hash::HashKey;

use super::*;
use crate::{
    model::{Limits, Method},
    neighbour::netns::{in_namespace, ip},
};

/// A bpffs directory that goes with its value.
struct Pins(PathBuf);

impl Pins {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!("/sys/fs/bpf/lbd-unit-{}-{number}", std::process::id()));
        fs::create_dir(&dir).expect("a directory in bpffs");
        Self(dir)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the directory").flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        crate::datapath::engine::detach(&self.0).expect("detaching");
        fs::remove_dir(&self.0).expect("an empty directory");
    }
}

fn object() -> Object {
    let limits = Limits {
        services: 64,
        backends: 64,
        pools: 8,
        slots: 2048,
        pins: 1024,
        flows: 1024,
        sources: 1024,
        prefixes: 64,
    };
    Object::load(&limits, HashKey::from_secret(&[3; 32]), None).expect("the object loads")
}

fn hop(interface: &str) -> NextHop {
    let ifindex = nix::net::if_::if_nametoindex(interface).expect("an interface");
    NextHop {
        dst_mac: crate::model::Mac([2, 0, 0, 0, 0, 9]),
        src_mac: crate::model::Mac([2, 0, 0, 0, 0, 1]),
        ifindex,
        vlan: 0,
        mtu: 1500,
        gateway: None,
        source: None,
    }
}

fn probe() -> DesiredProbe {
    let vip = IpAddr::from([203, 0, 113, 1]);
    DesiredProbe {
        address: [10, 0, 0, 9].into(),
        production: Production { vip, method: Method::Dr, gue_port: 0 },
    }
}

fn desired(hop: Option<NextHop>) -> Desired {
    Desired { probes: [(probe(), hop)].into(), ..Desired::default() }
}

/// What tc shows of an interface's filters, and bpftool's view of its links if there is one.
fn filters(interface: &str) -> String {
    let show = |at| {
        let output = Command::new("tc").args(["filter", "show", "dev", interface, at]).output().expect("tc");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    show("egress") + &show("ingress")
}

fn way(probes: &Probes) -> Way {
    probes.path().marks().borrow().way(&probe())
}

#[test]
fn a_way_is_marked_once_the_programs_are_where_it_leaves() {
    in_namespace(async || {
        ip("link add one type veth peer name two");
        let (pins, object) = (Pins::new(), object());
        let mut probes = Probes::open(&object, &pins.0).expect("a table");
        assert_eq!(way(&probes), Way::Unknown);
        probes.attach(&object, &["one".to_owned()]);
        probes.apply(&object, &desired(None));
        assert_eq!(way(&probes), Way::Unresolved(MARK | 1));
        probes.apply(&object, &desired(Some(hop("one"))));
        assert_eq!(way(&probes), Way::Marked(MARK | 1));
        assert_eq!(probes.problem(), None);
        // A route leads by an interface that the configuration does not name.
        probes.apply(&object, &desired(Some(hop("two"))));
        assert_eq!(way(&probes), Way::Marked(MARK | 1));
        assert_eq!(pins.names(), ["check_in_one", "check_in_two", "check_out_one", "check_out_two"]);
        // The next daemon takes over what it needs, and removes the rest.
        drop(probes);
        let mut next = Probes::open(&object, &pins.0).expect("a table");
        next.attach(&object, &["one".to_owned()]);
        assert_eq!(pins.names(), ["check_in_one", "check_out_one"]);
        next.apply(&object, &desired(Some(hop("one"))));
        assert_eq!(way(&next), Way::Marked(MARK | 1));
    });
}

#[test]
fn an_interface_that_was_made_anew_gets_its_programs_again() {
    in_namespace(async || {
        ip("link add one type veth peer name two");
        let (pins, object) = (Pins::new(), object());
        let mut probes = Probes::open(&object, &pins.0).expect("a table");
        probes.attach(&object, &["one".to_owned()]);
        ip("link del one");
        ip("link add three type veth peer name four");
        ip("link add one type veth peer name two");
        probes.tend(&object);
        probes.apply(&object, &desired(Some(hop("one"))));
        assert_eq!(way(&probes), Way::Marked(MARK | 1));
        assert_eq!(probes.problem(), None);
    });
}

#[test]
fn entries_that_somebody_changed_are_written_again() {
    in_namespace(async || {
        let (pins, object) = (Pins::new(), object());
        let mut probes = Probes::open(&object, &pins.0).expect("a table");
        probes.apply(&object, &desired(None));
        assert_eq!(probes.tend(&object), 0);
        probes.word(1, 0).store(7, Ordering::Release);
        assert_eq!([probes.tend(&object), probes.tend(&object)], [1, 0]);
        // Nobody asks for it any more.
        probes.apply(&object, &Desired::default());
        assert_eq!(probes.word(1, WORD_USED).load(Ordering::Acquire), 0);
        assert_eq!(way(&probes), Way::Unknown);
    });
}

#[test]
fn kernels_without_links_get_filters_which_are_never_doubled_and_leave_with_us() {
    in_namespace(async || {
        ip("link add one type veth peer name two");
        let object = object();
        let count = |text: &str| text.matches("direct-action").count();
        let first = attach::filters(&object, "one").expect("filters");
        assert_eq!((count(&filters("one")), first.how()), (2, "clsact"));
        // A daemon that was killed left its own.
        std::mem::forget(first);
        let second = attach::filters(&object, "one").expect("filters");
        assert_eq!(count(&filters("one")), 2, "{}", filters("one"));
        drop(second);
        assert_eq!(count(&filters("one")), 0, "{}", filters("one"));
    });
}
