//! `tcp` on real connections, and the checker over the real network.

use std::num::NonZeroU32;

use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    super::{Checker, Pass, ProbeError, Verdict},
    LOOPBACK, check, closed_port, serve, spec,
    stand_in::only,
    target,
};
use crate::model::CheckKind;

#[tokio::test]
async fn an_open_port_passes_and_a_closed_one_is_refused() {
    let port = serve(|_| async {}).await;
    assert_eq!(check(CheckKind::Tcp, port).await, Ok(Pass::Connected));
    assert_eq!(check(CheckKind::Tcp, closed_port().await).await, Err(ProbeError::Refused));
}

#[tokio::test]
async fn a_check_leaves_no_socket_in_time_wait() {
    use tokio::io::AsyncReadExt;
    let (ends, mut ended) = mpsc::channel(1);
    let port = serve(move |mut stream| {
        let ends = ends.clone();
        async move {
            let end = stream.read_u8().await.unwrap_err().kind();
            ends.send(end).await.unwrap();
        }
    })
    .await;
    check(CheckKind::Tcp, port).await.unwrap();
    assert_eq!(ended.recv().await, Some(std::io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_server_that_goes_away_is_down_after_fall_checks() {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut spec = spec(CheckKind::Tcp, address.port());
    spec.interval = std::time::Duration::from_hours(1);
    (spec.rise, spec.fall) = (NonZeroU32::new(2).unwrap(), NonZeroU32::new(3).unwrap());
    let target = target(spec);
    let (events, mut received) = mpsc::channel(8);
    let checker = Checker::spawn(events, None, CancellationToken::new());
    checker.set_targets(&only(&target));
    // The scheduled first check; from here on only checks we ask for.
    assert_eq!(received.recv().await.unwrap().verdict, Verdict::Up);

    drop(listener);
    for _ in 0..2 {
        checker.check_now([target.clone()]).await;
    }
    assert!(received.try_recv().is_err());
    checker.check_now([target.clone()]).await;
    let down = received.recv().await.unwrap();
    assert_eq!((down.verdict, down.detail.as_str()), (Verdict::Down, "connection refused"));

    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    let _listener = socket.listen(8).unwrap();
    checker.check_now([target.clone()]).await;
    assert!(received.try_recv().is_err());
    checker.check_now([target.clone()]).await;
    assert_eq!(received.recv().await.unwrap().verdict, Verdict::Up);
    let status = checker.board().get(&target).unwrap();
    assert_eq!((status.passes, status.failures), (3, 3));
    assert!(status.latency().is_some() && status.at.is_some() && status.since.is_some());
}
