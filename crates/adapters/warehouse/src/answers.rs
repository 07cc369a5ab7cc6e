//! What the warehouse hears and says, as events.

use crossdock_sdk::{Answer, SdkError};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    packing::Packing,
    stock::{Counted, THRESHOLD},
};

/// Where it is.
pub(crate) const LOCATION: &str = "LDN1";

/// An accepted order.
#[derive(Deserialize)]
pub(crate) struct Accepted {
    order: String,
    /// What is to be picked.
    #[serde(default)]
    pub(crate) lines: Vec<Line>,
    /// Who is to ship it; absent: whoever can.
    pub(crate) location: Option<String>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Line {
    sku: String,
    quantity: u32,
}

/// Pieces came or went.
#[derive(Deserialize)]
pub(crate) struct Adjusted {
    pub(crate) sku: String,
    pub(crate) location: String,
    pub(crate) delta: i64,
}

/// The order left as this parcel.
pub(crate) fn shipped(accepted: &Accepted, packing: &Packing) -> Result<Answer, SdkError> {
    let shipment = format!("{LOCATION}-{}", packing.shipment);
    let data = json!({
        "order": accepted.order,
        "shipment": shipment,
        "lines": accepted.lines,
        "location": LOCATION,
        "carrier": packing.carrier,
        "tracking": packing.tracking,
        "tracking_url": format!("https://{}.example/{}", packing.carrier, packing.tracking),
    });
    Ok(Answer::new("order.shipped.v1", &data)?.also_known_as(&[format!("warehouse:{shipment}")]))
}

/// How many of the product there are.
pub(crate) fn level(sku: &str, on_hand: i64) -> Result<Answer, SdkError> {
    let data = json!({"sku": sku, "location": LOCATION, "on_hand": on_hand});
    about_stock("stock.level.v1", sku, &data)
}

/// How many of the product there are now, and whether there should be more.
pub(crate) fn counted(sku: &str, counted: &Counted) -> Result<Vec<Answer>, SdkError> {
    let mut answers = Vec::new();
    if let Some(on_hand) = counted.filled {
        answers.push(level(sku, on_hand)?);
    }
    answers.push(level(sku, counted.on_hand)?);
    if counted.became_low {
        let data = json!({
            "sku": sku,
            "location": LOCATION,
            "on_hand": counted.on_hand,
            "threshold": THRESHOLD,
        });
        answers.push(about_stock("stock.low.v1", sku, &data)?);
    }
    Ok(answers)
}

fn about_stock(event_type: &str, sku: &str, data: &serde_json::Value) -> Result<Answer, SdkError> {
    Ok(Answer::new(event_type, data)?.about(format!("{LOCATION}/{sku}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crossdock_sdk::Schemas;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_parcel_holds_what_was_to_be_picked() {
        let lines = json!([{"sku": "MUG-330", "quantity": 2}]);
        let accepted = json!({"order": "2819-0249123", "number": "SO-1", "lines": lines, "location": "LDN1"});
        let accepted: Accepted = serde_json::from_value(accepted).unwrap();
        let answer = shipped(&accepted, &Packing::of("1")).unwrap();
        Schemas::shipped().check(&answer).unwrap();
        assert_eq!(answer.data::<Value>().unwrap()["lines"], lines);
    }

    #[test]
    fn a_delivery_is_said_before_what_was_taken_from_it() {
        let shelf = Counted {
            filled: Some(40),
            on_hand: 7,
            became_low: true,
        };
        let answers = counted("MUG-330", &shelf).unwrap();
        let said: Vec<_> = answers
            .iter()
            .map(|answer| {
                Schemas::shipped().check(answer).unwrap();
                assert_eq!(answer.subject(), Some("LDN1/MUG-330"));
                (
                    answer.event_type(),
                    answer.data::<Value>().unwrap()["on_hand"].as_i64().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            said,
            [("stock.level.v1", 40), ("stock.level.v1", 7), ("stock.low.v1", 7)]
        );
    }
}
