//! Which publish a confirm and a returned message belong to.
//!
//! RabbitMQ sends an unroutable mandatory message back before it confirms it. The AMQP client keeps
//! what was sent back in one queue and attaches its head to whatever publish is confirmed next, be
//! it the right one or not; a multiple confirm it works off in no particular order. So a publish
//! may be confirmed while its own returned message still waits to be attached to another. This
//! module finds out by the number that a returned message carries, and holds a verdict back while
//! it may still change. It does no I/O.

use std::collections::{BTreeSet, HashMap, VecDeque};

/// What the client said about one publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Ack,
    Nack,
}

/// A message that RabbitMQ sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Returned {
    /// The number of its publish, if it carries one.
    pub(crate) number: Option<u64>,
    pub(crate) code: u16,
    pub(crate) text: String,
}

/// What became of a publish, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Confirmed,
    Nacked,
    Returned { code: u16, text: String },
}

struct Answered {
    number: u64,
    answer: Answer,
    something_attached: bool,
    /// The last publish at the time.
    last: u64,
}

/// All publishes of one channel that have no verdict yet.
#[derive(Default)]
pub(crate) struct Confirms {
    unanswered: BTreeSet<u64>,
    unsettled: VecDeque<Answered>,
    /// Acked, but their returned message may wait behind others, until every publish up to the
    /// second number is answered.
    held: Vec<(u64, u64)>,
    returned: HashMap<u64, Returned>,
    last: u64,
}

impl Confirms {
    /// A publish has been handed to the client. Numbers grow.
    pub(crate) fn published(&mut self, number: u64) {
        self.unanswered.insert(number);
        self.last = number;
    }

    /// The client has answered for a publish, with a returned message attached or without.
    pub(crate) fn answered(&mut self, number: u64, answer: Answer, attached: Option<Returned>) {
        self.unsettled.push_back(Answered {
            number,
            answer,
            something_attached: attached.is_some(),
            last: self.last,
        });
        if let Some(returned) = attached
            && let Some(owner) = returned.number
        {
            self.returned.insert(owner, returned);
        }
    }

    /// How many answers wait to be settled.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// Settles the first `count` answers, given that every answer which the client gave before any
    /// of them has been reported too. The verdicts that are certain now.
    pub(crate) fn settle(&mut self, count: usize) -> Vec<(u64, Verdict)> {
        let mut verdicts = Vec::with_capacity(count);
        for answered in self.unsettled.drain(..count) {
            let number = answered.number;
            self.unanswered.remove(&number);
            match (self.returned.remove(&number), answered.answer) {
                (Some(returned), _) => verdicts.push((number, returned.into())),
                (None, Answer::Nack) => verdicts.push((number, Verdict::Nacked)),
                // Nothing was attached: nothing was waiting, so nothing of this publish was either.
                (None, Answer::Ack) if !answered.something_attached => {
                    verdicts.push((number, Verdict::Confirmed));
                }
                (None, Answer::Ack) => self.held.push((number, answered.last)),
            }
        }
        // At most as many returned messages wait as returned publishes are unanswered: once these
        // are answered, the last of them has been attached to something.
        let oldest = self.unanswered.first().copied().unwrap_or(u64::MAX);
        self.held.retain(|&(number, up_to)| {
            let verdict = match self.returned.remove(&number) {
                Some(returned) => returned.into(),
                None if oldest > up_to => Verdict::Confirmed,
                None => return true,
            };
            verdicts.push((number, verdict));
            false
        });
        verdicts
    }
}

