//! What one principal has of what all share, with as many connections as it likes.

use rumqttd::protocol::{Filter, Packet, RetainForwardRule, Subscribe};

use super::*;

#[tokio::test]
async fn who_reads_without_end_keeps_nobody_else_from_its_first_state() {
    let (gateway, states) = open(Door::default());
    states.keep(&state("state/a", 1));
    let mut greedy = Vec::new();
    for number in 0..20 {
        let mut client = connected(&gateway, "@greedy #", &number.to_string()).await;
        client.subscribe("stuck/#", QoS::AtMostOnce).await;
        greedy.push(client);
    }
    for number in 0..20 {
        let mut client = connected(&gateway, &format!("@honest-{number} #"), "x").await;
        client.subscribe("state/a", QoS::AtMostOnce).await;
        assert_eq!(client.message().await.unwrap().1, "v1");
    }
}

/// A filter of 62 levels of which nobody else has the first.
fn deep(number: usize) -> String {
    format!("{number}{}", "/a".repeat(61))
}

async fn subscribe_all(client: &mut Client, filters: &[&str]) -> Vec<String> {
    let filters = filters.iter().map(|filter| Filter {
        path: (*filter).to_owned(),
        qos: QoS::AtMostOnce,
        nolocal: false,
        preserve_retain: false,
        retain_forward_rule: RetainForwardRule::Never,
    });
    let subscribe = Subscribe {
        pkid: 7,
        filters: filters.collect(),
    };
    client.send(Packet::Subscribe(subscribe, None)).await;
    match client.packet().await {
        Some(Packet::SubAck(ack, properties)) => {
            client.said = properties.and_then(|said| said.reason_string);
            ack.return_codes.iter().map(|code| format!("{code:?}")).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn whose_filters_take_most_of_all_levels_leaves_the_others_theirs() {
    const REFUSED: &str = "QuotaExceeded";
    let (gateway, _) = open(Door::default());
    let (mut granted, mut held) = (0, Vec::new());
    let mut is_refused = false;
    while !is_refused {
        let mut client = connected(&gateway, "@greedy #", &held.len().to_string()).await;
        for _ in 0..10 {
            is_refused = client.subscribe(&deep(granted), QoS::AtMostOnce).await == REFUSED;
            if is_refused {
                break;
            }
            granted += 1;
        }
        held.push(client);
    }
    assert_eq!(granted, 26, "half of all");
    let mut again = connected(&gateway, "@greedy #", "again").await;
    let asked = ["new", &deep(0), "0/a/new", "0/a"];
    assert_eq!(
        subscribe_all(&mut again, &asked).await,
        [REFUSED, "QoS0", REFUSED, "QoS0"]
    );
    let said = "\"new\" adds levels to those of all filters, for which there is no room now";
    assert_eq!(again.said.as_deref(), Some(said));
    subscribe_all(&mut again, &["$share/g/0/a", "new"]).await;
    let said = "\"$share/g/0/a\" is a shared subscription, and there are none here";
    assert_eq!(again.said.as_deref(), Some(said), "of the first that was refused");
    let mut stranger = connected(&gateway, "stock/#", "x").await;
    let asked = ["stock/LDN1/MUG", "stock/#", "else"];
    assert_eq!(subscribe_all(&mut stranger, &asked).await[..2], ["QoS0", "QoS0"]);
    // Nobody learns from the refusal what others watch.
    let mut narrow = connected(&gateway, "@greedy 0/#", "narrow").await;
    let asked = ["watched/by/nobody", "stock/LDN1"];
    assert_eq!(subscribe_all(&mut narrow, &asked).await, ["NotAuthorized"; 2]);
    drop(narrow);
    let no_room = ("no_room", 4);
    assert!(gateway.figures().dropped.contains(&no_room));
    drop(held);
    until(|| gateway.figures().sessions == 2).await;
    assert_eq!(again.subscribe("new", QoS::AtMostOnce).await, "QoS0");
}
