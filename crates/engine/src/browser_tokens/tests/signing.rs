//! The keys of hubs while the database takes its time.

use futures::{FutureExt as _, join, poll};

use super::*;

fn kid(token: &BrowserToken) -> String {
    Unverified::read(&token.token).unwrap().kid().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_that_is_made_while_keys_are_read_stays() {
    let place = Place::new().await;
    let hub = place.hub();
    let handing_out = place.database.signing_keys.lock().await;
    let meanwhile = async {
        place.database.at_signing_keys.notified().await;
        let first = minted(&hub, &["a"]).await;
        drop(handing_out);
        first
    };
    // What is read has not the key, and comes after it.
    let (read, first) = join!(hub.read_keys(at(2)), meanwhile);
    read.unwrap();
    hub.admit(&first.token, Keys::AtHand, at(2)).await.unwrap();
    assert_eq!(kid(&minted(&hub, &["a"]).await), kid(&first));
    hub.read_keys(at(4)).await.unwrap();
    assert_eq!(kid(&minted(&hub, &["a"]).await), kid(&first));
}

#[tokio::test]
async fn while_keys_are_read_tokens_are_signed_and_while_one_is_made_keys_are_read() {
    let place = Place::new().await;
    let (hub, other) = (place.hub(), place.hub());
    minted(&hub, &["a"]).await;
    let database = &place.database;
    {
        let _handing_out = database.signing_keys.lock().await;
        let mut reading = Box::pin(hub.read_keys(now()));
        assert!(poll!(&mut reading).is_pending());
        minted(&hub, &["a"]).now_or_never().unwrap();
    }
    let putting_in = database.signing_key.lock().await;
    let mut minting = Box::pin(minted(&other, &["a"]));
    assert!(poll!(&mut minting).is_pending());
    let known = minted(&hub, &["a"]).await;
    let reading = async {
        other.look_again(at(2)).await.unwrap();
        other.admit(&known.token, Keys::AtHand, at(2)).await.unwrap();
        drop(putting_in);
    };
    let (own, ()) = join!(minting, reading);
    other.admit(&own.token, Keys::AtHand, at(2)).await.unwrap();
}

#[tokio::test]
async fn no_key_that_is_made_meanwhile_survives_a_rotation() {
    let place = Place::new().await;
    let hub = place.hub();
    let database = &place.database;
    let putting_in = database.signing_key.lock().await;
    let mut minting = Box::pin(minted(&hub, &["a"]));
    assert!(poll!(&mut minting).is_pending());
    let asked_before = place.asked.load(Ordering::SeqCst);
    let mut rotating = Box::pin(hub.rotate(true, at(1)));
    assert!(poll!(&mut rotating).is_pending());
    // It would not see the key yet.
    assert_eq!(place.asked.load(Ordering::SeqCst), asked_before);
    drop(putting_in);
    let (before, rotated) = join!(minting, rotating);
    rotated.unwrap();
    let refused = hub.admit(&before.token, Keys::All, at(1)).await;
    assert_eq!(refused.unwrap_err(), TokenFault::Revoked);
    let after = hub.mint(asked(&["a"]), &grantor(&["#"]), at(1)).await.unwrap();
    hub.admit(&after.token, Keys::AtHand, at(1)).await.unwrap();
}

#[tokio::test]
async fn a_question_that_nobody_waited_for_answers_nobody() {
    let place = Place::new().await;
    let (hub, other) = (place.hub(), place.hub());
    let first = minted(&hub, &["a"]).await;
    other.admit(&first.token, Keys::All, now()).await.unwrap();
    hub.rotate(false, at(10)).await.unwrap();
    let next = hub.mint(asked(&["a"]), &grantor(&["#"]), at(10)).await.unwrap();
    let asking = other.signing.hold_questions().await;
    let mut asker = Box::pin(other.admit(&next.token, Keys::All, at(10)));
    let mut waiting = Box::pin(other.admit(&next.token, Keys::All, at(10)));
    for one in [&mut asker, &mut waiting] {
        assert!(poll!(one).is_pending());
    }
    let handing_out = place.database.signing_keys.lock().await;
    drop(asking);
    assert!(poll!(&mut asker).is_pending());
    drop((asker, handing_out));
    waiting.await.unwrap();
}
