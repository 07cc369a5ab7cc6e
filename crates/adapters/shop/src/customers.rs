//! Who buys: people and towns that there are not, in a country that there is. A customer who comes again has the
//! same name and lives where they lived.

use rand::Rng;

const FIRST_NAMES: [&str; 16] = [
    "Ada", "Bela", "Callum", "Dilys", "Emeka", "Farah", "Gwen", "Hamish", "Ines", "Jonah", "Kezia", "Leon",
    "Maeve", "Nikhil", "Orla", "Piotr",
];
const LAST_NAMES: [&str; 12] = [
    "Ampersand",
    "Baskerling",
    "Caslow",
    "Didone",
    "Ferrule",
    "Galley",
    "Hairline",
    "Inkpen",
    "Kerning",
    "Ligature",
    "Platen",
    "Quire",
];
const STREETS: [&str; 7] = [
    "Composing Lane",
    "Foundry Row",
    "Gutter Street",
    "Margin Road",
    "Offset Close",
    "Proof Hill",
    "Quoin Square",
];
/// Town and the first half of its postcode, which begins with a letter that no real one begins with.
const TOWNS: [(&str, &str); 5] = [
    ("Inkwell", "QI1"),
    ("Paperham", "QP4"),
    ("Pressbury", "QB2"),
    ("Typeford", "QT7"),
    ("Vellum-on-Sea", "QV3"),
];
const CUSTOMERS: usize = FIRST_NAMES.len() * LAST_NAMES.len();

/// One of the shop's customers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Customer {
    /// The shop's own name for them; not personal.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) street: String,
    pub(crate) city: &'static str,
    pub(crate) postcode: String,
}

/// Any one of them.
pub(crate) fn somebody(rng: &mut impl Rng) -> Customer {
    customer(rng.random_range(0..CUSTOMERS))
}

fn customer(number: usize) -> Customer {
    let first = FIRST_NAMES[number % FIRST_NAMES.len()];
    let last = LAST_NAMES[number / FIRST_NAMES.len() % LAST_NAMES.len()];
    let (city, district) = TOWNS[number % TOWNS.len()];
    Customer {
        id: format!("cu-{}", 1000 + number),
        name: format!("{first} {last}"),
        email: format!("{first}.{last}@example.com").to_lowercase(),
        street: format!("{} {}", 1 + number % 89, STREETS[number % STREETS.len()]),
        city,
        postcode: format!("{district} {}AA", number % 10),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_share_a_name_and_all_have_addresses_that_reach_nobody() {
        let everybody: Vec<_> = (0..CUSTOMERS).map(customer).collect();
        let names: HashSet<_> = everybody.iter().map(|customer| &customer.name).collect();
        assert_eq!(names.len(), CUSTOMERS);
        assert!(
            everybody
                .iter()
                .all(|customer| customer.email.ends_with("@example.com"))
        );
    }
}
