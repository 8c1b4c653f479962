//! The program leaves the interface when that is asked for, and only then.

use std::fs;

use nix::sys::signal::Signal;

use crate::site::{SERVICE, Site};

/// The service manager takes this for "stay away" (deploy/systemd/lbd.service).
const ASKED: i32 = 10;

fn pins(site: &Site) -> Vec<String> {
    let Ok(entries) = fs::read_dir(&site.bpf) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_shutdown_with_detach_leaves_nothing_and_one_without_leaves_everything() {
    let Some(site) = Site::new() else { return };
    let lbd = site.start();
    site.ctl(&["shutdown"]);
    assert_eq!(lbd.ended().code(), Some(ASKED));
    assert!(site.attached() && !pins(&site).is_empty());
    assert_eq!(site.requests(20).len(), 3);

    let lbd = site.start_until_ready();
    site.ctl(&["shutdown", "--detach"]);
    assert_eq!(lbd.ended().code(), Some(ASKED));
    assert!(!site.attached());
    assert_eq!(pins(&site), Vec::<String>::new());
    assert!(site.request(SERVICE[0]).is_err());
    site.until_logged("detached");
}

#[test]
fn detach_on_exit_detaches_on_exit() {
    let Some(site) = Site::new() else { return };
    let lbd = site.spawn(&["--detach-on-exit"]);
    site.until_logged("attached");
    lbd.signal(Signal::SIGTERM);
    assert!(lbd.ended().success());
    assert!(!site.attached());
    assert_eq!(pins(&site), Vec::<String>::new());
    // From nothing again.
    let _lbd = site.start();
    assert_eq!(site.requests(20).len(), 3);
}
