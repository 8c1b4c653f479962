//! Checks on the way of clients' packets, with a way that the test plays. Marking a socket needs the privilege to.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::watch;

use super::*;
use crate::{
    health::{
        Fate, ProbeError, ProductionPath, Ready, Way,
        probe::{Network, Probe as _},
    },
    model::{Method, Production},
};

const MARK: u32 = 0x4c42_0001;

/// A way as the test wants it.
#[derive(Debug)]
struct Played {
    way: watch::Sender<Way>,
    fate: Mutex<Fate>,
    begun: AtomicU32,
}

impl Played {
    fn new(way: Way, fate: Fate) -> Arc<Self> {
        Arc::new(Self { way: watch::Sender::new(way), fate: Mutex::new(fate), begun: AtomicU32::new(0) })
    }

    fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }
}

impl ProductionPath for Played {
    fn way(&self, _: &CheckTarget) -> Way {
        self.way.borrow().clone()
    }

    fn ready<'a>(&'a self, _: &'a CheckTarget) -> Ready<'a> {
        Box::pin(async {
            let mut way = self.way.subscribe();
            let way = way.wait_for(|way| matches!(way, Way::Marked(_) | Way::Never)).await;
            way.expect("the sender lives").clone()
        })
    }

    fn begin(&self, _: u16) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    fn fate(&self, _: u16) -> Fate {
        *self.fate.lock().expect("a lock")
    }
}

/// `None`, having said why, without the privilege to mark sockets.
fn network(path: &Arc<Played>) -> Option<Network> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    if socket.set_mark(MARK).is_err() {
        eprintln!("skipped: marking sockets needs CAP_NET_ADMIN");
        return None;
    }
    Some(Network::new(Some(path.clone())))
}

fn by_vip(port: u16) -> CheckTarget {
    let production = Production { vip: [203, 0, 113, 1].into(), method: Method::Dr, gue_port: 0 };
    CheckTarget { production: Some(production), ..target(spec(CheckKind::Tcp, port)) }
}

async fn run(network: &Network, target: &CheckTarget) -> Result<Pass, ProbeError> {
    network.check(target).await.map(|success| success.pass)
}

async fn server() -> (tokio::net::TcpListener, u16) {
    let listener = tokio::net::TcpListener::bind((LOOPBACK, 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    (listener, port)
}

#[tokio::test]
async fn a_connection_counts_only_if_its_packets_went_the_way() {
    let (_listener, port) = server().await;
    for (fate, wanted) in [
        (Fate::Sent(MARK), None),
        (Fate::Unseen, Some("cannot check from here: its packets left by an interface")),
        (Fate::Sent(MARK + 1), Some("cannot check from here")),
        (Fate::Dropped("no room"), Some("not sent to the VIP: no room")),
    ] {
        let path = Played::new(Way::Marked(MARK), fate);
        let Some(network) = network(&path) else { return };
        let result = run(&network, &by_vip(port)).await;
        match wanted {
            None => assert_eq!(result, Ok(Pass::Connected)),
            Some(text) => {
                assert!(result.clone().is_err_and(|e| e.to_string().starts_with(text)), "{result:?}");
            }
        }
        assert_eq!(path.begun(), 1);
    }
}

#[tokio::test]
async fn a_refusal_stays_a_refusal_and_a_drop_says_why() {
    let (listener, port) = server().await;
    drop(listener);
    let path = Played::new(Way::Marked(MARK), Fate::Sent(MARK));
    let Some(network) = network(&path) else { return };
    assert_eq!(run(&network, &by_vip(port)).await, Err(ProbeError::Refused));
    *path.fate.lock().expect("a lock") = Fate::Dropped("next hop unknown");
    let error = run(&network, &by_vip(port)).await.expect_err("a drop");
    assert_eq!((error.kind(), error.counts()), ("unreachable", true));
}

#[tokio::test]
async fn where_there_is_no_way_the_backends_own_address_is_checked() {
    let (_listener, port) = server().await;
    let path = Played::new(Way::Never, Fate::Unseen);
    let Some(network) = network(&path) else { return };
    assert_eq!(run(&network, &by_vip(port)).await, Ok(Pass::Connected));
    // Nor is a check that was never to go by the VIP.
    let path = Played::new(Way::Marked(MARK), Fate::Unseen);
    let Some(network) = self::network(&path) else { return };
    let own = target(spec(CheckKind::Tcp, port));
    assert_eq!(run(&network, &own).await, Ok(Pass::Connected));
    assert_eq!(path.begun(), 0);
}

#[tokio::test]
async fn a_check_waits_for_its_way() {
    let (_listener, port) = server().await;
    let path = Played::new(Way::Unknown, Fate::Sent(MARK));
    let Some(network) = network(&path) else { return };
    let target = by_vip(port);
    let check = run(&network, &target);
    let change = async {
        tokio::task::yield_now().await;
        assert_eq!(path.begun(), 0);
        path.way.send_replace(Way::Marked(MARK));
    };
    let (result, ()) = tokio::join!(check, change);
    assert_eq!((result, path.begun()), (Ok(Pass::Connected), 1));
}

#[tokio::test(start_paused = true)]
async fn a_way_that_never_comes_says_nothing_of_the_backend() {
    let path = Played::new(Way::Unknown, Fate::Unseen);
    let Some(network) = network(&path) else { return };
    let error = run(&network, &by_vip(80)).await.expect_err("no way");
    assert!(!error.counts(), "{error}");
    assert_eq!(path.begun(), 0);
}

#[tokio::test]
async fn the_wait_for_a_next_hop_sends_something_to_find_it_by() {
    let (_listener, port) = server().await;
    let path = Played::new(Way::Unresolved(MARK), Fate::Dropped("next hop unknown"));
    let Some(network) = network(&path) else { return };
    let error = run(&network, &by_vip(port)).await.expect_err("dropped");
    assert_eq!((error.to_string().as_str(), path.begun()), ("not sent to the VIP: next hop unknown", 1));
}
