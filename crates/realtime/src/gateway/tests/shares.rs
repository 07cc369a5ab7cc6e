//! What one principal has of what all share, with as many connections as it likes.

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
