//! People who sign in, and their sessions.

use crossdock_store::{Session, StoreError, User, UserChange};

use super::{Database, at};

const ADMIN: &str = "admin";

fn user(name: &str, role: &str) -> User {
    User {
        name: name.into(),
        role: role.into(),
        password: format!("hash of {name}"),
        created: at(0),
        last_sign_in: None,
    }
}

/// A session of anna's, made and last used at `second`.
fn session(number: u8, second: i64) -> Session {
    Session {
        token_hash: [number; 32],
        user: "anna".into(),
        created: at(second),
        last_used: at(second),
        expires: at(second + 1_000),
    }
}

fn other_role(role: &str) -> UserChange {
    UserChange {
        role: Some(role.into()),
        ..UserChange::default()
    }
}

pub async fn of_many_first_people_one_is_added(database: &impl Database) {
    let (one, other) = (database.open().await, database.open().await);
    let (first, second) = tokio::join!(
        one.add_first_user(user("anna", ADMIN)),
        other.add_first_user(user("ben", ADMIN))
    );
    assert_eq!(
        [first, second].iter().filter(|added| **added == Ok(true)).count(),
        1
    );
    assert_eq!(one.add_first_user(user("carla", ADMIN)).await, Ok(false));
    assert_eq!(one.users().await.unwrap().len(), 1);
}

pub async fn people_come_change_and_go(database: &impl Database) {
    let store = database.open().await;
    for added in [user("ben", "viewer"), user("anna", ADMIN)] {
        store.add_user(added).await.unwrap();
    }
    let taken = store.add_user(user("anna", "viewer")).await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))), "{taken:?}");
    assert_eq!(
        store.users().await.unwrap(),
        [user("anna", ADMIN), user("ben", "viewer")]
    );
    assert_eq!(store.user("carla").await.unwrap(), None);
    assert!(!format!("{:?}", user("anna", ADMIN)).contains("hash of"));

    store
        .change_user("ben", other_role("operator"), ADMIN)
        .await
        .unwrap();
    assert_eq!(store.user("ben").await.unwrap(), Some(user("ben", "operator")));
    let nobody = store.change_user("carla", other_role("viewer"), ADMIN).await;
    assert_eq!(nobody, Err(StoreError::NotFound));
    store.remove_user("ben", ADMIN).await.unwrap();
    assert_eq!(store.remove_user("ben", ADMIN).await, Err(StoreError::NotFound));
}

pub async fn the_last_one_of_a_role_stays(database: &impl Database) {
    let (store, other) = (database.open().await, database.open().await);
    store.add_user(user("anna", ADMIN)).await.unwrap();
    for refused in [
        store.remove_user("anna", ADMIN).await,
        store.change_user("anna", other_role("viewer"), ADMIN).await,
    ] {
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    }
    assert_eq!(store.user("anna").await.unwrap(), Some(user("anna", ADMIN)));

    store.add_user(user("ben", ADMIN)).await.unwrap();
    let (first, second) = tokio::join!(
        store.remove_user("anna", ADMIN),
        other.change_user("ben", other_role("viewer"), ADMIN)
    );
    assert_eq!([first, second].iter().filter(|done| done.is_ok()).count(), 1);
    let left = store.users().await.unwrap();
    assert!(left.iter().any(|user| user.role == ADMIN), "{left:?}");
}

pub async fn a_session_begins_with_the_right_password_only(database: &impl Database) {
    let store = database.open().await;
    store.add_user(user("anna", ADMIN)).await.unwrap();
    for wrong in ["hash of ben", ""] {
        assert_eq!(store.add_session(session(1, 5), wrong, 3).await, Ok(false));
    }
    assert_eq!(store.session(&[1; 32]).await.unwrap(), None);
    assert_eq!(
        store.add_session(session(1, 5), "hash of anna", 3).await,
        Ok(true)
    );
    let signed_in = store.session(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(
        (signed_in.session, signed_in.role.as_str()),
        (session(1, 5), ADMIN)
    );
    let last = store.user("anna").await.unwrap().unwrap().last_sign_in;
    assert_eq!(last, Some(at(5)));

    store
        .touch_sessions(&[([1; 32], at(9)), ([1; 32], at(7)), ([2; 32], at(9))])
        .await
        .unwrap();
    store.touch_sessions(&[([1; 32], at(8))]).await.unwrap();
    store.touch_sessions(&[]).await.unwrap();
    let used = store.session(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(used.session.last_used, at(9));
}

pub async fn the_oldest_of_too_many_sessions_ends(database: &impl Database) {
    let store = database.open().await;
    store.add_user(user("anna", ADMIN)).await.unwrap();
    for number in [3, 1, 2, 4, 5] {
        let begun = session(number, i64::from(number));
        store.add_session(begun, "hash of anna", 3).await.unwrap();
    }
    for (number, holds) in [(1, false), (2, false), (3, true), (4, true), (5, true)] {
        assert_eq!(
            store.session(&[number; 32]).await.unwrap().is_some(),
            holds,
            "{number}"
        );
    }
}

pub async fn sessions_end_with_what_they_rest_on(database: &impl Database) {
    let store = database.open().await;
    for name in ["anna", "ben"] {
        store.add_user(user(name, ADMIN)).await.unwrap();
    }
    let begin = async |number| {
        let begun = store.add_session(session(number, 5), "hash of anna", 50).await;
        assert_eq!(begun, Ok(true));
    };
    let holds = async |number| store.session(&[number; 32]).await.unwrap().is_some();
    for number in 1..=3 {
        begin(number).await;
    }
    for _ in 0..2 {
        store.end_session(&[1; 32]).await.unwrap();
    }
    assert!(!holds(1).await && holds(2).await);

    let late = UserChange {
        password: Some("another".into()),
        password_was: Some("hash of ben".into()),
        ..UserChange::default()
    };
    let refused = store.change_user("anna", late.clone(), ADMIN).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert!(holds(2).await && holds(3).await);
    let in_time = UserChange {
        password: Some("hash of anna".into()),
        password_was: Some("hash of anna".into()),
        kept: Some([3; 32]),
        ..late
    };
    store.change_user("anna", in_time, ADMIN).await.unwrap();
    assert!(!holds(2).await && holds(3).await);

    begin(4).await;
    store.end_sessions_of("anna").await.unwrap();
    assert!(!holds(3).await && !holds(4).await);
    begin(5).await;
    store.remove_user("anna", ADMIN).await.unwrap();
    assert!(!holds(5).await);
}

pub async fn sessions_that_are_over_are_forgotten(database: &impl Database) {
    let store = database.open().await;
    store.add_user(user("anna", ADMIN)).await.unwrap();
    for (number, second) in [(1, 0), (2, 100), (3, 200)] {
        store
            .add_session(session(number, second), "hash of anna", 50)
            .await
            .unwrap();
    }
    store.touch_sessions(&[([1; 32], at(500))]).await.unwrap();
    assert_eq!(store.forget_sessions(at(0), at(150)).await, Ok(1));
    assert_eq!(store.forget_sessions(at(1_001), at(0)).await, Ok(1));
    assert_eq!(store.forget_sessions(at(1_001), at(0)).await, Ok(0));
    assert!(store.session(&[3; 32]).await.unwrap().is_some());
}
