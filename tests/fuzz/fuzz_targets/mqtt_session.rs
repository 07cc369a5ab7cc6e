//! A session and whatever its client sends: what it may not do it does not, what waits for it and is on its way stays
//! within its bounds, and each of its packets is answered as the protocol has it. It gets all that it publishes back.
#![no_main]

use std::sync::Arc;

use bytes::BytesMut;
use crossdock_model::topic::TopicFilter;
use crossdock_realtime::session::{
    Action, Client, Effect, Limits, MAX_SUBSCRIPTIONS, Rights, Terms, Waiting,
};
use crossdock_realtime::wire::{Connect, Decoder, Incoming, Outgoing, encode};
use libfuzzer_sys::fuzz_target;

const PACKET_BYTES_MAX: usize = 4 * 1024;
const RECEIVE_MAXIMUM: u16 = 4;
const LIMITS: Limits = Limits { messages: 8, bytes: 2 * 1024, in_flight: 3 };
/// Between two packets: what expires within the session does.
const STEP_MS: u64 = 400;

/// May do all that lies under one filter.
struct Under(TopicFilter);

impl Rights for Under {
    fn principal(&self) -> &str {
        "me"
    }

    fn may(&self, action: Action<'_>, _: u64) -> bool {
        match action {
            Action::Publish(topic) | Action::Receive(topic) => self.0.matches(topic),
            Action::Subscribe(filter) => self.0.covers(filter),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let rights = Under(TopicFilter::new("mine/#").expect("it is one"));
    let (mut decoder, mut buffer) = (Decoder::new(PACKET_BYTES_MAX), BytesMut::from(bytes));
    let Ok(Some(Incoming::Connect(connect))) = decoder.decode(&mut buffer) else { return };
    let mut client = Client::new(terms(*connect), RECEIVE_MAXIMUM, LIMITS);
    let mut now_ms = 0;
    while let Ok(Some(packet)) = decoder.decode(&mut buffer) {
        now_ms += STEP_MS;
        let asks = asks(&packet);
        let effects = client.handle(packet, &rights, now_ms);
        let mut answered = false;
        for (at, effect) in effects.iter().enumerate() {
            match effect {
                Effect::Send(packet) => {
                    write(&client, packet);
                    answered = true;
                }
                Effect::Publish { message, then } => {
                    assert!(rights.0.matches(&message.topic), "{:?}", message.topic);
                    if let Some(packet) = then {
                        write(&client, packet);
                    }
                    answered |= then.is_some();
                    let waiting = Waiting {
                        message: Arc::new(message.clone()),
                        qos: message.qos,
                        retain: message.retain,
                        subscription_ids: Vec::new(),
                        is_state: message.retain,
                    };
                    client.outbox.push(waiting, now_ms);
                }
                Effect::Subscribed { subscription, .. } => {
                    assert!(rights.0.covers(&subscription.filter), "{:?}", subscription.filter);
                }
                Effect::Unsubscribed(_) | Effect::Denied => {}
                Effect::End { .. } => {
                    assert_eq!(at + 1, effects.len(), "nothing comes after the end");
                    return;
                }
            }
        }
        assert!(answered || !asks, "a packet that asks for an answer got none: {effects:?}");
        deliver(&mut client, now_ms);
    }
});

fn terms(connect: Connect) -> Terms {
    Terms {
        version: connect.version,
        session_expiry_s: connect.session_expiry_s,
        will: connect.will,
        in_flight: connect.receive_maximum.min(LIMITS.in_flight),
    }
}

fn asks(packet: &Incoming) -> bool {
    match packet {
        Incoming::Publish(publish) => publish.id != 0,
        Incoming::PubRec { refused, .. } => !refused,
        Incoming::PubRel { .. }
        | Incoming::Subscribe { .. }
        | Incoming::Unsubscribe { .. }
        | Incoming::PingReq => true,
        _ => false,
    }
}

fn write(client: &Client, packet: &Outgoing) {
    let mut buffer = BytesMut::new();
    assert_eq!(encode(client.version(), packet, &mut buffer), Ok(buffer.len()));
}

/// All that may be sent now is.
fn deliver(client: &mut Client, now_ms: u64) {
    assert!(client.outbox.len() <= LIMITS.messages);
    assert!(client.outbox.bytes() <= LIMITS.bytes);
    while let Some(publish) = client.outbox.pop(now_ms) {
        write(client, &Outgoing::Publish(publish));
    }
    assert!(client.outbox.in_flight() <= usize::from(LIMITS.in_flight));
    assert!(client.subscriptions().count() <= MAX_SUBSCRIPTIONS);
}
