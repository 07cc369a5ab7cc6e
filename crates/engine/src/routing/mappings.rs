//! The filters and transforms of a revision, each compiled once, and what they make of an event for each adapter.
//! They run on the thread that asks, for as long as they take: ask where that may block.

use std::{collections::HashMap, fmt, sync::Arc};

use crossdock_config::Manifest;
use crossdock_model::{
    TypePattern,
    event::Event,
    jq::{Input, JqError, JqFault, Mapping, Stopwatch},
};

use super::pace::{Pace, RUNS_LOOKED_AT, RunClock, SLOW, SLOW_PER_KIB, SLOW_RUNS};
use crate::measures::{self, MappingRun};

/// What one adapter gets of an event.
#[derive(Debug)]
pub(crate) enum Route {
    /// None of its subscriptions wants it.
    NotWanted,
    /// The event as it came in.
    AsItIs,
    /// What a transform made of it.
    Transformed(Box<Event>),
    /// A mapping failed, so it cannot be said.
    Failed(Failure),
}

/// Why a mapping gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// For people who may see the event: it may quote it.
    pub(crate) detail: String,
    /// The same without the event, for logs.
    pub(crate) logged: String,
}

impl Failure {
    /// One whose reason says nothing about the event.
    pub(crate) fn of(reason: String) -> Self {
        Self {
            detail: reason.clone(),
            logged: reason,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Filter,
    Transform,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filter => "filter",
            Self::Transform => "transform",
        })
    }
}

/// A filter or transform at its place.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) adapter: String,
    /// Counted from 1, as they stand in the manifest.
    pub(crate) subscription: usize,
    pub(crate) role: Role,
    pub(crate) pace: Arc<Pace>,
    text: String,
    mapping: Mapping,
}

/// The same words at every hub for the same mapping: `erp/1/filter`.
impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.adapter, self.subscription, self.role)
    }
}

struct Subscription {
    types: Vec<TypePattern>,
    filter: Option<Placed>,
    transform: Option<Placed>,
}

impl Subscription {
    fn matches(&self, event_type: &str) -> bool {
        self.types.iter().any(|pattern| pattern.matches(event_type))
    }
}

/// Every adapter's subscriptions in the order of its manifest.
#[derive(Default)]
pub(super) struct Subscriptions(Vec<(String, Vec<Subscription>)>);

/// An event that is read for mappings when the first one asks.
pub(super) struct Reading<'a> {
    event: &'a Event,
    input: Option<Result<Input, JqError>>,
}

impl<'a> Reading<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        Self { event, input: None }
    }

    fn input(&mut self) -> Result<&Input, JqError> {
        let event = self.event;
        let input = self
            .input
            .get_or_insert_with(|| Input::read(event.to_mapping_input()));
        input.as_ref().map_err(Clone::clone)
    }
}

