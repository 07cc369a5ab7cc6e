use std::iter;

use chrono::TimeDelta;

use super::*;
use crate::testing::now;

fn address(number: u64) -> IpAddr {
    let [.., third, fourth] = number.to_be_bytes();
    [10, 0, third, fourth].into()
}

impl Refusals {
    fn times(&self, number: u64, why: impl Into<Why>, from: IpAddr) -> &Self {
        let why = why.into();
        (0..number).for_each(|_| self.refused(why.clone(), from, now()));
        self
    }

    fn of_different(&self, number: u64, fault: TokenFault) -> &Self {
        (0..number).for_each(|number| self.refused(fault.into(), address(number), now()));
        self
    }

    fn said(&self, clients: u64) -> Option<String> {
        self.lately(clients, now()).map(|many| many.to_string())
    }
}

impl From<TokenFault> for Why {
    fn from(fault: TokenFault) -> Self {
        Self::Token(fault)
    }
}

#[test]
fn a_shop_whose_pages_are_all_refused_is_said_with_the_reason_and_is_over_by_itself() {
    let (refusals, proxy) = (Refusals::default(), address(1));
    refusals.times(19, TokenFault::UnknownIssuer, proxy);
    assert_eq!(refusals.said(0), None);
    refusals.times(1, TokenFault::UnknownIssuer, proxy);
    let all = "20 logins of pages were refused in the last 5 minutes and none was let in, because of their token \
               (`unknown_issuer`: its issuer is unknown): it is of another environment, or no `issuer` under \
               [[mqtt.issuer]] is its `iss` to the letter";
    assert_eq!(refusals.said(0).as_deref(), Some(all));
    refusals.times(1, TokenFault::Expired, proxy);
    let mostly = refusals.said(0).unwrap_or_default();
    assert!(
        mostly.contains("21 logins") && mostly.contains("mostly because of their token (`unknown_issuer`"),
        "{mostly}"
    );
    let later = now() + TimeDelta::minutes(WINDOW_MINUTES);
    assert_eq!(refusals.lately(0, later), None);
}

#[test]
fn it_is_said_while_as_many_are_refused_as_let_in() {
    let refusals = Refusals::default();
    refusals.of_different(30, TokenFault::Expired);
    (0..30).for_each(|_| refusals.admitted(now()));
    let sentence = refusals.said(30).unwrap_or_default();
    assert!(
        sentence.starts_with("30 logins of pages were refused in the last 5 minutes and 30 were let in"),
        "{sentence}"
    );
    refusals.admitted(now());
    assert_eq!(refusals.said(31), None);
}

#[test]
fn one_robot_or_one_page_that_cannot_stop_is_no_alarm() {
    let robot = Refusals::default();
    robot.times(1_000, TokenFault::Malformed, address(1));
    robot.times(1_000, Why::TooSoon, address(1));
    for number in 0..1_000_u16 {
        let of_one_site = [0x2001, 0xdb8, 1, number, 0, 0, 0, 1];
        robot.times(1, TokenFault::Malformed, of_one_site.into());
    }
    assert_eq!(robot.said(0), None, "nobody else is there");

    let page = Refusals::default();
    page.times(1_000, TokenFault::Expired, address(1));
    assert_eq!(page.said(1), None, "others are here since long");
    page.admitted(now());
    assert_eq!(page.said(0), None, "others are let in");

    let robots = Refusals::default();
    robots.of_different(REFUSALS_MIN, TokenFault::Malformed);
    assert!(robots.said(1).is_some(), "of many addresses it is one");
}

