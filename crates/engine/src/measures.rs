//! What the hub counts for Prometheus. Labels are bounded: outcomes are few, and an adapter that the revision in
//! force does not know is counted as `other`.

use std::{sync::Once, time::Duration};

use crossdock_store::{OutcomeKind, StateVerdict};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::routing::{Placed, Role, Routing};

const EVENTS: &str = "crossdock_events_total";
const DELIVERIES: &str = "crossdock_deliveries_total";
const OUTCOMES: &str = "crossdock_outcomes_total";
const BATCH_SECONDS: &str = "crossdock_gate_batch_seconds";
const QUEUE_READY: &str = "crossdock_queue_ready";
const QUEUE_UNACKED: &str = "crossdock_queue_unacked";
const WEBHOOK_REQUESTS: &str = "crossdock_webhook_requests_total";
const WEBHOOK_SECONDS: &str = "crossdock_webhook_seconds";
const WEBHOOK_IN_FLIGHT: &str = "crossdock_webhook_in_flight";
const TASK_RESTARTS: &str = "crossdock_task_restarts_total";
const FORGOTTEN: &str = "crossdock_forgotten_total";
const ALARMS: &str = "crossdock_alarms";
const MAPPING_RUNS: &str = "crossdock_mapping_runs_total";
const MAPPING_SECONDS: &str = "crossdock_mapping_seconds";

const STATES: &str = "crossdock_states_total";
const TOKENS_MINTED: &str = "crossdock_browser_tokens_minted_total";
const TOKENS_REFUSED: &str = "crossdock_browser_tokens_refused_total";

const OTHER_ADAPTER: &str = "other";

static DESCRIBED: Once = Once::new();

/// Says what each name means, once in a process.
pub(crate) fn describe() {
    DESCRIBED.call_once(|| {
        describe_counter!(
            EVENTS,
            "Messages that the gate judged, by outcome: accepted, duplicate, redelivered, quarantined"
        );
        describe_counter!(DELIVERIES, "Events published to an adapter's queue and confirmed");
        describe_counter!(OUTCOMES, "What adapters and RabbitMQ said about deliveries");
        describe_histogram!(
            BATCH_SECONDS,
            Unit::Seconds,
            "From taking a batch to its record, before its ack"
        );
        describe_gauge!(QUEUE_READY, "Messages waiting in a queue of Crossdock");
        describe_gauge!(
            QUEUE_UNACKED,
            "Messages of a queue of Crossdock that are handed out and not acked"
        );
        describe_counter!(
            WEBHOOK_REQUESTS,
            "Attempts to post an event to a webhook endpoint, by what came of them: success, failure, overloaded, \
             gone, time_out, tls, unreachable, refused, unsent"
        );
        describe_histogram!(
            WEBHOOK_SECONDS,
            Unit::Seconds,
            "From the beginning of a request to a webhook endpoint to its end"
        );
        describe_gauge!(WEBHOOK_IN_FLIGHT, "Requests to a webhook endpoint that are under way");
        describe_counter!(TASK_RESTARTS, "Tasks of the hub that had to be started again");
        describe_counter!(FORGOTTEN, "What was kept as long as it had to be: events, quarantined messages, states");
        describe_gauge!(ALARMS, "Things that want an operator's attention");
        describe_counter!(
            MAPPING_RUNS,
            "What filters and transforms did, by outcome: done, failed, parked (not run, because it is slow)"
        );
        describe_counter!(
            STATES,
            "What rules made of events, by outcome: changed, late, known (the event has been here before), failed"
        );
        describe_histogram!(
            MAPPING_SECONDS,
            Unit::Seconds,
            "Processor time of a run of a filter or transform"
        );
        describe_counter!(TOKENS_MINTED, "Browser tokens that were given out");
        describe_counter!(TOKENS_REFUSED, "Browser tokens that opened nothing, by reason");
    });
}

/// What became of the messages of a batch.
#[derive(Clone, Copy)]
pub(crate) enum Judgement {
    Accepted,
    Duplicate,
    Redelivered,
    Quarantined,
}

pub(crate) fn judged(judgement: Judgement, count: usize) {
    let outcome = match judgement {
        Judgement::Accepted => "accepted",
        Judgement::Duplicate => "duplicate",
        Judgement::Redelivered => "redelivered",
        Judgement::Quarantined => "quarantined",
    };
    counter!(EVENTS, "outcome" => outcome).increment(count as u64);
}

pub(crate) fn delivered(routing: &Routing, adapter: &str, count: u64) {
    counter!(DELIVERIES, "adapter" => label(routing, adapter)).increment(count);
}

