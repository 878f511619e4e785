"""A client that opens WebSockets as streams of one HTTP/2 connection (RFC 8441), on libraries that others wrote (Debian:
python3-h2, python3-wsproto).

    ws_peer.py ADDRESS PORT CA NAME PATH     speaks with an echoing server; prints what was wrong, exit code 1 then
"""

import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode

STREAMS = 5
MESSAGES = ["one", "zwölf", "x" * 200_000, b"\0\1\2", ""]


def main():
    address, port, ca, name, path = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2"])
    wire = context.wrap_socket(socket.create_connection((address, int(port)), timeout=20), server_hostname=name)
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    client.initiate_connection()
    wire.sendall(client.data_to_send())
    offered = False
    frames, heard, status, ended, waiting = {}, {}, {}, set(), {}

    def flush(stream):
        while waiting[stream] and (room := client.local_flow_control_window(stream)) > 0:
            size = min(room, client.max_outbound_frame_size, len(waiting[stream]))
            client.send_data(stream, waiting[stream][:size])
            waiting[stream] = waiting[stream][size:]

    def step():
        nonlocal offered
        data = wire.recv(65536)
        if not data:
            sys.exit("the connection ended")
        for event in client.receive_data(data):
            if isinstance(event, h2.events.RemoteSettingsChanged):
                changed = event.changed_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL)
                offered = offered or (changed is not None and changed.new_value == 1)
            elif isinstance(event, h2.events.ResponseReceived):
                status[event.stream_id] = dict(event.headers)[":status"]
            elif isinstance(event, h2.events.DataReceived):
                client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                frames[event.stream_id].receive_bytes(event.data)
                for frame in frames[event.stream_id].received_frames():
                    heard[event.stream_id].append((frame.opcode, frame.payload, frame.message_finished))
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                ended.add(event.stream_id)
        for stream in waiting:
            if stream not in ended:
                flush(stream)
        wire.sendall(client.data_to_send())

    while not offered:
        step()
    for _ in range(STREAMS):
        stream = client.get_next_available_stream_id()
        frames[stream], heard[stream], waiting[stream] = FrameProtocol(client=True, extensions=[]), [], b""
        head = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", path),
                (":authority", name), ("sec-websocket-version", "13"), ("origin", "https://" + name)]
        client.send_headers(stream, head)
    wire.sendall(client.data_to_send())
    while len(status) < STREAMS:
        step()
    if set(status.values()) != {"200"}:
        sys.exit(f"status {status}")
    for stream in frames:
        for message in MESSAGES:
            waiting[stream] += bytes(frames[stream].send_data(message, fin=True))
        flush(stream)
    wire.sendall(client.data_to_send())

    def messages(stream):
        whole, part = [], None
        for opcode, payload, is_finished in heard[stream]:
            if opcode in (Opcode.TEXT, Opcode.BINARY):
                part = payload if part is None else part + payload
                if is_finished:
                    whole.append(bytes(part) if opcode is Opcode.BINARY else str(part))
                    part = None
        return whole

    while any(len(messages(stream)) < len(MESSAGES) for stream in frames):
        step()
    for stream in frames:
        if messages(stream) != MESSAGES:
            sys.exit(f"stream {stream} heard something else")
        client.send_data(stream, bytes(frames[stream].close(CloseReason.NORMAL_CLOSURE, "bye")))
    wire.sendall(client.data_to_send())
    while len(ended) < STREAMS:
        step()
    print("all is right")


main()
