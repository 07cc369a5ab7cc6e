#![allow(clippy::unwrap_used)]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use chrono::TimeDelta;
use tempfile::TempDir;

use super::*;
use crate::{
    Scope,
    testing::{Moody, database, now},
};

const PASSWORD: &str = "correct horse battery";
const OTHER: &str = "staple in the stable";

/// People on a database that can be away, as two hubs see them.
struct Hall {
    here: Users,
    there: Users,
    store: Store,
    away: Arc<AtomicBool>,
    _folder: TempDir,
}

impl Hall {
    /// With anna, an operator, and the first administrator.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let away = Arc::new(AtomicBool::new(false));
        let is_away = away.clone();
        let store: Store = Moody::store(database(&folder).await, move |_| {
            is_away
                .load(Ordering::SeqCst)
                .then(|| StoreError::Unavailable("away".into()))
        });
        let hall = Self {
            here: Users::new(store.clone()),
            there: Users::new(store.clone()),
            store,
            away,
            _folder: folder,
        };
        hall.add("anna", Role::Operator).await.unwrap();
        hall.add("boss", Role::Admin).await.unwrap();
        hall
    }

    async fn add(&self, name: &str, role: Role) -> Result<UserView, EngineError> {
        let new = NewUser {
            name: name.into(),
            role,
            password: Some(PASSWORD.into()),
        };
        Ok(self.here.add(new, now()).await?.0)
    }

    async fn signed_in(&self, name: &str) -> String {
        self.here.sign_in(name, PASSWORD, home(), now()).await.unwrap().1
    }

    /// Anna tries a password.
    async fn attempt(&self, password: &str, after_s: i64) -> Result<(SessionView, String), SignInError> {
        self.here.sign_in("anna", password, home(), at(after_s)).await
    }
}

fn home() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn at(second: i64) -> DateTime<Utc> {
    now() + TimeDelta::seconds(second)
}

