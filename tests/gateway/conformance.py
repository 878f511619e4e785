"""What RFC 9113 and RFC 7541 ask of a server, put to one that speaks HTTP/2 over TLS (Debian: python3-hpack).

    conformance.py ADDRESS PORT [--host HOST] [--path PATH] [--patience SECONDS] [--one-by-one] [--only TEXT]

147 cases, each on a connection of its own: frames that have to be served, and frames that have to be refused. `CASES`
is the table: section, what is sent, the frames, the outcome that is allowed. The path must answer GET with five bytes
of body or more. Prints what failed and the score; exit code 1 if anything failed. Certificates are not judged here.

A connection error may show as GOAWAY with its code or as the end of the connection, a stream error also as RST_STREAM.
A TCP reset is never an end: it may take the GOAWAY with it that says why.
"""

import argparse
import socket
import ssl
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

from hpack import Encoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_PREFACE = b"THIS IS NO PREFACE OF HTTP/2\r\n\r\n"
KINDS = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
         "CONTINUATION")
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
UNKNOWN = 0x16
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, PRIORITIZED = 0x4, 0x8, 0x20
WHOLE = END_STREAM | END_HEADERS
CODES = ("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
         "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR")
NO_ERROR, PROTOCOL, _, FLOW, _, STREAM_CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION = range(10)
TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, WINDOW, MAX_FRAME, MAX_HEAD = range(1, 7)
CLOSED, CUT = "the connection was closed", "the connection was closed within a frame"
RESET, SILENT = "the connection was reset", "silence"
LARGEST = 2**31 - 1


class Failed(Exception):
    pass


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload

    def code(self):
        """The error code of RST_STREAM or GOAWAY."""
        return struct.unpack("!I", self.payload[:4] if self.kind == RST_STREAM else self.payload[4:8])[0]

    def __str__(self):
        name = KINDS[self.kind] if self.kind < len(KINDS) else f"unknown frame {self.kind}"
        if self.kind in (RST_STREAM, GOAWAY):
            code = self.code()
            return f"{name} {CODES[code] if code < len(CODES) else code} (stream {self.stream})"
        return f"{name} (stream {self.stream}, flags {self.flags:#x}, {len(self.payload)} bytes)"


class Connection:
    """One connection; `last` is the last thing that happened on it."""

    def __init__(self, target):
        self.target, self.encoder, self.settings = target, Encoder(), {}
        self.unread, self.taken, self.last = b"", 0, None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        wire = socket.create_connection((target.address, target.port), timeout=10)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire = context.wrap_socket(wire)
        if self.wire.selected_alpn_protocol() != "h2":
            raise Failed("the server does not choose h2")
        self.wire.settimeout(target.patience)

    def send(self, data):
        try:
            self.wire.sendall(data)
        except OSError:
            pass  # It may have closed already; what it said before is what counts.

    def more(self, size):
        while len(self.unread) < size:
            try:
                data = self.wire.recv(65536)
            except TimeoutError:
                return SILENT
            except OSError:
                return RESET
            if not data:
                return CUT if self.unread else CLOSED
            self.unread += data
        return None

    def event(self):
        """The next frame, or how there came none."""
        end = self.more(9) or self.more(9 + int.from_bytes(self.unread[:3], "big"))
        if end:
            self.last = self.last if end == SILENT and self.last else end
            return end
        length, kind, flags, stream = int.from_bytes(self.unread[:3], "big"), *struct.unpack("!BBI", self.unread[3:9])
        frame = Frame(kind, flags, stream & LARGEST, self.unread[9 : 9 + length])
        self.unread, self.last = self.unread[9 + length :], frame
        if kind == DATA:
            self.taken += length
            if self.taken >= 32768:  # A long body goes on; a short one finds its windows as the case made them.
                self.send(window(0, self.taken) + window(frame.stream, self.taken))
                self.taken = 0
        if kind >= len(KINDS):
            raise Failed(f"the server sent an {frame}")
        return frame

    def handshake(self):
        self.send(PREFACE)
        self.send(settings((WINDOW, 65535)))
        mine = theirs = False
        while not (mine and theirs):
            event = self.event()
            if isinstance(event, str):
                raise Failed(f"handshake: {event}")
            if event.kind == SETTINGS and event.flags & ACK:
                mine = True
            elif event.kind == SETTINGS:
                theirs = True
                pairs = [event.payload[at : at + 6] for at in range(0, len(event.payload), 6)]
                self.settings.update(struct.unpack("!HI", pair) for pair in pairs)
                self.send(frame(SETTINGS, ACK))
        self.last = None

    def block(self, fields=(), **pseudo):
        """A header block; `pseudo` replaces pseudo-header fields, None leaves one out."""
        head = {"method": "GET", "scheme": "https", "path": self.target.path, "authority": self.target.host} | pseudo
        lines = [(f":{name}", value) for name, value in head.items() if value is not None]
        return self.encoder.encode(lines + list(fields))


