"""A small web site with everything that browser steps have trouble with."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SHOP = """<!doctype html><title>Shop</title>
<nav><a href="/about">About us</a> <a href="/shop?again">Shop</a> <a href="http://elsewhere.invalid/">Elsewhere</a></nav>
<h1 data-testid=heading>The shop</h1>
<form id=search action="/found" role=search>
  <label for=q>Looking for</label><input id=q name=q placeholder="a thing">
  <input type=password name=pin data-testid=pin>
  <input type=checkbox id=gift name=gift><select id=size><option value=s>Small<option value=l>Large</select>
  <button data-testid=go type=submit>Find it</button>
</form>
<ul><li class=item>one</li><li class=item>two</li><li class=item>three</li></ul>
<p id=late></p><p id=secret hidden>hidden text</p><button id=off disabled>Off</button>
<button id=ask onclick="document.title = confirm('really?') ? 'yes' : 'no'">Ask</button>
<button id=popup onclick="window.open('/about')">Open</button>
<a id=file href="/file">A file</a><input type=file id=up onchange="document.getElementById('late').textContent = this.files[0].name">
<div style="position:relative"><button id=under>Under</button><div id=over style="position:absolute;inset:0;background:#fff8"></div></div>
<button id=storm onclick="for (let i = 0; i < 25; i++) window.open('/about?' + i)">Storm</button>
<iframe id=inner src="/inner"></iframe>
<script>
  setTimeout(() => document.getElementById('late').textContent = 'now it is here', 300);
  console.error('something is odd'); fetch('/missing');
</script>"""
PAGES = {
    "/shop": SHOP,
    "/about": "<title>About</title><h1>About us</h1><a href='/team'>Team</a><a href='/shop'>Shop</a>",
    "/team": "<title>Team</title><h1>The team</h1><div role=tab>Tab one</div><a class='btn' href='/about'>Back</a>",
    "/found": "<title>Found</title><h1>Results</h1><nav class=pagination><a href='/found?p=2'>2</a></nav>",
    "/inner": "<button data-testid=within onclick=\"this.textContent='pressed'\">press me</button>",
    "/many": "<title>Many</title>"
    + "".join(f"<button id=b{n}>Button {n}</button>" for n in range(4_000)),
    "/greedy": "<title>Greedy</title><script>const kept = []; setInterval(() => kept.push(new Uint8Array(5e6).fill(7)), 20)</script>",
    "/alerts": "<title>Alerts</title><script>for (let i = 0; i < 30; i++) alert('again ' + i)</script><h1>After</h1>",
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.split("?")[0]
        self.server.asked.append(self.path)
        if path == "/never":
            self.server.stopping.wait(60)
            self.close_connection = True
        elif path == "/file":
            self._answer(
                b"a,b\n1,2\n",
                "text/csv",
                {"Content-Disposition": 'attachment; filename="data.csv"'},
            )
        elif path == "/broken":
            self._answer(b"<h1>Something went wrong</h1>", status=500)
        elif path == "/flaky" and self.server.asked.count("/flaky") < 3:
            self._answer(b"not yet", status=503)
        elif path in PAGES or path == "/flaky":
            self._answer(PAGES.get(path, "<h1>At last</h1>").encode())
        else:
            self._answer(b"no such page", status=404)

    def _answer(self, body, kind="text/html; charset=utf-8", headers=None, status=200):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        self.stopping = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """A browser that is killed leaves its connections."""


@contextmanager
def serving():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()