async fn holds(users: &Users, token: &str, after_s: i64) -> bool {
    match users.sessions.find(token, Look::Use, at(after_s)).await {
        Ok(_) => true,
        Err(AuthError::SessionEnded) => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_name_in_any_spelling_and_its_password_open_what_the_role_says() {
    let hall = Hall::new().await;
    let (view, token) = hall
        .here
        .sign_in(" ANNA ", PASSWORD, home(), now())
        .await
        .unwrap();
    assert_eq!((view.name.as_str(), view.role), ("anna", Role::Operator));
    assert_eq!(view.expires, now() + TimeDelta::days(7));
    let (session, role) = hall.here.sessions.find(&token, Look::Use, now()).await.unwrap();
    let who = sessions::principal(&session, role);
    assert_eq!(who.producer(), "user:anna");
    assert!(who.may(Scope::EventsWrite) && !who.may(Scope::Admin));

    for (name, password) in [
        ("anna", OTHER),
        ("anna", ""),
        ("nobody", PASSWORD),
        ("", ""),
        ("no such\nname", PASSWORD),
        ("anna", &"x".repeat(100_000)),
    ] {
        let refused = hall.here.sign_in(name, password, home(), now()).await;
        assert!(matches!(refused, Err(SignInError::Refused)), "{name}");
    }
    for token in [
        "",
        "cds_",
        &token[..token.len() - 1],
        &token.replace("cds_", "cdk_"),
    ] {
        assert!(!holds(&hall.here, token, 0).await, "{token}");
    }
}

#[tokio::test]
async fn after_some_failures_the_next_has_to_wait_even_with_the_right_password() {
    let hall = Hall::new().await;
    let mut failed = 0;
    let wait = loop {
        match hall.attempt(OTHER, 0).await {
            Err(SignInError::Refused) => failed += 1,
            Err(SignInError::TooSoon { retry_after_s }) => break retry_after_s,
            _ => panic!("a wrong password opens nothing"),
        }
        assert!(failed < 20);
    };
    assert_eq!((failed, wait), (5, 1));
    let early = hall.attempt(PASSWORD, 0).await;
    assert!(matches!(early, Err(SignInError::TooSoon { .. })));
    hall.signed_in("boss").await;
    hall.attempt(PASSWORD, 1).await.unwrap();
    hall.attempt(OTHER, 1).await.map(drop).unwrap_err();
    hall.attempt(PASSWORD, 1).await.unwrap();
}

#[tokio::test]
async fn a_session_ends_after_a_week_or_half_a_day_unused() {
    let hall = Hall::new().await;
    let (idle, busy) = (hall.signed_in("anna").await, hall.signed_in("anna").await);
    let hour = 3_600;
    for hours in (11..7 * 24).step_by(11) {
        assert!(holds(&hall.here, &busy, hours * hour).await, "{hours} h");
        hall.here.look_after(at(hours * hour)).await.unwrap();
    }
    assert!(!holds(&hall.there, &busy, 7 * 24 * hour).await);
    assert!(holds(&hall.there, &busy, 7 * 24 * hour - 1).await);

    // The hub's own checks do not keep a session alive.
    let watched = hall
        .here
        .sign_in("anna", PASSWORD, home(), at(0))
        .await
        .unwrap()
        .1;
    for hours in [6, 11] {
        let checked = hall
            .here
            .sessions
            .find(&watched, Look::Check, at(hours * hour))
            .await;
        assert!(checked.is_ok(), "{hours} h");
    }
    assert!(!holds(&hall.here, &watched, 12 * hour).await);
    assert!(!holds(&hall.here, &idle, 12 * hour).await);
}

#[tokio::test]
async fn what_ends_here_ends_at_once_and_elsewhere_within_five_seconds() {
    let hall = Hall::new().await;
    let tokens = [hall.signed_in("anna").await, hall.signed_in("anna").await];
    for users in [&hall.here, &hall.there] {
        for token in &tokens {
            assert!(holds(users, token, 0).await);
        }
    }
    hall.here.sessions.end(&tokens[0]).await.unwrap();
    assert!(!holds(&hall.here, &tokens[0], 0).await && holds(&hall.here, &tokens[1], 0).await);
    assert!(holds(&hall.there, &tokens[0], 4).await && !holds(&hall.there, &tokens[0], 5).await);

    hall.here.sessions.end_all_of("anna").await.unwrap();
    assert!(!holds(&hall.here, &tokens[1], 0).await);
    assert!(!holds(&hall.there, &tokens[1], 10).await);
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_of_the_old_one() {
    let hall = Hall::new().await;
    let (own, other) = (hall.signed_in("anna").await, hall.signed_in("anna").await);
    let change = async |current: &str, new: &str| {
        hall.here
            .change_own_password(&own, current, new, home(), now())
            .await
    };
    assert!(matches!(change(OTHER, OTHER).await, Err(SignInError::Refused)));
    let short = change(PASSWORD, "short").await;
    assert!(matches!(short, Err(SignInError::Failed(EngineError::Invalid(_)))));
    assert!(holds(&hall.here, &other, 0).await);
    change(PASSWORD, OTHER).await.unwrap();
    assert!(holds(&hall.here, &own, 0).await && !holds(&hall.here, &other, 0).await);
    assert!(matches!(
        hall.attempt(PASSWORD, 0).await,
        Err(SignInError::Refused)
    ));
    hall.attempt(OTHER, 0).await.unwrap();

    hall.here.set("Anna", None, Some(PASSWORD.into())).await.unwrap();
    assert!(!holds(&hall.here, &own, 0).await);
}

#[tokio::test]
async fn a_role_holds_at_once_and_a_removed_person_is_out() {
    let hall = Hall::new().await;
    let token = hall.signed_in("anna").await;
    assert!(holds(&hall.here, &token, 0).await);
    hall.here.set("anna", Some(Role::Viewer), None).await.unwrap();
    let (_, role) = hall.here.sessions.find(&token, Look::Use, now()).await.unwrap();
    assert_eq!(role, Role::Viewer);
    hall.here.remove("anna").await.unwrap();
    assert!(!holds(&hall.here, &token, 0).await);
    assert!(matches!(
        hall.here.remove("anna").await,
        Err(EngineError::NotFound(_))
    ));

    for refused in [
        hall.here.remove("boss").await,
        hall.here.set("boss", Some(Role::Operator), None).await.map(drop),
    ] {
        assert!(matches!(refused, Err(EngineError::Conflict(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn names_are_plain_and_belong_to_one() {
    let hall = Hall::new().await;
    assert_eq!(
        hall.add("Jo.Ann+x@shop.example", Role::Viewer)
            .await
            .unwrap()
            .name,
        "jo.ann+x@shop.example"
    );
    let taken = hall.add("ANNA", Role::Viewer).await.unwrap_err();
    assert!(matches!(taken, EngineError::Conflict(_)), "{taken}");
    for bad in [
        "",
        " ",
        "a b",
        "a\u{7f}",
        "user:anna",
        "größe",
        "..",
        &"a".repeat(65),
    ] {
        let refused = hall.add(bad, Role::Viewer).await;
        assert!(matches!(refused, Err(EngineError::Invalid(_))), "{bad:?}");
    }
    let new = NewUser {
        name: "ben".into(),
        role: Role::Viewer,
        password: None,
    };
    let (_, made) = hall.here.add(new, now()).await.unwrap();
    hall.here
        .sign_in("ben", &made.unwrap(), home(), now())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_known_session_goes_on_while_the_database_is_away() {
    let hall = Hall::new().await;
    let token = hall.signed_in("anna").await;
    assert!(holds(&hall.here, &token, 0).await);
    hall.away.store(true, Ordering::SeqCst);
    assert!(holds(&hall.here, &token, 100).await);
    let unknown = hall.there.sessions.find(&token, Look::Use, at(0)).await;
    assert_eq!(unknown.unwrap_err(), AuthError::Unavailable);
    let signing_in = hall.attempt(PASSWORD, 0).await;
    assert!(matches!(
        signing_in,
        Err(SignInError::Failed(EngineError::Unavailable { .. }))
    ));
}

#[tokio::test]
async fn no_secret_is_kept() {
    let hall = Hall::new().await;
    let token = hall.signed_in("anna").await;
    let user = hall.store.user("anna").await.unwrap().unwrap();
    assert!(user.password.starts_with("$argon2id$") && !user.password.contains(PASSWORD));
    assert!(!format!("{user:?}").contains("argon2"));
    let (session, _) = hall.here.sessions.find(&token, Look::Use, now()).await.unwrap();
    assert!(!format!("{session:?}").contains(&token));
}

#[tokio::test]
async fn a_flood_from_an_ipv6_site_holds_up_nobody_elsewhere() {
    let hall = Arc::new(Hall::new().await);
    let flood: Vec<_> = (0..300_u16)
        .map(|number| {
            let hall = hall.clone();
            tokio::spawn(async move {
                let from = std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, number, 0, 0, 0, 1).into();
                let name = format!("name-{number}");
                hall.here.sign_in(&name, OTHER, from, now()).await.map(drop)
            })
        })
        .collect();
    // Some are refused: the others stand in their line.
    while !flood.iter().any(tokio::task::JoinHandle::is_finished) {
        tokio::task::yield_now().await;
    }
    let began = std::time::Instant::now();
    let elsewhere = "2001:db8:2::1".parse().unwrap();
    hall.here
        .sign_in("boss", PASSWORD, elsewhere, now())
        .await
        .unwrap();
    let took = began.elapsed();
    let waiting = flood.iter().filter(|one| !one.is_finished()).count();
    assert!(waiting > 0, "the flood was over before");
    assert!(took < std::time::Duration::from_secs(2), "{took:?}");
    let mut too_soon = 0;
    for one in flood {
        too_soon += usize::from(matches!(one.await.unwrap(), Err(SignInError::TooSoon { .. })));
    }
    assert!(too_soon >= 150, "the site has to wait: {too_soon}");
}

#[tokio::test]
async fn attempts_while_the_database_is_away_do_not_count() {
    let hall = Hall::new().await;
    hall.away.store(true, Ordering::SeqCst);
    for _ in 0..50 {
        let away = hall.attempt(PASSWORD, 0).await;
        assert!(matches!(away, Err(SignInError::Failed(_))));
    }
    hall.away.store(false, Ordering::SeqCst);
    hall.attempt(PASSWORD, 0).await.unwrap();
}