# Frames. What needs the connection (its header table, its limits) is a function of it.


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    size = len(payload) if length is None else length
    return struct.pack("!I", size)[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack("!HI", *pair) for pair in pairs))


def head(flags=WHOLE, stream=1, fields=(), before=b"", after=b"", **pseudo):
    return lambda c: frame(HEADERS, flags, stream, before + c.block(fields, **pseudo) + after)


def post(*fields):
    return head(END_HEADERS, fields=fields, method="POST")


def more_head(flags=END_HEADERS, stream=1):
    return lambda c: frame(CONTINUATION, flags, stream, c.encoder.encode([LARGE]))


def fields_alone(flags, *fields):
    return lambda c: frame(HEADERS, flags, 1, c.encoder.encode(fields))


def data(end=True, stream=1, payload=b"test"):
    return frame(DATA, END_STREAM if end else 0, stream, payload)


def priority(stream=1, on=0, weight=255):
    return frame(PRIORITY, 0, stream, struct.pack("!IB", on, weight))


def ping(payload=bytes(8), flags=0, stream=0):
    return frame(PING, flags, stream, payload)


def window(stream, size):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack("!I", size))


def rst(stream=1, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack("!I", code))


def goaway(code, stream=0, debug=b""):
    return frame(GOAWAY, 0, stream, struct.pack("!II", 0, code) + debug)


def in_pieces(*cuts):
    def pieces(c):
        block = c.block()
        bounds = list(zip((0, *cuts), (*cuts, len(block))))
        frames = [frame(HEADERS, END_STREAM, 1, block[: cuts[0]])]
        frames += [frame(CONTINUATION, 0, 1, block[a:b]) for a, b in bounds[1:-1]]
        return frames + [frame(CONTINUATION, END_HEADERS, 1, block[cuts[-1] :])]

    return pieces


def padded_head(padding, claimed):
    def padded(c):
        block = c.block()
        claim = len(block) + claimed if claimed < 8 else claimed
        return frame(HEADERS, WHOLE | PADDED, 1, bytes([claim]) + block + bytes(padding))

    return padded


def largest(c):
    return c.settings.get(MAX_FRAME, 16384)


def largest_data(beyond=0):
    return lambda c: data(payload=b"x" * (largest(c) + beyond))


