//! The backend of the demo's shop page: what a shop's own server is to a hub. It tells browsers apart by a cookie, has an
//! API key of its own, and asks of the hub what anybody could ask with such a key over HTTP: browser tokens that open
//! the stock and one browser's orders, and events. It keeps nothing: whatever it has to know of a browser follows
//! from the cookie.

use std::{fmt::Write as _, path::Path, sync::Arc};

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path as Segment, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing,
};
use crossdock_api::Problem;
use crossdock_engine::{
    AuthError, BrowserToken, EngineError, Holder, Hub, NewBrowserToken, NewKey, Principal, Scope,
};
use crossdock_model::{Clock, SystemClock, event::Event};
use rand::{Rng as _, distr::Alphanumeric};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::super::{admin_key, data_dir::DataDir};

const KEY_NAME: &str = "demo-shop";
const SOURCE: &str = "/demo-shop";
/// The warehouse that the shop sells from.
const LOCATION: &str = "LDN1";
const COOKIE: &str = "crossdock-shop";
/// Letters and digits of a cookie: about 190 random bits.
const COOKIE_CHARS: usize = 32;
const COOKIE_LIFE_S: u32 = 30 * 24 * 3_600;
/// How long a token lives: short, for it costs nothing to get the next.
const TOKEN_LIFE_S: u32 = 10 * 60;
/// Orders of one browser. A token has a topic for each, and may have 50 in all.
const ORDERS_MAX: usize = 20;
/// Bytes of the hash of a cookie that its orders bear.
const MARK_BYTES: usize = 8;
const BODY_MAX_BYTES: usize = 4 * 1024;

/// What is for sale: the page shows it.
const SKU: &str = "MUG-330";
const DESCRIPTION: &str = "Photo mug, 330 ml";
const PRICE_PENCE: u32 = 1_199;
const QUANTITY_MAX: u32 = 6;

struct Shop {
    hub: Hub,
    key: String,
    clock: Arc<dyn Clock>,
}

/// The routes of the backend, with a key that is made where there is none yet.
pub(in super::super) async fn router(hub: &Hub, data_dir: &DataDir) -> anyhow::Result<Router> {
    let file = data_dir.shop_key_file();
    admin_key::ensure_in(hub, &file, new_key()).await?;
    let shop = Shop {
        hub: hub.clone(),
        key: read(&file)?,
        clock: Arc::new(SystemClock),
    };
    Ok(Router::new()
        .route("/shop/api/session", routing::post(begin_session))
        .route("/shop/api/orders/{reference}", routing::put(place_order))
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .with_state(Arc::new(shop)))
}

/// Ends the key that a demo has left behind: without one nobody has a use for it, but whoever has a copy of its file.
pub(in super::super) async fn withdraw_key(hub: &Hub, data_dir: &DataDir) -> anyhow::Result<()> {
    let file = data_dir.shop_key_file();
    if !file.exists() {
        return Ok(());
    }
    match hub.authenticate(&read(&file)?).await {
        Ok(Principal {
            holder: Holder::Key { id, .. },
            ..
        }) => hub.revoke_key(&id).await?,
        // The key may be good: nobody forgets it.
        Err(error @ AuthError::Unavailable) => {
            return Err(error).with_context(|| format!("cannot remove the key {KEY_NAME}"));
        }
        Ok(_) | Err(_) => {}
    }
    std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    tracing::info!(
        key = KEY_NAME,
        "the demo's key was removed: this start is without --demo"
    );
    Ok(())
}

fn new_key() -> NewKey {
    NewKey {
        name: KEY_NAME.to_owned(),
        scopes: vec![Scope::BrowserTokensWrite, Scope::EventsWrite],
        topics: vec![stock_topics(), "state/order/#".to_owned()],
        adapter: None,
        expires: None,
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.trim().to_owned())
}

fn stock_topics() -> String {
    format!("stock/{LOCATION}/+")
}

impl Shop {
    async fn principal(&self) -> Result<Principal, Problem> {
        Ok(self.hub.authenticate(&self.key).await?)
    }
}

/// What a page needs to connect, and the references under which it may order.
#[derive(Serialize)]
struct Session {
    #[serde(flatten)]
    token: BrowserToken,
    orders: Vec<String>,
}

