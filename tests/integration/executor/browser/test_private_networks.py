"""A page outside tries everything to reach what only the inside may: it is refused, however it asks."""

import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network

import pytest

from services.executor.commands.reach import BrowserPlace
from services.executor.settings import ExecutorGroup
from tests.integration.executor.browser.conftest import run

OUTSIDE = "127.0.0.2"
"""Stands for the public net: the one address that is allowed here."""
PLACE = BrowserPlace(allowed_networks=(ip_network(f"{OUTSIDE}/32"),))

PAGE = """<!doctype html><title>Outside</title>
<img src="http://127.0.0.1:{port}/img"><iframe src="http://localhost:{port}/frame"></iframe>
<link rel=preconnect href="http://127.0.0.1:{port}/"><link rel=stylesheet href="http://127.0.0.1:{port}/css">
<iframe src="file:///etc/passwd"></iframe><script src="/redirect?script"></script>
<script>
const inside = ['127.0.0.1', 'localhost', '2130706433', '0x7f.1', '[::1]', '[::ffff:127.0.0.1]', '0.0.0.0']
const asked = inside.map(host => `http://${{host}}:{port}/fetch`).concat(
  '/redirect?fetch', 'file:///etc/passwd', 'http://169.254.169.254/latest/meta-data/')
const tries = asked.map(url => fetch(url, {{mode: 'no-cors'}}).then(() => 'let through: ' + url, () => 'refused'))
tries.push(new Promise(done => {{
  const ws = new WebSocket('ws://127.0.0.1:{port}/ws'); ws.onopen = () => done('opened'); ws.onerror = () => done('refused')
}}))
tries.push(new Promise(done => {{
  const code = `fetch('http://127.0.0.1:{port}/worker', {{mode: 'no-cors'}}).then(() => postMessage('let through'), () => postMessage('refused'))`
  const worker = new Worker(URL.createObjectURL(new Blob([code]))); worker.onmessage = event => done(event.data)
}}))
tries.push(new Promise(done => {{
  const peer = new RTCPeerConnection({{iceServers: [{{urls: 'stun:127.0.0.1:{udp}'}},
    {{urls: 'turn:127.0.0.1:{port}?transport=tcp', username: 'a', credential: 'b'}}]}})
  peer.onicegatheringstatechange = () => peer.iceGatheringState === 'complete' && done('refused')
  peer.createDataChannel('x'); peer.createOffer().then(offer => peer.setLocalDescription(offer))
}}))
window.all = Promise.all(tries)
</script>"""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/redirect"):
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.inside}/redirected")
            self.end_headers()
            return
        body = PAGE.format(port=self.server.inside, udp=self.server.udp).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextmanager
def outside(inside: int, udp: int):
    server = ThreadingHTTPServer((OUTSIDE, 0), Handler)
    server.inside, server.udp = inside, udp
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://{OUTSIDE}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def inside():
    """A port that notes every connection, and one that notes every datagram."""
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
    ):
        udp.bind(("127.0.0.1", 0))
        tcp.setblocking(False)
        udp.setblocking(False)
        yield tcp, udp


def untouched(tcp: socket.socket, udp: socket.socket) -> bool:
    for look in (tcp.accept, lambda: udp.recvfrom(100)):
        try:
            look()
        except BlockingIOError:
            continue
        return False
    return True


async def test_no_way_leads_from_a_page_to_a_private_network(inside, tmp_path):
    tcp, udp = inside
    with outside(tcp.getsockname()[1], udp.getsockname()[1]) as url:
        steps = [
            {"action": "navigate", "url": url},
            {"action": "evaluate", "script": "window.all", "save_as": "tries"},
            {"action": "evaluate", "script": "location.href = 'file:///etc/passwd'; 1"},
            {"action": "assert_title", "equals": "Outside"},
            {"action": "navigate", "url": "file:///etc/passwd"},
            {"action": "navigate", "url": "view-source:http://127.0.0.1/"},
            {"action": "navigate", "url": f"http://127.0.0.1:{tcp.getsockname()[1]}/"},
            {"action": "navigate", "url": url + "/redirect?page"},
            {"action": "navigate", "url": url},
        ]
        arguments = {"steps": steps, "continue_on_failure": True, "timeout_seconds": 60}
        ran = await run(tmp_path, "playwright", {**arguments, "trace": "off"}, place=PLACE)
    assert [step["status"] for step in ran.steps] == ["passed"] * 4 + ["failed"] * 4 + ["passed"]
    assert {step.get("error_kind") for step in ran.steps[4:8]} == {"address_refused"}
    assert set(ran.outcome.outputs["values"]["tries"]) == {"refused"}
    assert ran.end == ("failed", "address_refused")
    assert "EXECUTOR__BROWSER_SCHEMES" in ran.outcome.error
    assert "EXECUTOR__HTTP_ALLOWED_NETWORKS" in ran.steps[7]["error"]
    assert any(
        "address_refused http://127" in x for x in ran.outcome.outputs["failed_requests"]["first"]
    )
    assert untouched(tcp, udp)


async def test_an_extraction_says_what_it_may_not_open(tmp_path):
    """By default that is everything but the web; of the web, everything private."""
    place = ExecutorGroup().browser()
    assert (place.allowed_networks, place.schemes) == ((), ("http", "https"))
    ran = await run(tmp_path, "element_extraction", {"url": "file:///etc/passwd"}, place=place)
    assert ran.end == ("failed", "address_refused")
    assert "EXECUTOR__BROWSER_SCHEMES" in ran.outcome.error
