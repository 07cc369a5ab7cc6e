use super::*;

fn broker(second: i64, waiting: u64) -> BrokerSide {
    BrokerSide {
        at: at(second),
        hub: HubFlow {
            in_per_s: Some(2.0),
            waiting: Some(0),
        },
        adapters: BTreeMap::from([("erp".to_owned(), (Some(1.5), Some(waiting)))]),
    }
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

#[test]
fn what_is_away_stays_as_it_was() {
    let seen = LastSeen::default();
    let nothing = seen.update(Seen::default());
    assert!(nothing.broker.is_none() && nothing.record.is_none() && nothing.balance.is_none());
    seen.update(Seen {
        broker: Some(broker(1, 7)),
        ..Seen::default()
    });
    for _ in 0..2 {
        let later = seen.update(Seen::default()).broker.unwrap();
        assert_eq!((later.at, later.adapters["erp"]), (at(1), (Some(1.5), Some(7))));
    }
    let back = seen.update(Seen {
        broker: Some(broker(9, 0)),
        ..Seen::default()
    });
    assert_eq!(back.broker.unwrap().at, at(9));
}

#[test]
fn an_unknown_part_makes_the_sum_unknown() {
    assert_eq!(sum([Some(1), Some(2)].into_iter()), Some(3));
    assert_eq!(sum([Some(1), None].into_iter()), None);
    assert_eq!(sum(std::iter::empty::<Option<u64>>()), None);
}

#[test]
fn rates_are_taken_over_what_was_counted() {
    assert_eq!(per_s(60, TimeDelta::seconds(60)), 1.0);
    assert_eq!(per_s(1, TimeDelta::seconds(60)), 0.02);
    assert_eq!(per_s(20_000, TimeDelta::seconds(2)), 10_000.0);
}
