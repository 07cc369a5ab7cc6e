//! Spans about messages, in the words of OpenTelemetry's conventions for messaging and RabbitMQ
//! (<https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/>).

use crossdock_model::{Traceparent, event::Event};

use crate::{Kind, Span};

/// What is done with a message: the operation's type and name are one word here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    word: &'static str,
    kind: Kind,
}

/// Handing a message over to RabbitMQ.
pub const SEND: Operation = Operation {
    word: "send",
    kind: Kind::Producer,
};
/// Working on a message.
pub const PROCESS: Operation = Operation {
    word: "process",
    kind: Kind::Consumer,
};

/// A step with a message in it.
pub struct Messaging<'a> {
    /// What is done.
    pub operation: Operation,
    /// The exchange it goes or came through.
    pub exchange: &'a str,
    /// The queue it came from.
    pub queue: Option<&'a str>,
    /// The event in it.
    pub event: &'a Event,
}

impl Messaging<'_> {
    /// Begins the step's span. Routing keys are left out of the destination's name: they may be personal.
    pub fn start(&self, parent: Option<Traceparent>) -> Span {
        let word = self.operation.word;
        let mut span = Span::start(self.operation.kind, parent, || {
            format!("{word} {}", self.destination())
        });
        span.say("messaging.system", || "rabbitmq");
        span.say("messaging.operation.type", || word);
        span.say("messaging.operation.name", || word);
        span.say("messaging.destination.name", || self.destination());
        span.say("messaging.message.id", || self.event.id.clone());
        span.say("cloudevents.event_id", || self.event.id.clone());
        span.say("cloudevents.event_source", || self.event.source.clone());
        span.say("cloudevents.event_type", || self.event.event_type.clone());
        span
    }

    fn destination(&self) -> String {
        match self.queue {
            None => self.exchange.to_owned(),
            Some(queue) => format!("{}:{queue}", self.exchange),
        }
    }
}