impl From<Returned> for Verdict {
    fn from(returned: Returned) -> Self {
        Self::Returned {
            code: returned.code,
            text: returned.text,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn no_route(number: u64) -> Returned {
        Returned {
            number: Some(number),
            code: 312,
            text: "NO_ROUTE".into(),
        }
    }

    fn settle_all(confirms: &mut Confirms) -> Vec<(u64, Verdict)> {
        confirms.settle(confirms.unsettled())
    }

    #[test]
    fn a_returned_message_attached_to_another_publish_finds_its_own() {
        let mut confirms = Confirms::default();
        (1..=3).for_each(|number| confirms.published(number));
        confirms.answered(3, Answer::Ack, Some(no_route(2)));
        assert_eq!(settle_all(&mut confirms), vec![]);
        confirms.answered(1, Answer::Ack, None);
        assert_eq!(settle_all(&mut confirms), vec![(1, Verdict::Confirmed)]);
        confirms.answered(2, Answer::Ack, None);
        assert_eq!(
            settle_all(&mut confirms),
            vec![(2, no_route(2).into()), (3, Verdict::Confirmed)]
        );
    }

    #[test]
    fn a_publish_confirmed_before_its_returned_message_shows_is_held_back() {
        let mut confirms = Confirms::default();
        (1..=2).for_each(|number| confirms.published(number));
        confirms.answered(2, Answer::Ack, Some(no_route(1)));
        assert_eq!(settle_all(&mut confirms), vec![]);
        confirms.answered(1, Answer::Ack, Some(no_route(2)));
        assert_eq!(
            settle_all(&mut confirms),
            vec![(1, no_route(1).into()), (2, no_route(2).into())]
        );
    }

    #[test]
    fn a_nack_is_a_nack() {
        let mut confirms = Confirms::default();
        confirms.published(1);
        confirms.answered(1, Answer::Nack, None);
        assert_eq!(settle_all(&mut confirms), vec![(1, Verdict::Nacked)]);
    }

    /// What happens on a channel, things chosen by index among those that there are.
    #[derive(Debug, Clone)]
    enum Step {
        Publish {
            routed: bool,
        },
        /// RabbitMQ confirms one publish, or all up to one.
        Confirm {
            index: usize,
            multiple: bool,
        },
        /// One of the client's answers is noticed, not always the oldest.
        Notice {
            index: usize,
        },
        /// All of the client's answers are noticed, and those settled that were noticed before.
        Settle,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => any::<bool>().prop_map(|routed| Step::Publish { routed }),
            3 => (0..50_usize, any::<bool>()).prop_map(|(index, multiple)| Step::Confirm { index, multiple }),
            2 => (0..50_usize).prop_map(|index| Step::Notice { index }),
            1 => Just(Step::Settle),
        ]
    }

    proptest! {
        /// Plays the client: returned messages queue up as publishes reach RabbitMQ, and every
        /// confirm takes the head of the queue, whosever it is.
        #[test]
        fn no_verdict_is_ever_wrong_and_none_is_missing(
            mut steps in prop::collection::vec(step(), 0..200), shuffle in any::<u64>()
        ) {
            let mut confirms = Confirms::default();
            let mut waiting = VecDeque::new();
            let mut routed = BTreeMap::new();
            let mut open = Vec::new();
            let mut given = Vec::new();
            let mut verdicts = BTreeMap::new();
            let mut number = 0;
            steps.extend([Step::Confirm { index: usize::MAX, multiple: true }, Step::Settle, Step::Settle]);
            for step in steps {
                match step {
                    Step::Publish { routed: is_routed } => {
                        number += 1;
                        confirms.published(number);
                        routed.insert(number, is_routed);
                        open.push(number);
                        if !is_routed {
                            waiting.push_back(no_route(number));
                        }
                    }
                    Step::Confirm { index, multiple } if !open.is_empty() => {
                        let index = index.min(open.len() - 1);
                        let mut confirmed: Vec<u64> =
                            if multiple { open.drain(..=index).collect() } else { vec![open.remove(index)] };
                        confirmed.sort_by_key(|number| number.wrapping_mul(shuffle | 1));
                        given.extend(confirmed.into_iter().map(|number| (number, waiting.pop_front())));
                    }
                    Step::Notice { index } if !given.is_empty() => {
                        let (number, attached) = given.remove(index % given.len());
                        confirms.answered(number, Answer::Ack, attached);
                    }
                    Step::Confirm { .. } | Step::Notice { .. } => {}
                    Step::Settle => {
                        let noticed = confirms.unsettled();
                        for (number, attached) in given.drain(..).rev() {
                            confirms.answered(number, Answer::Ack, attached);
                        }
                        for (number, verdict) in confirms.settle(noticed) {
                            prop_assert!(verdicts.insert(number, verdict).is_none());
                        }
                    }
                }
            }
            prop_assert_eq!(verdicts.len(), routed.len());
            for (number, verdict) in verdicts {
                prop_assert_eq!(verdict == Verdict::Confirmed, routed[&number], "publish {}", number);
            }
        }
    }
}
