//! Links that take packets of 9000 bytes: the program for frames of several buffers, and transfers in full frames.

use crate::{
    client::echo,
    site::{SERVICE, Site},
};

const MTU: u32 = 9000;
/// Sent in each transfer, in bytes.
const BODY: u32 = 2_000_000;
/// A full TCP segment: MTU without the headers of IPv6, TCP, and TCP's time stamps.
const SEGMENT: u32 = MTU - 40 - 20 - 12;

#[test]
fn a_transfer_in_jumbo_frames_arrives_whole() {
    let Some(site) = Site::with_mtu(MTU) else { return };
    let _lbd = site.start();
    let status = site.ctl(&["status"]);
    assert!(status.contains("native") && status.contains("jumbo frames"), "{status}");

    let body: Vec<u8> = (0..BODY).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for vip in SERVICE {
        site.client.run(|| echo(vip, &body)).unwrap_or_else(|e| panic!("{vip}: {e}"));
    }
    // No frame was shorter than it had to be, nor counted by its first buffer only: besides full segments there are acknowledgements of
    // what comes back, at most one for each.
    let segments = f64::from(2 * BODY.div_ceil(SEGMENT));
    let all = f64::from(2 * BODY);
    site.until_metric("lb_service_bytes_total", &["service=\"web\""], |bytes| bytes > all);
    let packets = site.metric("lb_service_packets_total", &["service=\"web\""]);
    assert!(
        (segments..segments * 2.0 + 50.0).contains(&packets),
        "{packets} packets for {segments} segments"
    );
}
