//! Publishing on one channel, many at a time: a window of unconfirmed publishes, a deadline on each,
//! and every confirm awaited. One task, the [`Pump`], does all the publishing on a channel, because
//! the AMQP client numbers publishes correctly only when they come from one place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossdock_model::{Clock, SystemClock};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::confirms::{Answer, Confirms, Returned, Verdict};
use crate::error::PublishError;
use crate::link::Link;
use crate::message::{Outgoing, Prepared, prepare, returned_tag};
use crate::publisher::{CONFIRM_DEADLINE, LinkState, WINDOW};

/// How long a publish waits for a link that is just being made.
const PATIENCE: Duration = Duration::from_secs(1);
/// A publish unconfirmed for so long will not be: the link is given up.
const STALLED: Duration = Duration::from_secs(30);
const HEALTH_CHECK_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) type Outcome = Result<(), PublishError>;

/// The end into which messages go. Clones share one window.
#[derive(Clone)]
pub(crate) struct Pipeline {
    requests: mpsc::Sender<Request>,
    window: Arc<Semaphore>,
    state: watch::Receiver<LinkState>,
}

/// The end that publishes, over one link after another.
pub(crate) struct Pump {
    requests: mpsc::Receiver<Request>,
    state: watch::Sender<LinkState>,
}

struct Request {
    message: Prepared,
    reply: Reply,
}

/// To whom a publish answers. The place in the window is given back with the answer, however long
/// ago the caller stopped waiting.
struct Reply {
    caller: oneshot::Sender<Outcome>,
    _place: OwnedSemaphorePermit,
}

impl Reply {
    fn send(self, outcome: Outcome) {
        // A caller whose deadline has passed is gone.
        let _ = self.caller.send(outcome);
    }
}

/// A publish on its way.
pub(crate) struct Ticket {
    answer: oneshot::Receiver<Outcome>,
    deadline: Instant,
}

pub(crate) fn pipeline(state: LinkState) -> (Pipeline, Pump) {
    let (requests, accepted) = mpsc::channel(WINDOW);
    let (sender, receiver) = watch::channel(state);
    (
        Pipeline {
            requests,
            window: Arc::new(Semaphore::new(WINDOW)),
            state: receiver,
        },
        Pump {
            requests: accepted,
            state: sender,
        },
    )
}

impl Pipeline {
    pub(crate) fn state(&self) -> LinkState {
        self.state.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// Hands the message over, in the order of calls, once the window has a place for it.
    pub(crate) async fn submit(&self, message: Outgoing) -> Result<Ticket, PublishError> {
        let message = prepare(message)?;
        let deadline = Instant::now() + CONFIRM_DEADLINE;
        self.link_is_up().await?;
        let place = timeout_at(deadline, Arc::clone(&self.window).acquire_owned())
            .await
            .map_err(|_| self.late())?
            .expect("the window is never closed");
        let (caller, answer) = oneshot::channel();
        let request = Request {
            message,
            reply: Reply {
                caller,
                _place: place,
            },
        };
        self.requests.try_send(request).map_err(|_| self.ended())?;
        Ok(Ticket { answer, deadline })
    }

    /// Awaits the confirm, until the deadline that began with [`submit`](Self::submit).
    pub(crate) async fn outcome(&self, ticket: Ticket) -> Outcome {
        match timeout_at(ticket.deadline, ticket.answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(self.ended()),
            Err(_) => Err(self.late()),
        }
    }

    async fn link_is_up(&self) -> Result<(), PublishError> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, LinkState::Down { .. }));
        match timeout(PATIENCE, settled).await {
            Ok(Ok(state)) => match &*state {
                LinkState::Blocked { reason } => Err(PublishError::Blocked(reason.clone())),
                _ => Ok(()),
            },
            _ => Err(self.ended()),
        }
    }

    fn ended(&self) -> PublishError {
        match &*self.state.borrow() {
            LinkState::Down { reason, .. } => PublishError::Unavailable(reason.clone()),
            _ => PublishError::Unavailable("the connection ended".into()),
        }
    }

    fn late(&self) -> PublishError {
        match &*self.state.borrow() {
            LinkState::Blocked { reason } => PublishError::Blocked(reason.clone()),
            _ => PublishError::Timeout,
        }
    }
}

impl Pump {
    pub(crate) fn set_state(&self, state: LinkState) {
        self.state.send_replace(state);
    }

    pub(crate) fn set_down(&self, reason: String) {
        let since = match &*self.state.borrow() {
            LinkState::Down { since, .. } => *since,
            _ => SystemClock.now(),
        };
        self.set_state(LinkState::Down { since, reason });
    }

