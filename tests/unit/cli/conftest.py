"""A small HTTP server in place of the gateway, scripted by the test."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Gateway:
    """Answers by `METHOD path`; a callable gets the request and returns (status, body) or writes by itself."""

    def __init__(self):
        self.answers = {}
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self):
                length = int(self.headers.get("content-length") or 0)
                self.body = self.rfile.read(length)
                path, _, self.query = self.path.partition("?")
                outer.requests.append(
                    (self.command, path, self.query, dict(self.headers), self.body)
                )
                answer = outer.answers.get(
                    f"{self.command} {path}", (404, {"detail": "there is no such thing"})
                )
                if callable(answer):
                    answer = answer(self)
                if answer is None:
                    return
                status, body = answer
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

            def log_message(self, *_):
                pass

            def stream(self, *messages):
                """Server-sent events, then the connection is closed."""
                self.close_connection = True
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                for number, (event, data) in messages:
                    text = f"id: {number}\nevent: {event}\ndata: {json.dumps(data)}\n\n"
                    self.wfile.write(text.encode())

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def gateway(monkeypatch):
    made = Gateway()
    monkeypatch.setenv("CADENZA_URL", made.url)
    monkeypatch.setenv("CADENZA_API_KEY", "a-key")
    yield made
    made.close()
