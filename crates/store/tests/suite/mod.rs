//! What every backend must do. A backend's test names its database type in `conformance!` and every case below
//! runs on a fresh database of that type.

pub mod crash;
pub mod dead_letters;
pub mod figures;
pub mod finding;
pub mod ledger;
pub mod odd_text;
pub mod outcomes;
pub mod people;
pub mod quarantine;
pub mod record;
pub mod retention;
pub mod set_up;
pub mod states;
pub mod together;
pub mod tokens;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use crossdock_model::event::{AttributeValue, Event};
use crossdock_store::{Accepted, Batch, DeliveryRow, Outcome, OutcomeKind, Store, StoredEvent};

/// A database of its own for one case, gone when dropped.
pub trait Database: Sized {
    async fn fresh() -> Self;

    fn url(&self) -> &str;

    /// A connection to it, as another process would have.
    async fn open(&self) -> Store {
        crossdock_store::open(self.url()).await.unwrap()
    }

    /// Waits until nothing is under way for a process that was killed.
    async fn at_rest(&self) {}
}

/// Makes a test of every case, on the database type given.
#[macro_export]
macro_rules! conformance {
    ($database:ty) => {
        $crate::conformance! { $database:
            record {
                an_event_is_kept_to_the_letter, a_batch_of_any_size_is_kept, a_repeated_batch_adds_only_to_counters,
                a_key_repeated_in_a_batch_counts_once, one_id_of_two_sources_is_two_events,
                keys_and_chains_are_looked_up, two_hubs_record_the_same_events_once, a_new_connection_sees_it_all,
            }
            finding {
                each_condition_selects, pages_follow_each_other_both_ways, patterns_match_whole_segments,
                a_journey_follows_names_as_far_as_they_lead, a_journey_is_bounded, a_page_ends_with_its_bytes,
                a_journey_leaves_out_large_data, a_number_is_found_whatever_system_it_is_of,
            }
            outcomes {
                receipts_settle_only_their_senders_deliveries, saying_it_again_changes_nothing,
                done_stands_whatever_else_is_said, failures_are_parked_with_their_attempts,
                a_word_before_its_event_waits_for_it, words_for_one_id_of_two_sources_find_both,
                of_a_queue_that_takes_nothing_the_first_and_the_latest_attempt_are_kept,
                the_order_of_words_and_record_does_not_matter, invented_ids_push_out_only_their_own,
                impossible_ids_are_refused, a_failure_is_tried_again_and_handed_over, standings_tell_what_is_known,
            }
            dead_letters { they_come_latest_first_page_by_page, one_that_is_handed_over_is_none, }
            ledger {
                each_delivery_counts_in_one_state, pending_deliveries_come_oldest_first, a_place_among_them_is_found,
                activity_is_remembered,
            }
            figures {
                events_are_counted_by_interval, a_histogram_is_bounded, sources_are_counted_and_their_last_is_known,
                of_many_sources_those_that_sent_something_last_are_shown,
                attempts_are_counted_once_each, what_lies_between_two_offsets_is_counted,
            }
            quarantine { a_message_is_kept_whole_and_once, a_message_that_comes_back_waits_again, pages_go_back, }
            set_up {
                revisions_are_numbered_without_gaps, of_two_revisions_at_once_one_wins, api_keys_live_and_end,
                credentials_have_generations, endpoints_are_disabled_and_enabled, hubs_come_and_go,
            }
            people {
                of_many_first_people_one_is_added, people_come_change_and_go, the_last_one_of_a_role_stays,
                a_session_begins_with_the_right_password_only, the_oldest_of_too_many_sessions_ends,
                sessions_end_with_what_they_rest_on, sessions_that_are_over_are_forgotten,
            }
            tokens {
                all_hubs_name_the_environment_alike, signing_keys_are_known_until_they_verify_nothing,
                retired_keys_sign_no_longer, revocations_hold_until_they_are_moot, a_revoked_api_key_is_a_revocation,
                revocations_of_each_revoker_are_bounded,
            }
            retention {
                only_what_is_old_and_settled_is_forgotten, the_ledger_goes_on_as_if_it_were_there,
                each_step_is_bounded_and_a_pass_ends, what_is_forgotten_is_new_when_it_comes_again,
                the_quarantine_is_bounded_by_age_and_by_producer, the_oldest_that_was_not_taken_is_found,
            }
            states {
                an_event_changes_a_topic_by_each_of_its_rules_once,
                the_latest_stands_and_nothing_goes_back, what_events_say_is_put_together,
                versions_grow_even_when_topics_are_forgotten, a_step_of_forgetting_is_bounded,
                topics_that_begin_alike_come_page_by_page, a_page_looks_at_no_more_than_it_may, order_values_are_kept_whatever_they_are,
                many_hubs_project_the_same,
            }
            odd_text {
                it_is_kept_to_the_letter, nothing_bears_such_a_name, it_settles_nothing_and_stops_nothing,
                order_is_that_of_bytes,
            }
            together {
                who_follows_the_record_misses_nothing, a_record_and_a_word_about_it_find_each_other,
                hubs_that_settle_the_same_do_not_block_each_other, many_open_a_new_database_at_once,
            }
            crash { killed_while_recording, readers_see_whole_batches, }
        }
    };
    ($database:ty: $($module:ident { $($case:ident),* $(,)? })*) => {
        $(mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let database = <$database as $crate::suite::Database>::fresh().await;
                $crate::suite::$module::$case(&database).await;
            })*
        })*
    };
}

