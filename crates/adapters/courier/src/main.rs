//! The parcel desk of the demo: books each parcel with its carrier. It is here to show what a hub does when a vendor
//! fails, so some bookings need another attempt, and a few need a person.

mod bookings;

use std::sync::{Arc, Mutex, PoisonError};

use crossdock_sdk::{Adapter, Answer, Failure, Incoming, SdkError, log_to_stderr};
use serde::Deserialize;

use crate::bookings::{Bookings, Refusal};

/// A parcel that has left the warehouse.
#[derive(Deserialize)]
struct Shipped {
    carrier: Option<String>,
    location: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), SdkError> {
    log_to_stderr();
    let bookings = Arc::<Mutex<Bookings>>::default();
    Adapter::from_env("/courier")?
        .run(move |event| {
            let handled = handle(&event, &bookings);
            async move { handled }
        })
        .await
}

fn handle(event: &Incoming, bookings: &Mutex<Bookings>) -> Result<Vec<Answer>, Failure> {
    if event.event_type() != "order.shipped.v1" {
        return Err(Failure::Dead(format!(
            "the parcel desk knows no {}",
            event.event_type()
        )));
    }
    let shipped: Shipped = event.data()?;
    // What was booked stays true when somebody panicked over it.
    let booked = bookings
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .book(event.id(), event.attempt());
    match booked {
        Ok(()) => Ok(Vec::new()),
        Err(refusal) => Err(Failure::Retry(reason(&shipped, refusal), None)),
    }
}

/// What the carrier said, for the person who reads the dead letter.
fn reason(shipped: &Shipped, refusal: Refusal) -> String {
    let carrier = shipped.carrier.as_deref().unwrap_or("the carrier");
    match refusal {
        Refusal::Away => format!("{carrier}'s booking service answered 503 Service Unavailable"),
        Refusal::NoCollection => {
            let location = shipped.location.as_deref().unwrap_or("the warehouse");
            format!(
                "{carrier}'s booking service answered 409 Conflict: no collection from {location} is planned yet"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_carrier_and_what_it_said() {
        let shipped = |carrier: Option<&str>, location: Option<&str>| Shipped {
            carrier: carrier.map(str::to_owned),
            location: location.map(str::to_owned),
        };
        assert_eq!(
            reason(&shipped(Some("northline"), Some("LDN1")), Refusal::NoCollection),
            "northline's booking service answered 409 Conflict: no collection from LDN1 is planned yet"
        );
        assert_eq!(
            reason(&shipped(None, None), Refusal::Away),
            "the carrier's booking service answered 503 Service Unavailable"
        );
    }
}
