//! Packets that are not whole: what is counted of them, from whom, and over what.

use std::future::ready;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::websocket::Bytestream;

const BEGUN: usize = 20_000;

/// The beginning of a CONNECT of 60,000 bytes.
fn begun() -> Vec<u8> {
    let mut bytes = b"\x10\xe0\xd4\x03\0\x04MQTT\x05\x02\0\x3c".to_vec();
    bytes.resize(BEGUN, 0);
    bytes
}

/// The same within a message of WebSocket of 250,000 bytes, which is not its last fragment.
fn begun_in_a_message() -> Vec<u8> {
    [&b"\x02\xff\0\0\0\0\0\x03\xd0\x90\0\0\0\0"[..], &begun()].concat()
}

fn serve(gateway: &Gateway, over_websocket: bool) -> DuplexStream {
    let (near, far) = duplex(64 * 1024);
    let gateway = gateway.clone();
    let seat = gateway.take_seat([127, 0, 0, 1].into()).unwrap();
    tokio::spawn(async move {
        if over_websocket {
            gateway.serve(seat, ready(Ok(Bytestream::over(far)))).await;
        } else {
            gateway.serve(seat, ready(Ok(far))).await;
        }
    });
    near
}

#[tokio::test]
async fn what_nobody_knows_yet_is_counted_over_tcp_and_websocket_and_has_its_bound() {
    for (over_websocket, begun) in [(false, begun()), (true, begun_in_a_message())] {
        let (gateway, _) = open(Door::default());
        let all = || gateway.0.unread.load(Relaxed);
        let mut client = serve(&gateway, over_websocket);
        client.write_all(&begun).await.unwrap();
        until(|| all() == BEGUN).await;
        drop(client);
        until(|| all() == 0).await;
        gateway
            .0
            .unread
            .fetch_add(crate::gateway::unread::ALL_MAX, Relaxed);
        let mut client = serve(&gateway, over_websocket);
        client.write_all(&begun).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(DEADLINE, client.read_to_end(&mut answer)).await;
        assert_eq!(ended.expect("it ends").unwrap(), 0, "without a word");
        assert_eq!(all(), crate::gateway::unread::ALL_MAX);
    }
}
