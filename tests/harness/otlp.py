"""A collector of traces in the tests' own process: takes OTLP over HTTP as protobuf, decodes it with OpenTelemetry's own
messages, and answers what was sent by whom, under what."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wire

from harness.wait import eventually

KINDS = {
    Wire.SPAN_KIND_SERVER: "server",
    Wire.SPAN_KIND_CLIENT: "client",
    Wire.SPAN_KIND_PRODUCER: "producer",
    Wire.SPAN_KIND_CONSUMER: "consumer",
}


def new_traceparent() -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def trace_of(traceparent: str) -> str:
    return traceparent.split("-")[1]


def step_of(traceparent: str) -> str:
    return traceparent.split("-")[2]


@dataclass(frozen=True)
class Span:
    """One span as it came."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: list[str]
    failed: bool
    attributes: dict[str, object]

    @property
    def event(self) -> object:
        return self.attributes.get("cloudevents.event_id")


def value_of(value) -> object:
    return getattr(value, value.WhichOneof("value"))


class OtlpCollector:
    """Listens from its making on, until `stop`."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._lock = threading.Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
                collector._take(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            about = {item.key: value_of(item.value) for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                with self._lock:
                    self._spans += [read(str(about["service.name"]), span) for span in scope.spans]

    def spans(self, trace: str | None = None) -> list[Span]:
        """Everything so far, or what belongs to one trace."""
        with self._lock:
            return [span for span in self._spans if trace in (None, span.trace)]

    def one(self, name: str, within_s: float = 20, **wanted: object) -> Span:
        """The one span of that name whose fields are these, once it has come."""

        def found() -> Span | None:
            fits = [
                span
                for span in self.spans()
                if span.name == name and all(getattr(span, key) == value for key, value in wanted.items())
            ]
            assert len(fits) <= 1, fits
            return fits[0] if fits else None

        return eventually(f"a span {name} with {wanted}", found, within_s)


def read(service: str, span: Wire) -> Span:
    return Span(
        service=service,
        name=span.name,
        kind=KINDS.get(span.kind, "internal"),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=[link.trace_id.hex() for link in span.links],
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        attributes={item.key: value_of(item.value) for item in span.attributes},
    )
