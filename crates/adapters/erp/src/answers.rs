//! What the ERP says about an order, as events.

use chrono::{DateTime, Days, Utc};
use crossdock_sdk::{Answer, SdkError};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::decision::Decision;

/// The warehouse that ships everything.
const LOCATION: &str = "LDN1";

/// As much of a placed order as the ERP needs.
#[derive(Deserialize)]
pub(crate) struct Order {
    order: String,
    lines: Vec<Line>,
}

#[derive(Deserialize, Serialize)]
struct Line {
    sku: String,
    quantity: u32,
}

/// The order's number, and whether it will be fulfilled: by the day after it was `placed`. `aliases`: the names it
/// has in other systems.
pub(crate) fn answers(
    order: &Order,
    aliases: impl Iterator<Item = String>,
    placed: Option<DateTime<Utc>>,
    decision: &Decision,
) -> Result<Vec<Answer>, SdkError> {
    let number = &decision.number;
    let aliases: Vec<_> = aliases.chain([format!("erp:{number}")]).collect();
    let data = json!({"order": order.order, "number": number, "system": "erp"});
    let numbered = Answer::new("order.numbered.v1", &data)?.also_known_as(&aliases);
    let decided = match decision.objection {
        None => accepted(order, number, placed)?,
        Some(objection) => {
            let data = json!({"order": order.order, "reason": objection.reason, "detail": objection.detail});
            Answer::new("order.rejected.v1", &data)?
        }
    };
    Ok(vec![numbered, decided])
}

fn accepted(order: &Order, number: &str, placed: Option<DateTime<Utc>>) -> Result<Answer, SdkError> {
    let mut data = json!({
        "order": order.order,
        "number": number,
        "lines": order.lines,
        "location": LOCATION,
    });
    if let Some(day) = placed.and_then(|placed| placed.date_naive().checked_add_days(Days::new(1))) {
        data["promised"] = day.to_string().into();
    }
    Answer::new("order.accepted.v1", &data)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crossdock_sdk::Schemas;
    use serde_json::Value;

    use super::*;

    fn decided(accepted: bool) -> Vec<Answer> {
        let order = serde_json::from_value(json!({
            "order": "2819-0249123",
            "lines": [{"sku": "MUG-330", "quantity": 2, "price": {"amount": 1199, "currency": "GBP"}}],
        }));
        let decision = (0..)
            .map(|number: u32| Decision::on(&number.to_string()))
            .find(|decision| decision.objection.is_none() == accepted);
        let placed = "2026-03-31T23:59:59Z".parse().ok();
        let aliases = ["shop:2819-0249123".to_owned()].into_iter();
        answers(&order.unwrap(), aliases, placed, &decision.unwrap()).unwrap()
    }

    #[test]
    fn every_answer_is_one_that_the_hub_takes() {
        let schemas = Schemas::shipped();
        for (accepted, types) in [
            (true, ["order.numbered.v1", "order.accepted.v1"]),
            (false, ["order.numbered.v1", "order.rejected.v1"]),
        ] {
            let answers = decided(accepted);
            assert!(answers.iter().map(Answer::event_type).eq(types));
            for answer in &answers {
                schemas.check(answer).unwrap();
            }
        }
    }

    #[test]
    fn what_was_ordered_is_to_be_picked_by_the_next_day() {
        let data: Value = decided(true)[1].data().unwrap();
        assert_eq!(data["lines"], json!([{"sku": "MUG-330", "quantity": 2}]));
        assert_eq!(data["promised"], "2026-04-01");
    }
}
