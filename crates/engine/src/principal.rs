//! Who is calling, whatever they have shown: an API key, an adapter's or not, or a session of a person. What each may
//! do, and the name under which what they send is recorded.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const KEY_PRODUCER_PREFIX: &str = "key:";
const PERSON_PRODUCER_PREFIX: &str = "user:";
const HUB_PRODUCER_PREFIX: &str = "hub:";

/// Whether a recorded producer is an adapter: no person, no key of a person or service, and no hub.
pub(crate) fn is_adapter(producer: &str) -> bool {
    !producer.starts_with(KEY_PRODUCER_PREFIX)
        && !producer.starts_with(PERSON_PRODUCER_PREFIX)
        && !is_hub(producer)
}

/// Whether a recorded producer is a hub. An adapter's name has no colon, a key's and a person's producer another
/// beginning.
pub(crate) fn is_hub(producer: &str) -> bool {
    producer.starts_with(HUB_PRODUCER_PREFIX)
}

/// What a hub is called as a producer.
pub(crate) fn hub_producer(host: &str) -> String {
    format!("{HUB_PRODUCER_PREFIX}{host}")
}

/// What a caller may do. The wire form is `events:read` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Search events, journeys, the stream and the quarantine.
    #[serde(rename = "events:read")]
    EventsRead,
    /// Send events.
    #[serde(rename = "events:write")]
    EventsWrite,
    /// See adapters, queues, the ledger, status and revisions.
    #[serde(rename = "adapters:read")]
    AdaptersRead,
    /// Rotate credentials, send quarantined messages again.
    #[serde(rename = "adapters:write")]
    AdaptersWrite,
    /// Redrive and discard dead letters.
    #[serde(rename = "dead-letters:write")]
    DeadLettersWrite,
    /// Read live state.
    #[serde(rename = "state:read")]
    StateRead,
    /// Mint browser tokens.
    #[serde(rename = "browser-tokens:write")]
    BrowserTokensWrite,
    /// Enrol and remove devices.
    #[serde(rename = "devices:write")]
    DevicesWrite,
    /// Everything.
    #[serde(rename = "admin")]
    Admin,
}

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 9] = [
        Self::EventsRead,
        Self::EventsWrite,
        Self::AdaptersRead,
        Self::AdaptersWrite,
        Self::DeadLettersWrite,
        Self::StateRead,
        Self::BrowserTokensWrite,
        Self::DevicesWrite,
        Self::Admin,
    ];

    /// The wire form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventsRead => "events:read",
            Self::EventsWrite => "events:write",
            Self::AdaptersRead => "adapters:read",
            Self::AdaptersWrite => "adapters:write",
            Self::DeadLettersWrite => "dead-letters:write",
            Self::StateRead => "state:read",
            Self::BrowserTokensWrite => "browser-tokens:write",
            Self::DevicesWrite => "devices:write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| {
                let known: Vec<_> = Self::ALL.iter().map(|scope| scope.as_str()).collect();
                format!("{text:?} is not a scope; expected one of {}", known.join(", "))
            })
    }
}

/// What a person is to the hub. The wire form is `viewer` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything but who may call.
    Viewer,
    /// Runs the hub from day to day.
    Operator,
    /// May do everything.
    Admin,
}

impl Role {
    /// Every role there is.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The wire form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// What somebody of this role may do.
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Viewer => &[Scope::EventsRead, Scope::AdaptersRead, Scope::StateRead],
            Self::Operator => &[
                Scope::EventsRead,
                Scope::AdaptersRead,
                Scope::StateRead,
                Scope::EventsWrite,
                Scope::AdaptersWrite,
                Scope::DeadLettersWrite,
                Scope::DevicesWrite,
            ],
            Self::Admin => &[Scope::Admin],
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a role; expected viewer, operator or admin"))
    }
}

/// Whose key or session it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A person or service with an API key.
    Key {
        /// The public half of the key.
        id: String,
        /// The key's name.
        name: String,
    },
    /// An adapter with its API key.
    Adapter {
        /// The public half of the key.
        key_id: String,
        /// The adapter's name.
        name: String,
    },
    /// A person who has signed in.
    Person {
        /// What they sign in with.
        name: String,
    },
}

/// Who is calling, as a key or session proves.
#[derive(Clone, Debug)]
pub struct Principal {
    /// Who it is.
    pub holder: Holder,
    /// What they may do.
    pub scopes: Vec<Scope>,
}

impl Principal {
    /// Whether this caller may do what `scope` opens. `admin` opens everything; an adapter may send its events
    /// by being one.
    pub fn may(&self, scope: Scope) -> bool {
        let by_itself = matches!(self.holder, Holder::Adapter { .. }) && scope == Scope::EventsWrite;
        by_itself
            || self
                .scopes
                .iter()
                .any(|held| *held == scope || *held == Scope::Admin)
    }

    /// The name under which its events are recorded: the adapter's, `key:<name>` or `user:<name>`. No adapter's name
    /// contains a colon, so nobody can pass for one by the name of a key or their own.
    pub fn producer(&self) -> String {
        match &self.holder {
            Holder::Adapter { name, .. } => name.clone(),
            Holder::Key { name, .. } => format!("{KEY_PRODUCER_PREFIX}{name}"),
            Holder::Person { name } => format!("{PERSON_PRODUCER_PREFIX}{name}"),
        }
    }

    /// How the log and revisions call them: a key by its id, which is the only one of its kind, a person as
    /// `user:<name>`.
    pub fn mark(&self) -> String {
        match &self.holder {
            Holder::Key { id, .. } | Holder::Adapter { key_id: id, .. } => id.clone(),
            Holder::Person { .. } => self.producer(),
        }
    }

    /// What people call them: the name of the key or adapter, or `user:<name>`.
    pub fn name(&self) -> String {
        match &self.holder {
            Holder::Key { name, .. } | Holder::Adapter { name, .. } => name.clone(),
            Holder::Person { .. } => self.producer(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(holder: Holder) -> Principal {
        Principal {
            holder,
            scopes: Vec::new(),
        }
    }

    #[test]
    fn nobody_passes_for_an_adapter_by_a_name() {
        let (id, name) = (String::from("a"), String::from("erp"));
        let key = is(Holder::Key {
            id: id.clone(),
            name: name.clone(),
        });
        let person = is(Holder::Person { name: name.clone() });
        let adapter = is(Holder::Adapter { key_id: id, name });
        for (who, producer, counts_as_adapter) in [
            (key, "key:erp", false),
            (person, "user:erp", false),
            (adapter, "erp", true),
        ] {
            assert_eq!(who.producer(), producer);
            assert_eq!(is_adapter(&who.producer()), counts_as_adapter, "{producer}");
            assert!(!is_hub(&who.producer()));
            assert_eq!(who.may(Scope::EventsWrite), counts_as_adapter);
        }
        assert!(!is_adapter(&hub_producer("erp")));
    }

    #[test]
    fn each_role_may_do_what_the_one_below_may() {
        let may = |role: Role, scope| {
            let who = Principal {
                holder: Holder::Person { name: "anna".into() },
                scopes: role.scopes().to_vec(),
            };
            who.may(scope)
        };
        for scope in Scope::ALL {
            assert!(may(Role::Admin, scope));
            assert!(!may(Role::Viewer, scope) || may(Role::Operator, scope), "{scope}");
        }
        assert!(!may(Role::Viewer, Scope::DeadLettersWrite) && may(Role::Operator, Scope::DeadLettersWrite));
        assert!(!may(Role::Operator, Scope::Admin) && !may(Role::Operator, Scope::BrowserTokensWrite));
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
    }
}