pub(crate) fn outcome(routing: &Routing, adapter: &str, kind: OutcomeKind) {
    let outcome = match kind {
        OutcomeKind::Done => "done",
        OutcomeKind::Retry => "retry",
        OutcomeKind::Dead => "dead",
        OutcomeKind::Rejected => "rejected",
        OutcomeKind::DeliveryLimit => "delivery_limit",
        OutcomeKind::Undelivered => "undelivered",
        OutcomeKind::HandedOver => "handed_over",
    };
    counter!(OUTCOMES, "adapter" => label(routing, adapter), "outcome" => outcome).increment(1);
}

pub(crate) fn token_minted() {
    counter!(TOKENS_MINTED).increment(1);
}

pub(crate) fn token_refused(reason: &'static str) {
    counter!(TOKENS_REFUSED, "reason" => reason).increment(1);
}

/// What became of a mapping's run.
#[derive(Clone, Copy)]
pub(crate) enum MappingRun {
    Done,
    Failed,
    Parked,
}

/// Mappings are those of the revision in force, so there are no more labels than adapters.
pub(crate) fn mapping_run(mapping: &Placed, run: MappingRun) {
    let outcome = match run {
        MappingRun::Done => "done",
        MappingRun::Failed => "failed",
        MappingRun::Parked => "parked",
    };
    let labels = [
        ("adapter", mapping.adapter.clone()),
        ("mapping", mapping.role.to_string()),
        ("outcome", outcome.to_owned()),
    ];
    counter!(MAPPING_RUNS, &labels).increment(1);
}

pub(crate) fn mapping_took(role: Role, seconds: f64) {
    histogram!(MAPPING_SECONDS, "mapping" => role.to_string()).record(seconds);
}

pub(crate) fn batch_took(seconds: f64) {
    histogram!(BATCH_SECONDS).record(seconds);
}

pub(crate) fn queue(name: &str, ready: u64, unacked: u64) {
    gauge!(QUEUE_READY, "queue" => name.to_owned()).set(ready as f64);
    gauge!(QUEUE_UNACKED, "queue" => name.to_owned()).set(unacked as f64);
}

/// What became of a state that a rule made.
#[derive(Clone, Copy)]
pub(crate) enum Projection {
    Changed,
    Late,
    Known,
    Failed,
}

impl From<StateVerdict> for Projection {
    fn from(verdict: StateVerdict) -> Self {
        match verdict {
            StateVerdict::Changed => Self::Changed,
            StateVerdict::Late => Self::Late,
            StateVerdict::Known => Self::Known,
            StateVerdict::TooLarge => Self::Failed,
        }
    }
}

pub(crate) fn projected(projection: Projection, count: usize) {
    let outcome = match projection {
        Projection::Changed => "changed",
        Projection::Late => "late",
        Projection::Known => "known",
        Projection::Failed => "failed",
    };
    counter!(STATES, "outcome" => outcome).increment(count as u64);
}

/// What came of an attempt to post an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Success,
    Failure,
    Overloaded,
    Gone,
    TimeOut,
    Tls,
    Unreachable,
    Refused,
    Unsent,
}

/// `took`: none, if nothing was sent.
pub(crate) fn webhook_answered(adapter: &str, answer: Answer, took: Option<Duration>) {
    let outcome = match answer {
        Answer::Success => "success",
        Answer::Failure => "failure",
        Answer::Overloaded => "overloaded",
        Answer::Gone => "gone",
        Answer::TimeOut => "time_out",
        Answer::Tls => "tls",
        Answer::Unreachable => "unreachable",
        Answer::Refused => "refused",
        Answer::Unsent => "unsent",
    };
    counter!(WEBHOOK_REQUESTS, "adapter" => adapter.to_owned(), "outcome" => outcome).increment(1);
    if let Some(took) = took {
        histogram!(WEBHOOK_SECONDS, "adapter" => adapter.to_owned()).record(took.as_secs_f64());
    }
}

pub(crate) fn webhooks_in_flight(adapter: &str, count: usize) {
    gauge!(WEBHOOK_IN_FLIGHT, "adapter" => adapter.to_owned()).set(count as f64);
}

pub(crate) fn task_restarted(task: &str) {
    counter!(TASK_RESTARTS, "task" => task.to_owned()).increment(1);
}

pub(crate) fn forgotten(what: &'static str, count: u64) {
    counter!(FORGOTTEN, "what" => what).increment(count);
}

pub(crate) fn alarms(count: usize) {
    gauge!(ALARMS).set(count as f64);
}

fn label(routing: &Routing, adapter: &str) -> String {
    if routing.adapters.contains_key(adapter) {
        adapter.to_owned()
    } else {
        OTHER_ADAPTER.to_owned()
    }
}
