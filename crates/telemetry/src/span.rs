//! One step on the way of an event or a request, from its making to its drop.

use std::borrow::Cow;

use crossdock_model::Traceparent;
use opentelemetry::{
    Context, KeyValue, Value,
    trace::{
        Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
        TraceState, Tracer as _,
    },
};

use crate::TRACER;

/// Which side of an exchange it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Answers a request.
    Server,
    /// Makes a request.
    Client,
    /// Sends a message.
    Producer,
    /// Works on a message.
    Consumer,
}

/// A step that is being taken; its drop ends it. Nothing at all while telemetry is off.
#[must_use]
#[derive(Debug, Default)]
pub struct Span(Option<Box<opentelemetry_sdk::trace::Span>>);

impl Span {
    /// Begins one, under `parent`, or as the first of a trace. `name` is asked for only if telemetry is on.
    pub fn start<N>(kind: Kind, parent: Option<Traceparent>, name: impl FnOnce() -> N) -> Self
    where
        N: Into<Cow<'static, str>>,
    {
        let Some(tracer) = TRACER.get() else {
            return Self(None);
        };
        let context = match parent {
            None => Context::new(),
            Some(parent) => Context::new().with_remote_span_context(foreign(parent)),
        };
        let builder = tracer.span_builder(name().into()).with_kind(match kind {
            Kind::Server => SpanKind::Server,
            Kind::Client => SpanKind::Client,
            Kind::Producer => SpanKind::Producer,
            Kind::Consumer => SpanKind::Consumer,
        });
        Self(Some(Box::new(tracer.build_with_context(builder, &context))))
    }

    /// Whether there is one: telemetry is on.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What goes on under it names this as its parent.
    pub fn traceparent(&self) -> Option<Traceparent> {
        let context = self.0.as_ref()?.span_context();
        let trace_id = u128::from_be_bytes(context.trace_id().to_bytes());
        let span_id = u64::from_be_bytes(context.span_id().to_bytes());
        Traceparent::new(trace_id, span_id, context.is_sampled())
    }

    /// Says more about it. `value` is asked for only if somebody will read it.
    pub fn say<V: Into<Value>>(&mut self, key: &'static str, value: impl FnOnce() -> V) {
        if let Some(span) = self.0.as_mut().filter(|span| span.is_recording()) {
            span.set_attribute(KeyValue::new(key, value()));
        }
    }

    /// Another step has to do with it, that is not its parent.
    pub fn link(&mut self, to: Traceparent) {
        if let Some(span) = &mut self.0 {
            span.add_link(foreign(to), Vec::new());
        }
    }

    /// It went wrong. `what` is one of few words.
    pub fn fail(&mut self, what: &'static str) {
        self.say("error.type", || what);
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(what));
        }
    }
}

fn foreign(traceparent: Traceparent) -> SpanContext {
    let flags = TraceFlags::default().with_sampled(traceparent.is_sampled());
    SpanContext::new(
        TraceId::from(traceparent.trace_id()),
        SpanId::from(traceparent.span_id()),
        flags,
        true,
        TraceState::default(),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn without_telemetry_a_span_is_nothing_and_asks_for_nothing() {
        let mut span = Span::start(Kind::Server, None, || -> &'static str { unreachable!() });
        span.say("key", || -> &'static str { unreachable!() });
        span.fail("nothing");
        assert!(!span.is_on() && span.traceparent().is_none());
        assert_eq!(size_of::<Span>(), size_of::<usize>());
    }

    #[test]
    fn a_traceparent_keeps_its_ids() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = foreign(text.parse().unwrap());
        assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span_id().to_string(), "b7ad6b7169203331");
        assert!(context.is_sampled() && context.is_remote());
        assert!(!foreign(Traceparent::new(1, 2, false).unwrap()).is_sampled());
    }
}