    /// Whether nobody is left who could hand in a message.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.requests.sender_strong_count() == 0
    }

    /// Answers whoever comes with "not available", until all are gone.
    pub(crate) async fn refuse(&mut self, reason: &str) {
        while let Some(request) = self.requests.recv().await {
            request
                .reply
                .send(Err(PublishError::Unavailable(reason.to_owned())));
        }
    }

    /// Publishes over the link until it ends, and says why it did. When `stop` is cancelled, takes
    /// nothing new and ends once everything that somebody waits for is answered.
    pub(crate) async fn run(&mut self, link: &Link, stop: &CancellationToken) -> String {
        let mut events = link.events().boxed();
        let mut flight = Flight::over(Arc::clone(&link.channel));
        let mut health_check = interval(HEALTH_CHECK_INTERVAL);
        health_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.set_state(LinkState::Connected);
        let reason = loop {
            let stopping = stop.is_cancelled();
            if stopping && !flight.is_awaited() {
                break "stopped".to_owned();
            }
            tokio::select! {
                step = flight.step(), if !flight.is_empty() => {
                    if let Err(reason) = step {
                        break reason;
                    }
                }
                request = self.requests.recv(), if !stopping => match request {
                    Some(request) => flight.publish(request),
                    None => break "no publisher is left".to_owned(),
                },
                event = events.next() => match event {
                    Some(lapin::Event::ConnectionBlocked(reason)) => {
                        self.set_state(LinkState::Blocked { reason });
                    }
                    Some(lapin::Event::ConnectionUnblocked) => self.set_state(LinkState::Connected),
                    Some(lapin::Event::Error(error)) => break error.to_string(),
                    Some(_) => {}
                    None => break "the connection ended".to_owned(),
                },
                _ = health_check.tick() => {
                    if !link.is_open() {
                        break "the connection ended".to_owned();
                    }
                    let blocked = matches!(&*self.state.borrow(), LinkState::Blocked { .. });
                    if !blocked && flight.is_stalled() {
                        break format!("no confirm for {} s", STALLED.as_secs());
                    }
                }
                () = stop.cancelled(), if !stopping => {}
            }
        };
        self.set_down(reason.clone());
        flight.fail(&reason);
        reason
    }
}

/// The publishes under way on one channel.
struct Flight {
    channel: Arc<Channel>,
    answers: FuturesUnordered<BoxFuture<'static, Arrival>>,
    confirms: Confirms,
    replies: BTreeMap<u64, (Reply, Instant)>,
    last: u64,
    mark: Option<Mark>,
}

enum Arrival {
    Answer(u64, Result<(Answer, Option<Returned>), String>),
    /// Arrivals come in the order in which they were completed or sent off: when the mark comes,
    /// every answer has come that the client gave before the mark was sent off.
    Mark,
}

/// A mark on its way, and how many answers were unsettled when it was sent off.
struct Mark(usize);

impl Flight {
    fn over(channel: Arc<Channel>) -> Self {
        Self {
            channel,
            answers: FuturesUnordered::new(),
            confirms: Confirms::default(),
            replies: BTreeMap::new(),
            last: 0,
            mark: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.replies.is_empty() && self.answers.is_empty()
    }

    fn is_awaited(&self) -> bool {
        self.replies.values().any(|(reply, _)| !reply.caller.is_closed())
    }

    fn is_stalled(&self) -> bool {
        self.replies
            .first_key_value()
            .is_some_and(|(_, (_, since))| since.elapsed() > STALLED)
    }

    fn publish(&mut self, Request { mut message, reply }: Request) {
        if reply.caller.is_closed() {
            return;
        }
        self.last += 1;
        let number = self.last;
        let channel = Arc::clone(&self.channel);
        let properties = message.properties(number);
        let options = BasicPublishOptions {
            mandatory: message.mandatory,
            ..BasicPublishOptions::default()
        };
        let mut answer = async move {
            let confirm = channel.basic_publish(
                message.exchange,
                message.routing_key,
                options,
                &message.body,
                properties,
            );
            let answer = match confirm.await {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            Arrival::Answer(number, answer.map_err(|error| error.to_string()).and_then(read))
        }
        .boxed();
        self.confirms.published(number);
        self.replies.insert(number, (reply, Instant::now()));
        // The first poll numbers the publish and queues its frames: it must happen in this order.
        match answer.as_mut().now_or_never() {
            Some(arrival) => self.answers.push(std::future::ready(arrival).boxed()),
            None => self.answers.push(answer),
        }
    }

    /// Takes in one answer. An error ends the link.
    async fn step(&mut self) -> Result<(), String> {
        match self.answers.next().await {
            Some(Arrival::Answer(number, Ok((answer, attached)))) => {
                self.confirms.answered(number, answer, attached);
                self.send_mark();
            }
            Some(Arrival::Answer(_, Err(reason))) => return Err(reason),
            Some(Arrival::Mark) => {
                let Mark(noticed) = self.mark.take().unwrap_or(Mark(0));
                for (number, verdict) in self.confirms.settle(noticed) {
                    if let Some((reply, _)) = self.replies.remove(&number) {
                        reply.send(outcome(verdict));
                    }
                }
                self.send_mark();
            }
            None => {}
        }
        Ok(())
    }

    fn send_mark(&mut self) {
        let unsettled = self.confirms.unsettled();
        if self.mark.is_none() && unsettled > 0 {
            self.mark = Some(Mark(unsettled));
            self.answers.push(std::future::ready(Arrival::Mark).boxed());
        }
    }

    fn fail(self, reason: &str) {
        for (reply, _) in self.replies.into_values() {
            reply.send(Err(PublishError::Unavailable(reason.to_owned())));
        }
    }
}

fn read(confirmation: Confirmation) -> Result<(Answer, Option<Returned>), String> {
    let (answer, returned) = match confirmation {
        Confirmation::Ack(returned) => (Answer::Ack, returned),
        Confirmation::Nack(returned) => (Answer::Nack, returned),
        Confirmation::NotRequested => return Err("the channel is not in confirm mode".to_owned()),
    };
    let returned = returned.map(|message| Returned {
        number: returned_tag(&message.delivery.properties),
        code: message.reply_code,
        text: message.reply_text.to_string(),
    });
    Ok((answer, returned))
}

fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Confirmed => Ok(()),
        Verdict::Nacked => Err(PublishError::Nacked),
        Verdict::Returned { code, text } => Err(PublishError::Returned { code, text }),
    }
}