impl Subscriptions {
    /// # Errors
    /// The first mapping that does not compile. `check` has compiled them all before.
    pub(super) fn compile<'a>(manifests: impl Iterator<Item = &'a Manifest>) -> Result<Self, JqFault> {
        let adapters = manifests.map(|manifest| {
            let subscriptions = manifest.subscribe.iter().enumerate().map(|(index, written)| {
                let place = |role, text: &Option<String>| {
                    let text = text.as_ref()?;
                    Some(Mapping::compile(text).map(|mapping| Placed {
                        adapter: manifest.name.clone(),
                        subscription: index + 1,
                        role,
                        pace: Arc::default(),
                        text: text.clone(),
                        mapping,
                    }))
                };
                Ok(Subscription {
                    types: written.types.clone(),
                    filter: place(Role::Filter, &written.filter).transpose()?,
                    transform: place(Role::Transform, &written.transform).transpose()?,
                })
            });
            Ok((manifest.name.clone(), subscriptions.collect::<Result<_, _>>()?))
        });
        Ok(Self(adapters.collect::<Result<_, _>>()?))
    }

    pub(super) fn mappings(&self) -> impl Iterator<Item = &Placed> {
        let subscriptions = self.0.iter().flat_map(|(_, subscriptions)| subscriptions);
        subscriptions.flat_map(|subscription| subscription.filter.iter().chain(&subscription.transform))
    }

    /// Goes on at the pace of what is the same in `before`, wherever it stands in its manifest.
    pub(super) fn inherit(&mut self, before: &Self) {
        fn key(placed: &Placed) -> (String, Role, String) {
            (placed.adapter.clone(), placed.role, placed.text.clone())
        }
        let mut paces: HashMap<_, Vec<Arc<Pace>>> = HashMap::new();
        for placed in before.mappings() {
            paces.entry(key(placed)).or_default().push(placed.pace.clone());
        }
        let subscriptions = self.0.iter_mut().flat_map(|(_, subscriptions)| subscriptions);
        for placed in subscriptions.flat_map(|one| one.filter.iter_mut().chain(&mut one.transform)) {
            if let Some(known) = paces.get_mut(&key(placed)).filter(|known| !known.is_empty()) {
                placed.pace = known.remove(0);
            }
        }
    }

    /// Whether a mapping has a say in where events of this type go.
    pub(super) fn map(&self, event_type: &str) -> bool {
        let mut all = self.0.iter().flat_map(|(_, subscriptions)| subscriptions);
        all.any(|subscription| {
            (subscription.filter.is_some() || subscription.transform.is_some())
                && subscription.matches(event_type)
        })
    }

    pub(super) fn adapters(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(adapter, _)| adapter.as_str())
    }

    /// What an adapter gets: the first subscription whose types match and whose filter passes decides.
    pub(super) fn route(&self, adapter: &str, reading: &mut Reading<'_>, clock: &RunClock) -> Route {
        let found = self.0.iter().find(|(name, _)| name == adapter);
        let Some((_, subscriptions)) = found else {
            return Route::NotWanted;
        };
        for subscription in subscriptions {
            if !subscription.matches(&reading.event.event_type) {
                continue;
            }
            let passes = subscription
                .filter
                .as_ref()
                .map_or(Ok(true), |filter| filter.passes(reading, clock));
            match passes {
                Ok(false) => continue,
                Ok(true) => {}
                Err(failure) => return Route::Failed(failure),
            }
            let Some(transform) = &subscription.transform else {
                return Route::AsItIs;
            };
            return match transform.transforms(reading, clock) {
                Ok(event) => Route::Transformed(Box::new(event)),
                Err(failure) => Route::Failed(failure),
            };
        }
        Route::NotWanted
    }
}

impl Placed {
    /// Why deliveries that depend on it are parked.
    pub(crate) fn slowness() -> String {
        format!(
            "it took more than {} ms of processor time, and {} ms for each KiB of the event, in {SLOW_RUNS} of its last \
             {RUNS_LOOKED_AT} runs",
            SLOW.as_millis(),
            SLOW_PER_KIB.as_millis()
        )
    }

    fn passes(&self, reading: &mut Reading<'_>, clock: &RunClock) -> Result<bool, Failure> {
        self.run(reading, clock, |mapping, input, watch| {
            mapping.passes(input, watch)
        })
    }

    fn transforms(&self, reading: &mut Reading<'_>, clock: &RunClock) -> Result<Event, Failure> {
        let json = self.run(reading, clock, |mapping, input, watch| {
            mapping.transforms(input, watch)
        })?;
        reading.event.with_json_data(json).map_err(|faults| {
            let reason = format!("its output makes no event: {faults}");
            self.failure(reason.clone(), reason)
        })
    }

    fn run<T>(
        &self,
        reading: &mut Reading<'_>,
        clock: &RunClock,
        question: impl FnOnce(&Mapping, &Input, &mut Stopwatch<'_>) -> Result<T, JqError>,
    ) -> Result<T, Failure> {
        if self.pace.is_parked() {
            measures::mapping_run(self, MappingRun::Parked);
            let reason = format!("it is parked: {}", Self::slowness());
            return Err(self.failure(reason.clone(), reason));
        }
        let input = reading.input().map_err(|error| self.refused(&error))?;
        let clock = || clock();
        let mut watch = Stopwatch::new(&clock);
        let answer = question(&self.mapping, input, &mut watch);
        let took = watch.taken();
        self.pace.note(took, input.bytes());
        measures::mapping_took(self.role, took.as_secs_f64());
        let run = if answer.is_ok() {
            MappingRun::Done
        } else {
            MappingRun::Failed
        };
        measures::mapping_run(self, run);
        answer.map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &JqError) -> Failure {
        self.failure(error.detail(), error.to_string())
    }

    fn failure(&self, detail: String, logged: String) -> Failure {
        let place = format!("the {} of its subscription {}", self.role, self.subscription);
        Failure {
            detail: format!("{place}: {detail}"),
            logged: format!("{place}: {logged}"),
        }
    }
}

#[cfg(test)]
mod tests;
