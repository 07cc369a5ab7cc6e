//! The answer to a CONNECT: who it is, whether it is let in, and on what terms.

use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use super::session::Key;
use super::sessions::Taken;
use super::{IN_FLIGHT_MAX, PACKET_BYTES_MAX, RECEIVE_MAXIMUM, Shared};
use crate::outside::Arrival;
use crate::session::{Action, Rights, SESSION_EXPIRY_MAX_S, TOPIC_ALIAS_MAX, Terms};
use crate::why::Why;
use crate::wire::{ConnAck, Connect, Reason, Takes, Version};

/// The longest client id.
pub(crate) const CLIENT_ID_BYTES_MAX: usize = 256;
/// Seconds between packets, at most: a client that vanished is noticed in one and a half times of it.
/// MQTT 5 only: 3.1.1 has no word for it.
const KEEP_ALIVE_MAX_S: u16 = 60;

/// A client that is in.
pub(super) struct Welcome {
    pub(super) taken: Taken,
    pub(super) takes: Takes,
    pub(super) keep_alive_s: u16,
    pub(super) rights: Arc<dyn Rights>,
}

/// Decides, and takes the session.
pub(super) async fn answer(
    shared: &Shared,
    mut connect: Connect,
    peer: IpAddr,
) -> Result<(Welcome, ConnAck), Why> {
    let takes = takes(&connect);
    if connect.wants_authentication {
        return Err(Why::EnhancedAuthentication);
    }
    let assigned = assign_client_id(&mut connect)?;
    let arrival = Arrival {
        peer,
        client_id: &connect.client_id,
        login: connect.login.as_ref(),
    };
    let rights = shared.doorkeeper.admit(arrival).await.map_err(Why::NotAdmitted)?;
    let now_ms = shared.clock.now_ms();
    if let Some(will) = &connect.will
        && !rights.may(Action::Publish(&will.message.topic), now_ms)
    {
        return Err(Why::WillDenied(will.message.topic.clone()));
    }
    let session_expiry_s = connect.session_expiry_s.min(SESSION_EXPIRY_MAX_S);
    let (keep_alive_s, server_keep_alive_s) = match connect.version {
        Version::V5 if connect.keep_alive_s == 0 || connect.keep_alive_s > KEEP_ALIVE_MAX_S => {
            (KEEP_ALIVE_MAX_S, Some(KEEP_ALIVE_MAX_S))
        }
        _ => (connect.keep_alive_s, None),
    };
    let key = Key {
        principal: rights.principal().into(),
        client_id: connect.client_id.as_str().into(),
    };
    let terms = Terms {
        version: connect.version,
        session_expiry_s,
        will: connect.will,
        in_flight: connect.receive_maximum.min(IN_FLIGHT_MAX),
    };
    let taken = shared
        .sessions
        .take(key, connect.clean_start, terms, rights.clone(), now_ms)?;
    // Whoever took the rights back meanwhile did not find it.
    taken.session.recheck();
    let ack = ConnAck {
        session_present: taken.present,
        session_expiry_s: (session_expiry_s != connect.session_expiry_s).then_some(session_expiry_s),
        receive_maximum: Some(RECEIVE_MAXIMUM),
        max_packet_bytes: u32::try_from(PACKET_BYTES_MAX).ok(),
        assigned_client_id: assigned.then(|| connect.client_id.clone()),
        topic_alias_max: Some(TOPIC_ALIAS_MAX),
        server_keep_alive_s,
        shared_subscriptions: false,
        ..ConnAck::bare(Reason::Success, None)
    };
    let welcome = Welcome {
        taken,
        takes,
        keep_alive_s,
        rights,
    };
    Ok((welcome, ack))
}

/// What its client takes.
pub(super) fn takes(connect: &Connect) -> Takes {
    Takes {
        version: connect.version,
        max_packet_bytes: connect
            .max_packet_bytes
            .map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        problems: connect.wants_problems,
    }
}

/// Gives one to whoever has none; in 3.1.1 only to one that wants no session (section 3.1.3.1).
fn assign_client_id(connect: &mut Connect) -> Result<bool, Why> {
    if connect.client_id.len() > CLIENT_ID_BYTES_MAX {
        return Err(Why::ClientIdTooLong(connect.client_id.len()));
    }
    if !connect.client_id.is_empty() {
        return Ok(false);
    }
    if connect.version == Version::V4 && !connect.clean_start {
        return Err(Why::NoClientId);
    }
    connect.client_id = Uuid::new_v4().to_string();
    Ok(true)
}