async fn begin_session(
    State(shop): State<Arc<Shop>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let visitor = Visitor::of(&headers).unwrap_or_else(|| Visitor::new(&mut rand::rng()));
    let orders: Vec<_> = visitor.references().collect();
    let topics = orders.iter().map(|reference| format!("state/order/{reference}"));
    let asked = NewBrowserToken {
        topics: topics.chain([stock_topics()]).collect(),
        subject: visitor.mark(),
        expires_in_s: Some(TOKEN_LIFE_S),
    };
    let token = shop
        .hub
        .mint_browser_token(&shop.principal().await?, asked)
        .await?;
    let answer_headers = [
        (header::SET_COOKIE, visitor.cookie()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((answer_headers, Json(Session { token, orders })))
}

/// What a browser orders.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ordered {
    sku: String,
    quantity: u32,
}

/// The same order again is the same events again, of which the hub takes one of each.
async fn place_order(
    State(shop): State<Arc<Shop>>,
    Segment(reference): Segment<String>,
    headers: HeaderMap,
    ordered: Result<Json<Ordered>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let Json(ordered) = ordered.map_err(|rejection| EngineError::Invalid(rejection.body_text()))?;
    let is_theirs =
        Visitor::of(&headers).is_some_and(|visitor| visitor.references().any(|own| own == reference));
    if !is_theirs {
        let text = "this browser may not order under this reference: load the page anew";
        return Err(EngineError::NotFound(text.to_owned()).into());
    }
    if ordered.sku != SKU || !(1..=QUANTITY_MAX).contains(&ordered.quantity) {
        let text = format!("expected 1 to {QUANTITY_MAX} of {SKU}");
        return Err(EngineError::Invalid(text).into());
    }
    let who = shop.principal().await?;
    let events = events(&reference, ordered.quantity, &shop.clock.now().to_rfc3339())?;
    shop.hub.accept(&who, events).await?;
    Ok(StatusCode::ACCEPTED)
}

/// The order, and its goods gone from the shelf.
fn events(reference: &str, quantity: u32, time: &str) -> Result<Vec<Event>, EngineError> {
    let pence = |amount: u32| json!({ "amount": amount, "currency": "GBP" });
    let placed = json!({
        "id": reference,
        "type": "order.placed.v1",
        "subject": reference,
        "aliases": format!("web:{reference}"),
        "data": {
            "order": reference,
            "lines": [{
                "sku": SKU,
                "description": DESCRIPTION,
                "quantity": quantity,
                "price": pence(PRICE_PENCE),
            }],
            "total": pence(PRICE_PENCE * quantity),
            "channel": "web",
        },
    });
    let moved = json!({
        "id": format!("{reference}-stock"),
        "type": "stock.adjusted.v1",
        "subject": format!("{LOCATION}/{SKU}"),
        "data": {
            "sku": SKU,
            "location": LOCATION,
            "delta": -i64::from(quantity),
            "reason": "sale",
            "order": reference,
        },
    });
    let whole = |mut event: serde_json::Value| {
        event["specversion"] = "1.0".into();
        event["source"] = SOURCE.into();
        event["time"] = time.into();
        event["correlationid"] = format!("order-{reference}").into();
        Event::from_structured(event.to_string().as_bytes())
            .map_err(|faults| EngineError::Internal(format!("the shop's own event is none: {faults}")))
    };
    [placed, moved].into_iter().map(whole).collect()
}

/// A browser, by its cookie. Whoever has the cookie may order and read under its references; from a reference nobody
/// gets back to the cookie.
struct Visitor(String);

impl Visitor {
    fn new(rng: &mut impl rand::Rng) -> Self {
        Self(
            rng.sample_iter(Alphanumeric)
                .take(COOKIE_CHARS)
                .map(char::from)
                .collect(),
        )
    }

    fn of(headers: &HeaderMap) -> Option<Self> {
        let given = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        given
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, value)| *name == COOKIE && is_ours(value))
            .map(|(_, value)| Self(value.to_owned()))
    }

    fn cookie(&self) -> String {
        let value = &self.0;
        format!("{COOKIE}={value}; Path=/shop; Max-Age={COOKIE_LIFE_S}; HttpOnly; SameSite=Strict")
    }

    /// What its orders are known by.
    fn mark(&self) -> String {
        let hash = Sha256::digest(self.0.as_bytes());
        hash[..MARK_BYTES].iter().fold(String::new(), |mut mark, byte| {
            let _ = write!(mark, "{byte:02X}");
            mark
        })
    }

    /// The references of its orders, in their order.
    fn references(&self) -> impl Iterator<Item = String> {
        let mark = self.mark();
        (1..=ORDERS_MAX).map(move |number| format!("WEB-{mark}-{number:02}"))
    }
}

fn is_ours(cookie: &str) -> bool {
    cookie.len() == COOKIE_CHARS && cookie.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crossdock_model::{schema::SchemaSet, topic::TopicName};
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;

    fn visitor(seed: u64) -> Visitor {
        Visitor::new(&mut StdRng::seed_from_u64(seed))
    }

    fn with_cookie(text: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([(header::COOKIE, text.parse().unwrap())]);
        Visitor::of(&headers).map(|visitor| visitor.0)
    }

    #[test]
    fn a_browser_is_known_by_its_cookie_alone() {
        let new = visitor(1);
        let (pair, attributes) = new
            .cookie()
            .split_once("; ")
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite=Strict"));
        assert_eq!(with_cookie(&format!("a=b; {pair}; c=d")).as_ref(), Some(&new.0));
        let short = &pair[..pair.len() - 1];
        for other in [
            "",
            "a=b",
            "crossdock-shop",
            "crossdock-shop=",
            short,
            &format!("x{pair}"),
            &format!("{short}/"),
        ] {
            assert_eq!(with_cookie(other), None, "{other}");
        }
    }

    #[test]
    fn references_are_a_browsers_own_and_make_topics() {
        let own: Vec<_> = visitor(1).references().collect();
        assert_eq!(own, visitor(1).references().collect::<Vec<_>>());
        assert_eq!(own.len(), ORDERS_MAX);
        assert!(own.iter().all(|reference| TopicName::new(reference).is_ok()));
        assert!(visitor(2).references().all(|other| !own.contains(&other)));
        assert!(!own[0].contains(&visitor(1).0));
    }

    #[test]
    fn an_order_is_what_the_hub_takes_and_twice_the_same() {
        let schemas = SchemaSet::builtin();
        let events = events("WEB-1-01", 2, "2026-11-27T10:00:00Z").unwrap();
        for event in &events {
            assert_eq!(event.validate(), []);
            assert_eq!(schemas.validate(event), Ok(()), "{}", event.event_type);
        }
        let ids: Vec<_> = events.iter().map(|event| event.id.as_str()).collect();
        assert_eq!(ids, ["WEB-1-01", "WEB-1-01-stock"]);
        assert_eq!(events[0].json().unwrap()["total"]["amount"], 2_398);
        assert_eq!(events[0].correlation_id(), Some("order-WEB-1-01"));
    }
}
