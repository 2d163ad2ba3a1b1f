"""One trace goes from the HTTP request over Kafka to the run, as an OTLP collector sees it."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.builders.runs import a_step
from tests.promises.platform import platform

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector:
    """Takes OTLP over HTTP and remembers the spans."""

    def __init__(self):
        self.spans: list[tuple[str, str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                import gzip

                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                request = ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    names = {a.key: a.value.string_value for a in resource.resource.attributes}
                    for scope in resource.scope_spans:
                        collector.spans += [
                            (names["service.name"], span.name, span.trace_id.hex())
                            for span in scope.spans
                        ]
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def services_of(self, trace: str) -> set[str]:
        return {service for service, _, found in self.spans if found == trace}

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.mark.timeout(120)
def test_one_trace_from_request_to_run(kafka_process, mongo_process, tmp_path):
    collector = Collector()
    try:
        with platform(kafka_process, mongo_process, tmp_path) as cadenza:
            env = {"TELEMETRY__OTLP_ENDPOINT": collector.url}
            cadenza.service("gateway", **env)
            cadenza.service("executor", **env)
            execution_id = cadenza.submit(
                a_step(), headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
            )
            cadenza.wait_final(execution_id)
            cadenza.until(
                lambda: collector.services_of(TRACE) >= {"gateway", "executor"},
                timeout=20,
                what=f"spans of both services, have {collector.spans}",
            )
            assert "run" in {name for _, name, trace in collector.spans if trace == TRACE}
    finally:
        collector.close()