#[test]
fn those_who_have_to_wait_count_and_hide_no_reason() {
    let refusals = Refusals::default();
    refusals.times(295, Why::TooSoon, address(1));
    assert_eq!(refusals.said(0), None);
    let sentence = refusals.times(5, TokenFault::UnknownKey, address(1)).said(0);
    let expected = "300 logins of pages were refused in the last 5 minutes and none was let in, because of their token \
                    (`unknown_key`: ";
    assert!(
        sentence.as_ref().is_some_and(|it| it.starts_with(expected)),
        "{sentence:?}"
    );

    let all_wait = Refusals::default();
    (0..20).for_each(|number| all_wait.refused(Why::TooSoon, address(number), now()));
    let sentence = all_wait.said(0).unwrap_or_default();
    assert!(
        sentence.contains("because of their address (`too_soon`: "),
        "{sentence}"
    );
}

#[test]
fn the_document_has_every_reason() {
    let document = include_str!("../../../../../docs/browser-tokens.md");
    let reasons = document
        .split("## When it does not work")
        .nth(1)
        .unwrap_or_default();
    let rows: Vec<_> = reasons
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .collect();
    let faults = iter::successors(Some(TokenFault::TooLong), |fault| next(*fault));
    let others = [Why::Origin(String::new()), Why::TooSoon];
    for why in faults.map(Why::Token).chain(others) {
        let (_, word, _) = why.told();
        assert!(
            rows.iter().any(|row| row.contains(&format!("`{word}`"))),
            "{word}"
        );
    }
}

/// One after the other: who adds a fault is told here.
fn next(fault: TokenFault) -> Option<TokenFault> {
    Some(match fault {
        TokenFault::TooLong => TokenFault::Malformed,
        TokenFault::Malformed => TokenFault::ApiKey,
        TokenFault::ApiKey => TokenFault::Critical,
        TokenFault::Critical => TokenFault::NoKeyId,
        TokenFault::NoKeyId => TokenFault::UnknownKey,
        TokenFault::UnknownKey => TokenFault::UnknownIssuer,
        TokenFault::UnknownIssuer => TokenFault::Algorithm,
        TokenFault::Algorithm => TokenFault::Signature,
        TokenFault::Signature => TokenFault::Claim("sub"),
        TokenFault::Claim(_) => TokenFault::Audience,
        TokenFault::Audience => TokenFault::NotYet,
        TokenFault::NotYet => TokenFault::LivesTooLong,
        TokenFault::LivesTooLong => TokenFault::Expired,
        TokenFault::Expired => TokenFault::Revoked,
        TokenFault::Revoked => TokenFault::Topics,
        TokenFault::Topics => TokenFault::KeysUnavailable,
        TokenFault::KeysUnavailable => return None,
    })
}

#[test]
fn of_an_origin_only_what_is_one_is_repeated() {
    for (origin, expected) in [
        ("https://shop.example.com", "https://shop.example.com"),
        ("https://Shop.example.com:443/x?y#z", "https://shop.example.com"),
        ("https://a\u{1b}[31m.example", ""),
        ("null", ""),
        ("", ""),
        ("data:text/html,call 0800", ""),
    ] {
        assert_eq!(shown(origin), expected, "{origin}");
    }
    assert_eq!(shown(&format!("https://{}.example", "a.".repeat(60))), "");
    let refusals = Refusals::default();
    refusals.times(20, Why::Origin("https://shop.example.com".into()), address(1));
    let sentence = refusals.said(0).unwrap_or_default();
    assert!(
        sentence.contains(
            "because of their origin (`origin`: pages of https://shop.example.com may not connect): "
        ),
        "{sentence}"
    );
}

#[test]
fn it_is_bounded_whoever_comes() {
    let refusals = Refusals::default();
    for minute in 0..100 {
        let now = now() + TimeDelta::minutes(minute);
        for number in 0..1_000 {
            let why = Why::Origin(format!("https://{number}.example"));
            refusals.refused(why, address(number), now);
        }
    }
    let minutes = refusals.minutes(now() + TimeDelta::minutes(99));
    assert_eq!(minutes.len(), 5);
    for minute in &*minutes {
        assert_eq!(minute.addresses.len(), ADDRESSES_MAX);
        assert!(minute.origins() <= ORIGINS_MAX + 1);
        assert_eq!(minute.of_others, 800);
    }
}
