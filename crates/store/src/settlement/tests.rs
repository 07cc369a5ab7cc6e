use super::*;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
}

fn waiting(event_offset: i64, source: &str) -> Known {
    Known {
        event_offset,
        adapter: "erp".into(),
        event_id: "1".into(),
        source: source.into(),
        state: DeliveryState::Pending,
        attempts: 0,
        published: at(0),
        settled: None,
        due: None,
        detail: None,
        tries: HashSet::new(),
    }
}

fn word(kind: OutcomeKind) -> Outcome {
    Outcome {
        adapter: "erp".into(),
        event_id: "1".into(),
        source: None,
        kind,
        detail: None,
        retry_after_s: None,
        duration_ms: None,
        attempt: None,
        due: None,
        at: at(1),
    }
}

#[test]
fn no_order_of_words_takes_done_back() {
    use DeliveryState::{Confirmed, Discarded, Parked, Pending, Retrying};
    use OutcomeKind::{Dead, DeliveryLimit, Done, HandedOver, Rejected, Retry, Undelivered};
    for failure in [Dead, DeliveryLimit, Rejected, Undelivered] {
        for tried_again in [true, false] {
            let failed = Pending.after(failure, tried_again);
            assert_eq!(failed, if tried_again { Retrying } else { Parked });
            assert_eq!(failed.after(HandedOver, false), Pending);
            assert_eq!(failed.after(Done, false), Confirmed);
            assert_eq!(Confirmed.after(failure, tried_again), Confirmed);
            assert_eq!(Discarded.after(failure, tried_again), Discarded);
            assert_eq!(Parked.after(failure, tried_again), Parked);
        }
    }
    assert_eq!(Confirmed.after(HandedOver, false), Confirmed);
    assert_eq!(Pending.after(Retry, false), Pending);
    assert_eq!(Parked.after(Retry, false), Parked);
}

#[test]
fn what_is_said_about_an_earlier_attempt_comes_too_late() {
    let mut settlement = Settlement::of(vec![waiting(1, "/a")]);
    let numbered = |attempt, kind| Outcome {
        attempt: Some(attempt),
        at: at(attempt.into()),
        ..word(kind)
    };
    let known = |settlement: &Settlement| {
        let known = settlement.changed().next().unwrap();
        (known.state, known.attempts, known.due, known.published)
    };
    settlement.apply(&Outcome {
        due: Some(at(9)),
        ..numbered(1, OutcomeKind::Rejected)
    });
    assert_eq!(
        known(&settlement),
        (DeliveryState::Retrying, 1, Some(at(9)), at(0))
    );
    settlement.apply(&numbered(2, OutcomeKind::HandedOver));
    assert_eq!(known(&settlement), (DeliveryState::Pending, 2, None, at(2)));
    settlement.apply(&numbered(1, OutcomeKind::DeliveryLimit));
    assert_eq!(known(&settlement), (DeliveryState::Pending, 2, None, at(2)));
    settlement.apply(&word(OutcomeKind::Retry));
    assert_eq!(settlement.tries().last().unwrap().number, 2);
    settlement.apply(&numbered(1, OutcomeKind::Done));
    assert_eq!(known(&settlement).0, DeliveryState::Confirmed);
}

#[test]
fn the_reason_shown_is_that_of_the_latest_attempt() {
    let mut settlement = Settlement::of(vec![waiting(1, "/a")]);
    let detail = |settlement: &Settlement| settlement.changed().next().unwrap().detail.clone();
    settlement.apply(&Outcome {
        detail: Some("busy".into()),
        ..word(OutcomeKind::Retry)
    });
    settlement.apply(&Outcome {
        due: Some(at(9)),
        ..word(OutcomeKind::Rejected)
    });
    assert_eq!(detail(&settlement).as_deref(), Some("busy"));
    settlement.apply(&Outcome {
        attempt: Some(2),
        ..word(OutcomeKind::HandedOver)
    });
    assert_eq!(detail(&settlement), None);
}

#[test]
fn words_without_a_source_go_to_the_oldest_that_waits() {
    let mut settlement = Settlement::of(vec![waiting(2, "/b"), waiting(1, "/a")]);
    assert_eq!(settlement.apply(&word(OutcomeKind::Done)), Verdict::Applied);
    assert_eq!(
        settlement
            .changed()
            .map(|known| known.event_offset)
            .collect::<Vec<_>>(),
        [1]
    );
    assert_eq!(settlement.apply(&word(OutcomeKind::Done)), Verdict::Applied);
    assert_eq!(settlement.apply(&word(OutcomeKind::Done)), Verdict::Repeated);
    assert!(
        settlement
            .changed()
            .all(|known| known.state == DeliveryState::Confirmed)
    );
}

#[test]
fn a_delivery_published_after_the_word_is_not_meant() {
    let later = Known {
        published: at(1) + CLOCK_TOLERANCE + TimeDelta::seconds(1),
        ..waiting(1, "/a")
    };
    let mut settlement = Settlement::of(vec![later]);
    assert_eq!(settlement.apply(&word(OutcomeKind::Done)), Verdict::Unmatched);
}

#[test]
fn a_reject_after_a_receipt_keeps_the_receipts_reason() {
    let mut settlement = Settlement::of(vec![waiting(1, "/a")]);
    settlement.apply(&Outcome {
        detail: Some("no such sku".into()),
        ..word(OutcomeKind::Dead)
    });
    settlement.apply(&Outcome {
        attempt: Some(1),
        ..word(OutcomeKind::Rejected)
    });
    let known = settlement.changed().next().unwrap();
    assert_eq!((known.state, known.attempts), (DeliveryState::Parked, 1));
    assert_eq!(known.detail.as_deref(), Some("no such sku"));
    assert_eq!(settlement.tries().len(), 2);
}

#[test]
fn a_detail_is_cut_between_characters() {
    let long = Outcome {
        detail: Some("é".repeat(DETAIL_MAX_BYTES)),
        ..word(OutcomeKind::Dead)
    };
    assert_eq!(storable(&long).unwrap().detail.unwrap().len(), DETAIL_MAX_BYTES);
    assert!(
        storable(&Outcome {
            event_id: "a\0b".into(),
            ..long.clone()
        })
        .is_none()
    );
    assert!(
        storable(&Outcome {
            event_id: "x".repeat(256),
            ..long
        })
        .is_none()
    );
}
