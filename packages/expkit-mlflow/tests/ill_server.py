"""A proxy before a real MLflow server that falls ill: gateways, login pages, resets, stalls.

`IllServer(server, illness)` passes the first `healthy` requests on, and answers all later ones with
the illness, until `cure()`.
"""

import contextlib
import http.client
import http.server
import threading
import time
import urllib.parse

HTML = b"<html><head><title>Sign in</title></head><body>who are you?</body></html>"
JSON_500 = b'{"error_code": "INTERNAL_ERROR", "message": "a bug of the server"}'

# Status, type, content and headers of each answer.
ANSWERS = {
    "html": (200, "text/html; charset=utf-8", HTML, {}),
    "other_json": (200, "application/json", b'{"status": "ok"}', {}),
    "401": (401, "text/html", HTML, {"WWW-Authenticate": "Basic"}),
    "403": (403, "text/html", HTML, {}),
    "404": (404, "text/html", HTML, {}),
    "413": (413, "text/html", HTML, {}),
    "429": (429, "text/html", HTML, {"Retry-After": "120"}),
    "500": (500, "text/html", HTML, {}),
    "500_json": (500, "application/json", JSON_500, {}),
    "502": (502, "text/html", HTML, {}),
    "503": (503, "text/html", HTML, {}),
}
# What happens to a connection instead; `late` carries the request out and answers too late.
BREAKS = ("reset", "stall", "late")
ILLNESSES = (*ANSWERS, *BREAKS)


class IllServer:
    """See above; a context manager.

    Attributes:
        requests: Method and path of each request that arrived.
        largest: The largest request that a proxy with `413` lets through, in bytes.
    """

    def __init__(self, server, illness, *, healthy=0, largest=0, ill=None):
        self._target = urllib.parse.urlsplit(server).netloc
        self.illness = illness
        self.healthy = healthy
        self.largest = largest
        self.requests = []
        self._is_ill = ill or (lambda method, path: True)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads = []
        ill_server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def do_GET(self):
                ill_server._answer(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()
        for thread in self._threads:
            thread.join(30)

    def cure(self):
        self.illness = None

    def _answer(self, handler):
        if handler.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(_chunks(handler.rfile))
        else:
            body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self._lock:
            ill = self._is_ill(handler.command, handler.path) and self.illness is not None
            ill = ill and len(self.requests) >= self.healthy
            self.requests.append((handler.command, handler.path))
        if ill and self.illness == "413" and self.largest and len(body) <= self.largest:
            ill = False
        if not ill:
            _send(handler, *self._pass_on(handler, body))
        elif self.illness in ANSWERS:
            _send(handler, *ANSWERS[self.illness])
        else:
            if self.illness == "late":
                thread = threading.Thread(target=self._pass_on, args=(handler, body))
                self._threads.append(thread)
                thread.start()
            if self.illness in ("stall", "late"):
                self._ended.wait(60)
            handler.close_connection = True
            with contextlib.suppress(OSError):
                handler.connection.close()

    def _pass_on(self, handler, body):
        connection = http.client.HTTPConnection(self._target, timeout=60)
        headers = {
            key: value
            for key, value in handler.headers.items()
            if key.lower() not in ("host", "connection", "content-length", "transfer-encoding")
        }
        try:
            connection.request(handler.command, handler.path, body, headers)
            response = connection.getresponse()
            content = response.read()
        except Exception as error:
            print("the proxy's own problem:", handler.command, handler.path, repr(error))
            raise
        connection.close()
        kind = response.headers.get("Content-Type", "application/json")
        return response.status, kind, content, {}

    def wait_for_late_requests(self):
        for thread in self._threads:
            thread.join(60)


def _chunks(stream):
    while size := int(stream.readline(), 16):
        yield stream.read(size)
        stream.readline()
    stream.readline()


def _send(handler, status, kind, content, headers):
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(content)))
    if handler.close_connection:
        handler.send_header("Connection", "close")
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


def timed(function):
    """What it returns, and how many seconds it took."""
    begin = time.monotonic()
    value = function()
    return value, time.monotonic() - begin
