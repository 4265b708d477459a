"""A QUIC client that does what no client does.

aioquic makes the handshake; after that this writes packets of its own with the connection's keys, so
a packet can hold any frames in any order, and what the server says about it is seen.
"""

import os
import select
import socket
import ssl
import time

from aioquic.buffer import encode_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted
from aioquic.tls import Epoch

ALPN = "horizon-telemetry/1"
VERSION_1 = bytes([0, 0, 0, 1])
LONG_TYPES = {Epoch.INITIAL: 0, Epoch.ZERO_RTT: 1, Epoch.HANDSHAKE: 2}
SMALLEST_INITIAL = 1200
TAG_BYTES = 16
HANDSHAKE_SECONDS = 5.0


class Peer:
    """One connection from a socket of its own."""

    def __init__(self, task):
        self.server = (task["host"], task["port"])
        self.socket = fresh_socket(self.server)
        configuration = QuicConfiguration(
            alpn_protocols=[ALPN],
            is_client=True,
            server_name=task["serverName"],
            verify_mode=ssl.CERT_NONE,
        )
        configuration.load_cert_chain(task["cert"], task["key"])
        self.connection = QuicConnection(configuration=configuration)
        self.is_complete = False
        self.close_code = None
        self.packets = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.connection.connect(self.server, now=time.monotonic())

    @property
    def is_closed(self):
        return self.close_code is not None

    def close(self):
        self.socket.close()

    def handshake(self):
        """Whether the server took us in; a server that minds us may still say so afterwards."""
        deadline = time.monotonic() + HANDSHAKE_SECONDS
        while not self.is_complete and not self.is_closed and time.monotonic() < deadline:
            self.flush()
            self.receive(0.05)
        self.flush()
        self.receive(0.02)
        self.flush()
        return self.is_complete and not self.is_closed

    def start(self, wait):
        """Sends the first flight; with `wait` the server's answer is taken and not answered."""
        self.flush()
        deadline = time.monotonic() + HANDSHAKE_SECONDS
        while wait and not self.has_keys(Epoch.HANDSHAKE) and time.monotonic() < deadline:
            self.receive(0.05)
        return not wait or self.has_keys(Epoch.HANDSHAKE)

    def has_keys(self, epoch):
        crypto = self.connection._cryptos.get(epoch)
        return crypto is not None and crypto.send.is_valid()

    def flush(self):
        """What aioquic itself has to say."""
        for datagram, _ in self.connection.datagrams_to_send(now=time.monotonic()):
            self.send(datagram)

    def receive(self, seconds=0.0):
        """Takes everything that has arrived, after a wait of at most `seconds` for the first."""
        while select.select([self.socket], [], [], seconds)[0]:
            seconds = 0.0
            try:
                datagram = self.socket.recv(65536)
            except ConnectionRefusedError:
                continue
            self.bytes_received += len(datagram)
            self.connection.receive_datagram(datagram, self.server, now=time.monotonic())
        timer = self.connection.get_timer()
        if timer is not None and timer <= time.monotonic():
            self.connection.handle_timer(now=time.monotonic())
        while (event := self.connection.next_event()) is not None:
            if isinstance(event, HandshakeCompleted):
                self.is_complete = True
            elif isinstance(event, ConnectionTerminated):
                self.close_code = event.error_code

    def send(self, datagram):
        self.packets += 1
        self.bytes_sent += len(datagram)
        try:
            self.socket.send(datagram)
        except OSError:
            pass  # the kernel's buffer is full, or nobody listens: it is lost, as on a network

    def send_frames(self, epoch, frames):
        """One packet with these frames, in a datagram of its own."""
        self.send(self.packet(epoch, frames))

    def packet(self, epoch, frames):
        connection = self.connection
        number = connection._packet_number
        connection._packet_number += 1
        destination, source = connection._peer_cid.cid, connection.host_cid
        number_bytes = (number & 0xFFFF).to_bytes(2, "big")
        if epoch is Epoch.ONE_RTT:
            crypto = connection._cryptos[epoch]
            phase = crypto.send.key_phase << 2
            header = bytes([0x41 | phase]) + destination + number_bytes
            return crypto.send.encrypt_packet(header, frames.ljust(4, b"\0"), number)
        head = bytes([0xC1 | LONG_TYPES[epoch] << 4]) + VERSION_1
        head += bytes([len(destination)]) + destination + bytes([len(source)]) + source
        if epoch is Epoch.INITIAL:
            head += b"\0"
            frames = frames.ljust(SMALLEST_INITIAL - len(head) - 4 - TAG_BYTES, b"\0")
        length = (0x4000 | 2 + len(frames) + TAG_BYTES).to_bytes(2, "big")
        header = head + length + number_bytes
        if epoch is Epoch.ZERO_RTT:
            # Nobody has keys for it: what the server does before it finds out is what counts.
            return header + os.urandom(len(frames) + TAG_BYTES)
        return connection._cryptos[epoch].send.encrypt_packet(header, frames, number)


def fresh_socket(server):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.connect(server)
    one.setblocking(False)
    return one


def varint(value):
    return encode_uint_var(value)
