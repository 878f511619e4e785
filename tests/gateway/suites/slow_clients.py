"""Fifteen ways to be slow, each on a connection of its own, side by side: how many seconds each was borne.

    python3 slow_clients.py ADDRESS HTTP_PORT HTTPS_PORT HOST --backend ADDRESS:PORT [--seconds 75]

Starts the backend that HOST leads to (it answers `GET /N` with N bytes), says what became of each in JSON on standard output,
and exits. Standard library only: HTTP/2 frames are written by hand. Works with any gateway.
"""

import argparse
import http.server
import json
import select
import socket
import ssl
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def field(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


# When an answer of this many bytes was broken off at the backend: a client that does not read cannot see that it was cut.
broken = {}


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        left = int(self.path.strip("/") or 0)
        self.send_response(200)
        self.send_header("Content-Length", str(left))
        self.end_headers()
        try:
            while left > 0:
                piece = min(left, 65536)
                self.wfile.write(b"a" * piece)
                left -= piece
        except OSError:
            broken[self.path] = time.monotonic()
            self.close_connection = True

    def do_POST(self):
        try:
            while self.rfile.read(1):
                pass
        except OSError:
            pass
        self.close_connection = True

    def log_message(self, *_):
        pass


class Slow:
    """One slow client: what it says at first, what it says every few seconds, and whether it reads."""

    def __init__(self, where, first, again=b"", reads=True, every=5.0):
        self.where, self.first, self.again, self.reads, self.every = where, first, again, reads, every

    def run(self, connect, seconds):
        try:
            wire = connect(self.where, small=not self.reads)
        except OSError:
            return 0.0
        began = time.monotonic()
        said = 0
        try:
            wire.sendall(self.first)
            spoke = time.monotonic()
            while time.monotonic() - began < seconds:
                if self.again and time.monotonic() - spoke > self.every:
                    wire.sendall(self.again[said % len(self.again):][:1])
                    said += 1
                    spoke = time.monotonic()
                if self.reads:
                    pending = isinstance(wire, ssl.SSLSocket) and wire.pending()
                    if pending or select.select([wire], [], [], 0.25)[0]:
                        try:
                            if not wire.recv(65536):
                                return time.monotonic() - began
                        except TimeoutError:
                            # Half a TLS record.
                            pass
                else:
                    time.sleep(0.25)
                    if "/300000001" in broken:
                        return broken["/300000001"] - began
            return None
        except (OSError, ssl.SSLError):
            return time.monotonic() - began
        finally:
            wire.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("http", type=int)
    parser.add_argument("https", type=int)
    parser.add_argument("host")
    parser.add_argument("--backend", required=True)
    parser.add_argument("--seconds", type=float, default=75)
    parser.add_argument("--source", default="")
    given = parser.parse_args()
    place, port = given.backend.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((place, int(port)), Backend)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()

    offers = {}
    for name, protocols in (("tls", ["http/1.1"]), ("h2", ["h2"])):
        offers[name] = ssl.create_default_context()
        offers[name].check_hostname, offers[name].verify_mode = False, ssl.CERT_NONE
        offers[name].set_alpn_protocols(protocols)

    def connect(where, small=False):
        wire = socket.socket()
        if small:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.settimeout(10)
        if given.source:
            wire.bind((given.source, 0))
        wire.connect((given.address, given.http if where == "http" else given.https))
        if where in offers:
            wire = offers[where].wrap_socket(wire, server_hostname=given.host)
        wire.settimeout(0.5)
        return wire

    host = given.host.encode()
    get = b"GET /%d HTTP/1.1\r\nHost: " + host + b"\r\n"
    post = b"POST /up HTTP/1.1\r\nHost: " + host + b"\r\n"
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n"
    head = field(b":method", b"GET") + field(b":scheme", b"https") + field(b":authority", host)
    begun = PREFACE + frame(4, 0, 0)
    shut = PREFACE + frame(4, 0, 0, b"\0\4\0\0\0\0")
    big = frame(1, 5, 1, head + field(b":path", b"/300000002"))
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 500
    ways = {
        "says nothing": Slow("http", b""),
        "says nothing before TLS": Slow("raw", b""),
        "half a TLS hello": Slow("raw", hello[:100]),
        "a TLS hello byte by byte": Slow("raw", hello[:5], hello[5:], every=1.0),
        "a head byte by byte": Slow("http", get % 10 + b"X: ", b"a" * 100),
        "a head byte by byte, over TLS": Slow("tls", get % 10 + b"X: ", b"a" * 100),
        "half a head": Slow("http", get % 10),
        "a body that stops": Slow("http", post + b"Content-Length: 100000\r\n\r\nsome of it"),
        "a body byte by byte": Slow("http", post + b"Content-Length: 100000\r\n\r\n", b"a" * 100),
        "trailers that stop": Slow("http", chunked + b"5\r\nhello\r\n0\r\nX-T: 1"),
        "does not read": Slow("http", get % 300000001 + b"\r\n", reads=False),
        "keeps its connection": Slow("http", get % 10 + b"\r\n"),
        "half an HTTP/2 preface": Slow("h2", PREFACE[:20]),
        "an HTTP/2 head without end": Slow("h2", begun + frame(1, 1, 1, head + field(b":path", b"/10"))),
        "an HTTP/2 window that stays shut": Slow("h2", shut + big),
    }
    results = {}

    def judge(name, way):
        if name == "an HTTP/2 window that stays shut":
            results[name] = window(way, connect, given.seconds)
        else:
            results[name] = way.run(connect, given.seconds)

    threads = [threading.Thread(target=judge, args=item) for item in ways.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shown = {name: None if results[name] is None else round(results[name], 1) for name in ways}
    print(json.dumps({"cut": sum(value is not None for value in shown.values()), "of": len(ways), "ways": shown}, indent=1))


def window(way, connect, seconds):
    """Reads every frame, and answers what must be answered, but never opens the window."""
    wire = connect(way.where)
    began = time.monotonic()
    unread = b""
    try:
        wire.sendall(way.first)
        while time.monotonic() - began < seconds:
            if "/300000002" in broken:
                return broken["/300000002"] - began
            try:
                piece = wire.recv(65536)
            except TimeoutError:
                continue
            if not piece:
                return time.monotonic() - began
            unread += piece
            while len(unread) >= 9 and len(unread) >= 9 + int.from_bytes(unread[:3], "big"):
                kind, flags, length = unread[3], unread[4], int.from_bytes(unread[:3], "big")
                payload, unread = unread[9:9 + length], unread[9 + length:]
                if kind in (3, 7):
                    return time.monotonic() - began
                if kind == 4 and not flags & 1:
                    wire.sendall(frame(4, 1, 0))
                if kind == 6 and not flags & 1:
                    wire.sendall(frame(6, 1, 0, payload))
        return None
    except (OSError, ssl.SSLError):
        return time.monotonic() - began
    finally:
        wire.close()


if __name__ == "__main__":
    main()