/// A moment, `second` seconds into the cases' time.
pub fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap() + TimeDelta::seconds(second)
}

pub fn event(source: &str, id: &str, event_type: &str) -> Event {
    Event {
        id: id.into(),
        source: source.into(),
        event_type: event_type.into(),
        subject: None,
        time: None,
        data_content_type: Some("application/json".into()),
        data_schema: None,
        extensions: [].into(),
        data: Some(Bytes::from_static(b"{}")),
    }
}

pub fn order(id: &str) -> Event {
    event("/shop", id, "order.placed.v1")
}

pub fn with_extension(mut event: Event, name: &str, value: &str) -> Event {
    event
        .extensions
        .insert(name.into(), AttributeValue::String(value.into()));
    event
}

/// Accepted and published in the cases' first second.
pub fn accepted(event: Event, targets: &[&str]) -> Accepted {
    Accepted {
        event,
        producer: "shop".into(),
        received: at(0),
        published: at(1),
        targets: targets.iter().map(|&target| target.into()).collect(),
        chain: 0,
    }
}

pub fn batch(accepted: impl IntoIterator<Item = Accepted>) -> Batch {
    Batch {
        accepted: accepted.into_iter().collect(),
        ..Batch::default()
    }
}

/// A word of an adapter about an event, which names no source.
pub fn word(adapter: &str, event_id: &str, kind: OutcomeKind) -> Outcome {
    Outcome {
        adapter: adapter.into(),
        event_id: event_id.into(),
        source: None,
        kind,
        detail: None,
        retry_after_s: None,
        duration_ms: None,
        attempt: None,
        due: None,
        at: at(2),
    }
}

pub fn ids(events: &[StoredEvent]) -> Vec<&str> {
    events.iter().map(|stored| stored.event.id.as_str()).collect()
}

/// The only event of this id.
pub async fn only(store: &Store, id: &str) -> StoredEvent {
    let mut found = store.event(id, None).await.unwrap();
    assert_eq!(found.len(), 1, "events of id {id}");
    found.remove(0)
}

/// The delivery of the only event of this id to `adapter`.
pub async fn delivery(store: &Store, id: &str, adapter: &str) -> DeliveryRow {
    let found = only(store, id).await.deliveries;
    found
        .into_iter()
        .find(|delivery| delivery.adapter == adapter)
        .unwrap()
}
