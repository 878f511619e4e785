"""Both ends of gRPC calls, on the implementation that most of the world uses (Debian: python3-grpcio). No protocol files: the
messages are plain bytes.

    grpc_peer.py serve [CERT KEY]           serves on a free port of 127.0.0.1, and prints it
    grpc_peer.py call ADDRESS CA NAME       makes every kind of call; prints what was wrong, exit code 1 then
    grpc_peer.py refused ADDRESS CA NAME    makes one call that must fail, and prints status code and words
"""

import sys
import threading
import time
from concurrent import futures

import grpc

SIZE = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
cancelled = 0


def unary(request, context):
    sent = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-began", "yes"),))
    context.set_trailing_metadata((("x-ended", sent.get("x-asked", "")), ("x-raw-bin", sent.get("x-raw-bin", b""))))
    return request


def gather(requests, context):
    return b"".join(requests)


def scatter(request, context):
    for n in range(int(request)):
        yield b"%d" % n


def talk(requests, context):
    for request in requests:
        yield request.upper()


def fail(request, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not like this: 100% sure, ü")


def left(request, context):
    return b"%d" % int(context.time_remaining() * 1000)


def wait(request, context):
    ended = threading.Event()

    def note():
        global cancelled
        cancelled += 1
        ended.set()

    context.add_callback(note)
    yield b"begun"
    ended.wait(60)


def count(request, context):
    return b"%d" % cancelled


def serve(cert=None, key=None):
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Gather": grpc.stream_unary_rpc_method_handler(gather),
        "Scatter": grpc.unary_stream_rpc_method_handler(scatter),
        "Talk": grpc.stream_stream_rpc_method_handler(talk),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Left": grpc.unary_unary_rpc_method_handler(left),
        "Wait": grpc.unary_stream_rpc_method_handler(wait),
        "Count": grpc.unary_unary_rpc_method_handler(count),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=SIZE)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Peer", handlers),))
    if cert:
        identity = grpc.ssl_server_credentials([(open(key, "rb").read(), open(cert, "rb").read())])
        port = server.add_secure_port("127.0.0.1:0", identity)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    # Ends with whoever started it.
    sys.stdin.read()
    server.stop(0)


def channel_to(address, ca, name):
    trust = grpc.ssl_channel_credentials(open(ca, "rb").read())
    options = SIZE + [("grpc.ssl_target_name_override", name), ("grpc.default_authority", name)]
    return grpc.secure_channel(address, trust, options)


def is_right(what, got, wanted):
    if got == wanted:
        return True
    print(f"{what}: {got!r}, not {wanted!r}")
    return False


def calls(channel):
    one = lambda name: channel.unary_unary("/test.Peer/" + name)
    yield "unary", one("Unary")(b"hello", timeout=20), b"hello"
    yield "an empty message", one("Unary")(b"", timeout=20), b""

    raw = bytes(range(256))
    reply, call = one("Unary").with_call(b"x", timeout=20, metadata=(("x-asked", "a, b"), ("x-raw-bin", raw)))
    ended = dict(call.trailing_metadata())
    yield "initial metadata", dict(call.initial_metadata()).get("x-began"), "yes"
    yield "trailing metadata", (ended.get("x-ended"), ended.get("x-raw-bin")), ("a, b", raw)

    large = raw * (80 << 10)
    yield "20 MiB there and back", one("Unary")(large, timeout=60) == large, True
    packed = one("Unary")(raw * 1000, timeout=20, compression=grpc.Compression.Gzip)
    yield "compressed", packed == raw * 1000, True

    gather = channel.stream_unary("/test.Peer/Gather")
    yield "client stream", gather((b"%d," % n for n in range(1000)), timeout=20), b"".join(b"%d," % n for n in range(1000))
    yield "an empty client stream", gather(iter(()), timeout=20), b""

    scatter = channel.unary_stream("/test.Peer/Scatter")
    yield "server stream", list(scatter(b"1000", timeout=20)), [b"%d" % n for n in range(1000)]
    yield "an empty server stream", list(scatter(b"0", timeout=20)), []

    # Each message is sent only when the answer to the one before is there: nothing may be held back in either direction.
    talk = channel.stream_stream("/test.Peer/Talk")
    answered = threading.Semaphore(1)

    def questions():
        for n in range(50):
            answered.acquire(timeout=20)
            yield b"q%d" % n

    heard = []
    for answer in talk(questions(), timeout=30):
        heard.append(answer)
        answered.release()
    yield "both streams by turns", heard, [b"Q%d" % n for n in range(50)]

    try:
        one("Fail")(b"x", timeout=20)
        yield "an error", "an answer", "an error"
    except grpc.RpcError as error:
        yield "an error", (error.code(), error.details()), (
            grpc.StatusCode.FAILED_PRECONDITION,
            "not like this: 100% sure, ü",
        )
        yield "metadata of an error", dict(error.trailing_metadata()).get("x-why"), "because"
    try:
        one("Missing")(b"x", timeout=20)
        yield "an unknown method", "an answer", "an error"
    except grpc.RpcError as error:
        yield "an unknown method", error.code(), grpc.StatusCode.UNIMPLEMENTED

    rest = int(one("Left")(b"x", timeout=40))
    # It is sent in few digits, rounded up.
    yield "the deadline arrives", rest if not 30_000 < rest < 45_000 else True, True

    wait = channel.unary_stream("/test.Peer/Wait")
    before = int(one("Count")(b"", timeout=20))
    held = wait(b"x", timeout=60)
    next(held)
    held.cancel()
    yield "a cancelled call ends at the server", until(lambda: int(one("Count")(b"", timeout=20)) > before), True
    before = int(one("Count")(b"", timeout=20))
    try:
        list(wait(b"x", timeout=1))
        yield "a deadline", "an answer", "an error"
    except grpc.RpcError as error:
        yield "a deadline", error.code(), grpc.StatusCode.DEADLINE_EXCEEDED
    yield "a missed deadline ends at the server", until(lambda: int(one("Count")(b"", timeout=20)) > before), True

    many = [one("Unary").future(b"%d" % n, timeout=30) for n in range(300)]
    yield "300 at once", [call.result() for call in many], [b"%d" % n for n in range(300)]


def until(probe):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if probe():
            return True
        time.sleep(0.02)
    return False


def main():
    order, *rest = sys.argv[1:]
    if order == "serve":
        serve(*rest)
    elif order == "call":
        outcomes = [is_right(*case) for case in calls(channel_to(*rest))]
        print(f"{sum(outcomes)} of {len(outcomes)} are right")
        sys.exit(0 if all(outcomes) else 1)
    elif order == "refused":
        try:
            channel_to(*rest).unary_unary("/test.Peer/Unary")(b"x", timeout=20)
            print("an answer")
        except grpc.RpcError as error:
            print(error.code().name, error.details())


main()
