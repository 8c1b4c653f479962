//! What `lbd` cannot work with ends it at once, with a sentence that helps, and leaves nothing behind.

use std::fs;

use crate::site::{SERVICE, Site};

/// It failed, said all of `words`, and attached nothing.
fn fails(site: &Site, words: &[&str]) {
    let ran = site.lbd_to_its_end(&[]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    for word in words {
        assert!(ran.stderr.contains(word), "it does not say {word}: {}", ran.stderr);
    }
    assert!(!site.attached(), "{ran:#?}");
    assert!(!site.dir.path().join("lbd.sock").exists(), "the socket was left behind");
}

#[test]
fn an_interface_that_cannot_be_used_ends_it() {
    let Some(site) = Site::new() else { return };
    site.configure(|settings| settings.interfaces = vec!["nope0"]);
    fails(&site, &["nope0", "no such interface", "ip -br link"]);
    // The first one was fine: it does not stay attached.
    site.configure(|settings| settings.interfaces = vec!["e0", "nope0"]);
    fails(&site, &["nope0"]);
    // A bridge takes no program into its driver.
    site.balancer.ip("link add br9 type bridge\nlink set br9 up\n");
    site.configure(|settings| settings.interfaces = vec!["br9"]);
    fails(&site, &["br9", "bridge", "xdp_mode = \"generic\""]);
    // Somebody else's program.
    site.configure(|settings| {
        settings.interfaces = vec!["br9"];
        settings.mode = "generic";
    });
    let other = site.start();
    let text = fs::read_to_string(site.config()).expect("the configuration");
    let own = site.dir.path().display().to_string();
    fs::write(
        site.config(),
        text.replace(
            &format!("bpf_dir = \"{}\"", site.bpf.display()),
            &format!("bpf_dir = \"{}/second\"", site.bpf.display()),
        )
        .replace(&format!("{own}/lbd.sock"), &format!("{own}/second.sock"))
        .replace("127.0.0.1:9090", "127.0.0.1:9091"),
    )
    .expect("writing the configuration");
    let ran = site.lbd_to_its_end(&[]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.stderr.contains("another XDP program is there"), "{ran:#?}");
    drop(other);
}

#[test]
fn generic_mode_forwards_when_the_file_asks_for_it() {
    let Some(site) = Site::new() else { return };
    site.configure(|settings| settings.mode = "generic");
    let lbd = site.start();
    assert_eq!(site.requests(30).len(), 3);
    assert!(site.ctl(&["status"]).contains("generic"));
    // Back to native: the other attachment goes.
    lbd.terminate();
    site.configure(|_| {});
    let _lbd = site.start();
    let link = site.balancer.output("ip", &["link", "show", "dev", "e0"]);
    assert!(link.contains(" xdp ") && !link.contains("xdpgeneric"), "{link}");
    assert_eq!(site.requests(30).len(), 3);
}

#[test]
fn check_prints_every_problem_of_a_file() {
    let Some(site) = Site::new() else { return };
    let ran = site.lbd_to_its_end(&["--check"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("1 services, 1 pools, 3 backends"), "{ran:?}");
    let good = fs::read_to_string(site.config()).expect("the configuration");
    let bad =
        good.replace("port = 80", "port = 0").replace("slots = 1021", "slots = 1000") + "adress = \"::1\"\n";
    fs::write(site.config(), bad).expect("writing the configuration");
    for arguments in [&["--check"][..], &[]] {
        let ran = site.lbd_to_its_end(arguments);
        assert_eq!(ran.code, 78, "{ran:?}");
        for word in ["port", "1000", "adress", "lbd.toml:"] {
            assert!(ran.stderr.contains(word), "nothing of {word}: {}", ran.stderr);
        }
    }
    fs::remove_file(site.config()).expect("removing the configuration");
    let ran = site.lbd_to_its_end(&[]);
    assert_eq!(ran.code, 78, "{ran:?}");
    assert!(ran.stderr.contains("lbd.toml"), "{ran:?}");
    assert!(!site.attached() && !site.bpf.exists());
}

#[test]
fn a_second_daemon_leaves_the_first_alone() {
    let Some(site) = Site::new() else { return };
    let mut lbd = site.start();
    let digest = site.pool()["table"]["digest"].clone();
    let connections = site.metric("lb_service_connections_total", &[]);
    let good = fs::read_to_string(site.config()).expect("the configuration");
    let own = site.dir.path().display().to_string();
    let other_socket = good.replace(&format!("{own}/lbd.sock"), &format!("{own}/second.sock"));
    let other_tables = good.replace(
        &format!("bpf_dir = \"{}\"", site.bpf.display()),
        &format!("bpf_dir = \"{}-b\"", site.bpf.display()),
    );
    for (text, says) in
        [(&good, "another lbd"), (&other_socket, "another lbd"), (&other_tables, "another lbd listens")]
    {
        // Another configuration as well, so that a change of the tables would show.
        fs::write(
            site.config(),
            text.replace("weight = 10", "weight = 1").replacen("weight = 1", "weight = 9", 1),
        )
        .expect("writing the configuration");
        let ran = site.lbd_to_its_end(&[]);
        assert_eq!(ran.code, 1, "{ran:#?}");
        assert!(ran.stderr.contains(says), "{ran:#?}");
        assert!(lbd.runs() && site.attached());
        assert_eq!(site.pool()["table"]["digest"], digest);
        site.until_metric("lb_datapath_drift_repaired_total", &[], |n| n <= 0.0);
    }
    let _ = fs::remove_dir_all(format!("{}-b", site.bpf.display()));
    site.request(SERVICE[0]).expect("an answer");
    site.until_metric("lb_service_connections_total", &[], |n| n > connections);
}