def head_too_large(c):
    """Its fields take 3,500 bytes each once they are encoded."""
    fields = [(f"x-large{n}", "x" * 4000) for n in range(largest(c) // 3500 + 1)]
    return head(fields=fields)(c)


def every_stream_and_one(c):
    if MAX_STREAMS not in c.settings:
        raise Failed("the server does not limit the streams of a connection")
    block = c.block()
    return [frame(HEADERS, WHOLE, 2 * n + 1, block) for n in range(c.settings[MAX_STREAMS] + 1)]


def larger_table(c):
    size, octets = c.settings.get(TABLE_SIZE, 4096) + 1 - 31, b"\x3f"
    while size >= 128:
        octets, size = octets + bytes([size & 127 | 128]), size >> 7
    return frame(HEADERS, WHOLE, 1, octets + bytes([size]) + c.block())


def smaller_table(c):
    c.encoder.header_table_size = 128
    return head()(c)


# Header fields, octet by octet (RFC 7541, sections 5 and 6).


def coded(text, tail=None):
    """A string in Huffman's code; `tail` are bits instead of the ones that fill the last octet."""
    bits = "".join(f"{REQUEST_CODES[octet]:0{REQUEST_CODES_LENGTH[octet]}b}" for octet in text.encode())
    bits += "1" * (-len(bits) % 8) if tail is None else tail
    assert len(bits) % 8 == 0, len(bits)
    return bytes([0x80 | len(bits) // 8]) + int(bits, 2).to_bytes(len(bits) // 8, "big")


def plain(text):
    return bytes([len(text)]) + text.encode()


def literal(form, name, spell):
    """A field: `form` says whether it is to be remembered; a number is the name's place in the table."""
    if isinstance(name, str):
        return bytes([form]) + spell(name) + spell("probe")
    most = 63 if form == 0x40 else 15
    place = bytes([form | name]) if name < most else bytes([form | most, name - most])
    return place + spell("probe")


LARGE = ("x-large", "x" * 4000)
USER_AGENT = 58  # in the static table
REMEMBERED, ONCE, NEVER = 0x40, 0x00, 0x10

# Outcomes. Each reads on until it is decided.


def first(kind, wanted, right):
    """The first frame of this kind has to be right."""

    def judge(c):
        while not isinstance(event := c.event(), str):
            if event.kind == kind:
                return right(event)
        return False

    judge.wanted = wanted
    return judge


def ends(wanted, right):
    """Something right has to come, or the end of the connection."""

    def judge(c):
        while not isinstance(event := c.event(), str):
            if right(event):
                return True
        return event == CLOSED

    judge.wanted = f"{wanted}, or the connection closed"
    return judge


def connection_error(*codes):
    names = " or ".join(CODES[code] for code in codes)
    return ends(f"GOAWAY {names}", lambda f: f.kind == GOAWAY and f.code() in codes)


def stream_error(*codes):
    names = " or ".join(CODES[code] for code in codes)
    return ends(f"RST_STREAM or GOAWAY {names}", lambda f: f.kind in (RST_STREAM, GOAWAY) and f.code() in codes)


def is_pong(payload):
    return lambda f: f.kind == PING and f.flags & ACK and f.payload == payload


def pong(payload=bytes(8)):
    return first(PING, f"PING ACK {payload!r}", is_pong(payload))


def stream_end(c):
    while not isinstance(event := c.event(), str):
        if event.kind in (DATA, HEADERS) and event.flags & END_STREAM:
            return True
        if event.kind == RST_STREAM and event.code() == NO_ERROR:
            return True
    return False


def settings_at_once(c):
    event = c.event()
    return isinstance(event, Frame) and event.kind == SETTINGS and not event.flags & ACK


stream_end.wanted = "the end of the stream"
settings_at_once.wanted = "SETTINGS, before anything else"
ANSWER = first(HEADERS, "HEADERS of the answer", lambda f: f.stream == 1)
ACKNOWLEDGED = first(SETTINGS, "SETTINGS ACK", lambda f: f.flags & ACK)
BODY = first(DATA, "DATA", lambda f: True)
ONE_BYTE = first(DATA, "DATA of one byte", lambda f: len(f.payload) == 1)
GIVES_UP = ends("nothing more", lambda f: False)
SAYS_WHY = first(GOAWAY, "GOAWAY", lambda f: True)
OVERFLOW = first(GOAWAY, "GOAWAY FLOW_CONTROL_ERROR", lambda f: f.code() == FLOW)
STREAM_OVERFLOW = first(RST_STREAM, "RST_STREAM FLOW_CONTROL_ERROR", lambda f: f.stream == 1 and f.code() == FLOW)
REFUSED_HEAD = connection_error(COMPRESSION)
MALFORMED = stream_error(PROTOCOL)
VIOLATION = connection_error(PROTOCOL)
WORD = b"a word.."
PONG_OR_END = ends("PING ACK", is_pong(WORD))
NO_WINDOW = settings((WINDOW, 0))
STRANGE = frame(UNKNOWN, payload=bytes(8))

# Section (of RFC 9113 where nothing else is said), what is sent, and the steps: frames to send, outcomes to wait for.
# The last one is always an outcome. A case that starts with a preface, or with none, shakes no hands before.
CASES = [
    # What has to be served.
    ("3.4", "the preface; SETTINGS come first", PREFACE, settings((WINDOW, 65535)), settings_at_once),
    ("5.1", "PRIORITY on an idle stream", priority(), ping(), pong()),
    ("5.1", "WINDOW_UPDATE after the request's end", NO_WINDOW, head(), window(1, 1), BODY),
    ("5.1", "PRIORITY after the request's end", NO_WINDOW, head(), priority(), window(1, 1), BODY),
    ("5.1", "RST_STREAM after the request's end", head(), rst(), ping(), pong()),
    ("5.1", "PRIORITY on a closed stream", head(), stream_end, priority(), ping(), pong()),
    ("6.1", "a request body", post(), data(), ANSWER),
    ("6.1", "a request body in two frames", post(), data(end=False), data(), ANSWER),
    ("6.1", "a padded request body", post(), frame(DATA, END_STREAM | PADDED, 1, b"\x05test" + bytes(5)), ANSWER),
    ("6.2", "a request", head(), ANSWER),
    ("6.2", "a padded request", padded_head(8, claimed=8), ANSWER),
    ("6.2", "a request with a priority", head(WHOLE | PRIORITIZED, before=struct.pack("!IB", 0, 255)), ANSWER),
    ("6.3", "PRIORITY, lightest", priority(weight=0), head(), ANSWER),
    ("6.3", "PRIORITY, heaviest", priority(), head(), ANSWER),
    ("6.3", "PRIORITY of a later stream on this one", priority(3, on=1, weight=0), head(), ANSWER),
    ("6.3", "PRIORITY, exclusive", priority(on=1 << 31, weight=0), head(), ANSWER),
    ("6.3", "PRIORITY of a later, idle stream", priority(3), head(), ANSWER),
    ("6.4", "RST_STREAM of an open request", head(END_HEADERS), rst(), ping(), pong()),
    ("6.5", "SETTINGS, one of each",
     settings((TABLE_SIZE, 4096), (ENABLE_PUSH, 1), (MAX_STREAMS, 100), (WINDOW, 65535), (MAX_FRAME, 16384),
              (MAX_HEAD, 100)), ACKNOWLEDGED),
    ("6.7", "PING with a word", ping(WORD), pong(WORD)),
    ("6.8", "GOAWAY without error, then PING", goaway(NO_ERROR, debug=b"bye"), ping(WORD), PONG_OR_END),
    ("6.9", "WINDOW_UPDATE of the connection", window(0, 1), ping(), pong()),
    ("6.9", "WINDOW_UPDATE of a stream", head(), window(1, 1), ANSWER),
    ("6.10", "a request in two pieces", in_pieces(5), ANSWER),
    ("6.10", "a request in three pieces", in_pieces(5, 10), ANSWER),
    ("8.1", "GET", head(), ANSWER),
    ("8.1", "HEAD", head(method="HEAD"), ANSWER),
    ("8.1", "POST", post(), data(), ANSWER),
    ("8.1", "POST with a trailer section", post(("trailer", "x-test")), data(end=False),
     fields_alone(WHOLE, ("x-test", "ok")), ANSWER),
    ("RFC 7541, 6.1", "a field that is a number only", head(after=bytes([0x80 | USER_AGENT])), ANSWER),
    *[(f"RFC 7541, 6.2.{n}", f"a field {how}, name {whose}, {spelled}", head(after=literal(form, name, spell)), ANSWER)
      for n, how, form in ((1, "to remember", REMEMBERED), (2, "for once", ONCE), (3, "never to be indexed", NEVER))
      for whose, name in (("known", USER_AGENT), ("new", "x-probe"))
      for spelled, spell in (("plain", plain), ("Huffman", coded))],
    ("RFC 7541, 6.3", "a smaller table", smaller_table, ANSWER),
    ("RFC 7541, 4.2", "a smaller table, then the usual one again", head(before=b"\x3f\x61\x3f\xe1\x1f"), ANSWER),
    # What has to be refused, or ignored.
    ("3.4", "the preface; its answer is SETTINGS", PREFACE, settings((WINDOW, 65535)), settings_at_once),
    ("3.4", "a preface that is none", NO_PREFACE, VIOLATION),
    ("4.1", "a frame of unknown type", STRANGE, ping(), pong()),
    ("4.1", "PING with flags that mean nothing", ping(flags=0x16), pong()),
    ("4.1", "PING with the reserved bit", ping(flags=0x16, stream=1 << 31), pong()),
    ("4.2", "DATA as large as allowed", post(), largest_data(), ANSWER),
    ("4.2", "DATA one byte too large", post(), largest_data(beyond=1), stream_error(SIZE)),
    ("4.2", "HEADERS too large", head_too_large, connection_error(SIZE)),
    ("4.3", "a header block that breaks off", frame(HEADERS, WHOLE, 1, b"\x40"), REFUSED_HEAD),
    ("4.3", "PRIORITY within a header block", head(0), priority(), more_head(), VIOLATION),
    ("4.3", "HEADERS of another stream within a header block", head(0), head(stream=3), more_head(), VIOLATION),
    ("5.1", "DATA on an idle stream", data(), VIOLATION),
    ("5.1", "RST_STREAM on an idle stream", rst(), VIOLATION),
    ("5.1", "WINDOW_UPDATE on an idle stream", window(1, 100), VIOLATION),
    ("5.1", "CONTINUATION on an idle stream", lambda c: frame(CONTINUATION, END_HEADERS, 1, c.block()), VIOLATION),
    ("5.1", "DATA after the request's end", head(), data(), stream_error(STREAM_CLOSED)),
    ("5.1", "HEADERS after the request's end", head(), head(), stream_error(STREAM_CLOSED)),
    ("5.1", "CONTINUATION after the request's end",
     lambda c: [head()(c), frame(CONTINUATION, END_HEADERS, 1, c.block())], stream_error(STREAM_CLOSED, PROTOCOL)),
    ("5.1", "DATA after RST_STREAM", head(END_HEADERS), rst(), data(), stream_error(STREAM_CLOSED)),
    ("5.1", "HEADERS after RST_STREAM", head(END_HEADERS), rst(), head(), stream_error(STREAM_CLOSED)),
    ("5.1", "CONTINUATION after RST_STREAM", head(END_HEADERS), rst(), more_head(),
     stream_error(STREAM_CLOSED, PROTOCOL)),
    ("5.1", "DATA on a closed stream", head(), stream_end, data(), stream_error(STREAM_CLOSED)),
    ("5.1", "HEADERS on a closed stream", head(), stream_end, head(), connection_error(STREAM_CLOSED)),
    ("5.1", "CONTINUATION on a closed stream", head(), stream_end, more_head(),
     connection_error(STREAM_CLOSED, PROTOCOL)),
    ("5.1.1", "a stream with an even number", head(stream=2), VIOLATION),
    ("5.1.1", "a stream with a smaller number than before", head(stream=5), head(stream=3), VIOLATION),
    ("5.1.2", "one stream more than allowed", NO_WINDOW, every_stream_and_one, stream_error(PROTOCOL, REFUSED)),
    ("RFC 7540, 5.3.1", "HEADERS of a stream that depends on itself",
     head(WHOLE | PRIORITIZED, before=struct.pack("!IB", 1, 255)), MALFORMED),
    ("RFC 7540, 5.3.1", "PRIORITY of a stream on itself", priority(on=1), MALFORMED),
    ("5.4.1", "PING on a stream; the connection ends", ping(stream=3), GIVES_UP),
    ("5.4.1", "PING on a stream; GOAWAY says why", ping(stream=3), SAYS_WHY),
    ("5.5", "a frame of an unknown extension", STRANGE, ping(), pong()),
    ("5.5", "a frame of unknown type within a header block", head(END_STREAM), STRANGE, VIOLATION),
    ("6.1", "DATA without a stream", data(stream=0), VIOLATION),
    ("6.1", "DATA of a POST that has ended", head(method="POST"), data(), stream_error(STREAM_CLOSED)),
    ("6.1", "DATA with more padding than payload", post(("content-length", "4")),
     frame(DATA, END_STREAM | PADDED, 1, b"\x06Test"), VIOLATION),
    ("6.2", "HEADERS to be continued, then PRIORITY", head(0), priority(), more_head(), VIOLATION),
    ("6.2", "HEADERS to be continued, then HEADERS of another", head(0), head(stream=3), more_head(), VIOLATION),
    ("6.2", "HEADERS without a stream", head(stream=0), VIOLATION),
    ("6.2", "HEADERS with more padding than payload", padded_head(0, claimed=2), MALFORMED),
    ("6.3", "PRIORITY without a stream", priority(0), VIOLATION),
    ("6.3", "PRIORITY of four bytes", head(), frame(PRIORITY, 0, 1, b"\x80\0\0\1"), stream_error(SIZE)),
    ("6.4", "RST_STREAM without a stream", rst(0), VIOLATION),
    ("6.4", "RST_STREAM of a stream that never was", rst(), VIOLATION),
    ("6.4", "RST_STREAM of three bytes", head(), frame(RST_STREAM, 0, 1, bytes(3)), stream_error(SIZE)),
    ("6.5", "SETTINGS ACK with a payload", frame(SETTINGS, ACK, payload=b"\0"), connection_error(SIZE)),
    ("6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1, b"\0\3\0\0\0\x64"), VIOLATION),
    ("6.5", "SETTINGS of three bytes", frame(SETTINGS, payload=b"\0\3\0"), stream_error(PROTOCOL, SIZE)),
    ("6.5.2", "ENABLE_PUSH 2", settings((ENABLE_PUSH, 2)), VIOLATION),
    ("6.5.2", "INITIAL_WINDOW_SIZE too large", settings((WINDOW, LARGEST + 1)), connection_error(FLOW)),
    ("6.5.2", "MAX_FRAME_SIZE too small", settings((MAX_FRAME, 16383)), VIOLATION),
    ("6.5.2", "MAX_FRAME_SIZE too large", settings((MAX_FRAME, 1 << 24)), VIOLATION),
    ("6.5.2", "an unknown setting", settings((0xFF, 1)), ping(), pong()),
    ("6.5.3", "one setting twice; the last counts",
     settings((WINDOW, 100), (WINDOW, 1)), ACKNOWLEDGED, head(), ONE_BYTE),
    ("6.5.3", "SETTINGS are acknowledged", settings((ENABLE_PUSH, 0)), ACKNOWLEDGED),
    ("6.7", "PING; the answer carries the same", ping(WORD), pong(WORD)),
    ("6.7", "PING ACK is not answered", ping(b"no word!", ACK), ping(WORD), pong(WORD)),
    ("6.7", "PING on a stream", ping(stream=1), VIOLATION),
    ("6.7", "PING of six bytes", ping(bytes(6)), connection_error(SIZE)),
    ("6.8", "GOAWAY on a stream", goaway(NO_ERROR, stream=1), VIOLATION),
    ("6.9", "WINDOW_UPDATE 0 of the connection", window(0, 0), VIOLATION),
    ("6.9", "WINDOW_UPDATE 0 of a stream", head(END_HEADERS), window(1, 0), MALFORMED),
    ("6.9", "WINDOW_UPDATE of three bytes", frame(WINDOW_UPDATE, payload=b"\0\0\1"), connection_error(SIZE)),
    ("6.9.1", "a window of one byte", settings((WINDOW, 1)), ACKNOWLEDGED, head(), ONE_BYTE),
    ("6.9.1", "the connection's window grown too large", window(0, LARGEST), window(0, LARGEST), OVERFLOW),
    ("6.9.1", "a stream's window grown too large", head(END_HEADERS), window(1, LARGEST), window(1, LARGEST),
     STREAM_OVERFLOW),
    ("6.9.2", "a window that is opened later by SETTINGS",
     NO_WINDOW, ACKNOWLEDGED, head(), settings((WINDOW, 1)), ONE_BYTE),
    ("6.9.2", "a window that becomes negative",
     settings((WINDOW, 3)), ACKNOWLEDGED, head(), BODY, settings((WINDOW, 2)), ACKNOWLEDGED, window(1, 2), ONE_BYTE),
    ("6.9.2", "SETTINGS with a window that is too large", settings((WINDOW, LARGEST + 1)), connection_error(FLOW)),
    ("6.10", "a large request in three frames", head(END_STREAM), more_head(0), more_head(), ANSWER),
    ("6.10", "CONTINUATION to be continued, then DATA", head(0, method="POST"), more_head(0), data(), VIOLATION),
    ("6.10", "CONTINUATION without a stream", head(END_STREAM), more_head(stream=0), VIOLATION),
    ("6.10", "CONTINUATION after complete HEADERS", head(), more_head(), VIOLATION),
    ("6.10", "CONTINUATION after complete CONTINUATION", head(END_STREAM), more_head(), more_head(), VIOLATION),
    ("6.10", "CONTINUATION after DATA",
     head(0, method="POST"), data(), more_head(0), more_head(stream=0), VIOLATION),
    ("7", "GOAWAY with an unknown code, then PING", goaway(0xFF), ping(WORD), PONG_OR_END),
    ("7", "RST_STREAM with an unknown code, then PING", post(), rst(code=0xFF), ping(), pong()),
    ("8.1", "a second HEADERS that does not end the request", post(), data(end=False),
     fields_alone(END_HEADERS, ("x-test", "ok")), MALFORMED),
    ("8.2.1", "a field in capitals", head(fields=[("X-TEST", "ok")]), MALFORMED),
    ("8.3", "an unknown pseudo-header field", head(test="ok"), MALFORMED),
    ("8.3", "a pseudo-header field of answers", head(status="200"), MALFORMED),
    ("8.3", "a pseudo-header field in a trailer section", post(), data(end=False),
     fields_alone(END_HEADERS, (":method", "POST")), MALFORMED),
    ("8.3", "a pseudo-header field after another field",
     lambda c: frame(HEADERS, WHOLE, 1, c.encoder.encode([("x-test", "ok")]) + c.block()), MALFORMED),
    ("8.2.2", "Connection", head(fields=[("connection", "keep-alive")]), MALFORMED),
    ("8.2.2", "TE with more than trailers",
     head(fields=[("trailers", "test"), ("te", "trailers, deflate")]), MALFORMED),
    ("8.3.1", "an empty :path", head(path=""), MALFORMED),
    ("8.3.1", "no :method", head(method=None), MALFORMED),
    ("8.3.1", "no :scheme", head(scheme=None), MALFORMED),
    ("8.3.1", "no :path", head(path=None), MALFORMED),
    ("8.3.1", "two :method", head(fields=[(":method", "GET")]), MALFORMED),
    ("8.3.1", "two :scheme", head(fields=[(":scheme", "https")]), MALFORMED),
    ("8.3.1", "two :path", head(fields=[(":path", "/")]), MALFORMED),
    ("8.1.1", "less content-length than DATA", post(("content-length", "1")), data(), MALFORMED),
    ("8.1.1", "less content-length than DATA, in two frames", post(("content-length", "1")), data(end=False), data(),
     MALFORMED),
    ("8.4", "PUSH_PROMISE from a client",
     lambda c: frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack("!I", 3) + c.block()), VIOLATION),
    ("RFC 7541, 2.3.3", "a field whose number is in no table", head(after=b"\xc6"), REFUSED_HEAD),
    ("RFC 7541, 2.3.3", "a name whose number is in no table", head(after=b"\x7f\x07\x00"), REFUSED_HEAD),
    ("RFC 7541, 4.2", "a new table size after the fields", head(after=b"\x21"), REFUSED_HEAD),
    ("RFC 7541, 5.2", "Huffman with an octet of padding",
     head(after=b"\0" + coded("x-test") + coded("test", "1" * 12)), REFUSED_HEAD),
    ("RFC 7541, 5.2", "Huffman padded with zeros",
     head(after=b"\0" + coded("x-test") + coded("test", "0" * 4)), REFUSED_HEAD),
    ("RFC 7541, 5.2", "Huffman with the end-of-string symbol",
     head(after=b"\0" + coded("x-test") + coded("tes", "1" * 30 + "01001" + "1" * 6)), REFUSED_HEAD),
    ("RFC 7541, 6.1", "a field with number 0", head(after=b"\x80"), REFUSED_HEAD),
    ("RFC 7541, 6.3", "a larger table than allowed", larger_table, REFUSED_HEAD),
]


def verdict(target, case):
    """What was wrong, or None."""
    _, _, *steps = case
    try:
        connection = Connection(target)
        if steps[0] not in (PREFACE, NO_PREFACE):
            connection.handshake()
        for step in steps:
            if hasattr(step, "wanted"):
                if not step(connection):
                    return f"wanted {step.wanted}; got {connection.last}"
                continue
            frames = step(connection) if callable(step) else step
            for one in [frames] if isinstance(frames, bytes) else frames:
                connection.send(one)
        connection.wire.close()
    except Failed as why:
        return str(why)
    except OSError as why:
        return f"no connection: {why}"
    return None


def body_length(target):
    connection = Connection(target)
    connection.handshake()
    connection.send(head()(connection))
    length = 0
    while not isinstance(event := connection.event(), str):
        if event.kind == DATA:
            length += len(event.payload)
        if event.kind in (DATA, HEADERS) and event.flags & END_STREAM:
            return length
    raise Failed(f"no whole answer to GET: {event}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--host", help="the name to ask for; the address itself unless given")
    parser.add_argument("--path", default="/")
    parser.add_argument("--patience", type=float, default=2, help="how long a server may be silent")
    parser.add_argument("--one-by-one", action="store_true", help="one connection after the other")
    parser.add_argument("--only", default="", help="cases whose section or words contain this")
    target = parser.parse_args()
    target.host = target.host or f"{target.address}:{target.port}"
    if (length := body_length(target)) < 5:
        sys.exit(f"the answer has {length} bytes of body; 5 are needed")
    cases = [case for case in CASES if target.only in f"{case[0]}: {case[1]}"]
    with ThreadPoolExecutor(1 if target.one_by_one else 32) as together:
        verdicts = list(together.map(lambda case: verdict(target, case), cases))
    failed = [(case, why) for case, why in zip(cases, verdicts) if why]
    for case, why in failed:
        print(f"FAILED  {case[0]}: {case[1]}\n        {why}")
    print(f"{len(cases) - len(failed)} of {len(cases)} cases passed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
