"""A client of the Telemetry Collector: sends two metrics of a pretended GPU, loses none.

The rules are in docs/protocol.md; each is marked where it is kept. Read `Outbox` first: it holds
every batch until the collector's final answer, whatever happens to the connection.
"""

import argparse
import asyncio
import contextlib
import hashlib
import math
import os
import random
import ssl
import struct
import time

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived

from telemetry_pb2 import AckStatus, CollectorMessage, MetricBatch, MetricKind, SeriesTable

ALPN = "horizon-telemetry/1"
MOST_WAITING = 10_000  # batches; what comes beyond is dropped and counted, memory is not endless
FIRST_DELAY, LONGEST_DELAY = 0.25, 10.0  # seconds between tries to connect


def table_of_one_gpu() -> bytes:
    """The series, encoded once: as long as they stay the same, their bytes must."""
    gauge = MetricKind.METRIC_KIND_GAUGE
    table = SeriesTable(symbols=["", "GPU_TEMP", "Cel", "GPU_POWER", "W", "gpu", "0"])
    table.series.add(name=1, labels=[5, 6], kind=gauge, unit=2)
    table.series.add(name=3, labels=[5, 6], kind=gauge, unit=4)
    return table.SerializeToString()


class Outbox:
    """Batches without a final answer, by sequence, in the order of their numbers."""

    def __init__(self):
        self.epoch = time.time_ns() // 1_000_000  # new and larger at every start
        self.next_sequence = 1
        self.batches: dict[int, MetricBatch] = {}
        self.not_before: dict[int, float] = {}  # of the THROTTLED ones
        self.dropped = 0

    def add(self, table: bytes, values: list[float]) -> None:
        if len(self.batches) >= MOST_WAITING:
            self.dropped += 1  # without taking a number: numbers have no holes
            return
        batch = MetricBatch(schema_version=1, epoch=self.epoch, sequence=self.next_sequence)
        batch.series_table.ParseFromString(table)
        batch.series.extend(range(len(values)))
        batch.timestamp_delta_ms.extend([time.time_ns() // 1_000_000] + [0] * (len(values) - 1))
        batch.value.extend(values)
        self.batches[self.next_sequence] = batch
        self.next_sequence += 1

    def answer(self, sequence: int, ack) -> None:
        if ack.status == AckStatus.ACK_STATUS_THROTTLED:
            self.not_before[sequence] = time.monotonic() + ack.retry_after_ms / 1000
            return
        if ack.rejected:  # final all the same: sending it again changes nothing
            reasons = ", ".join(f"{each.count} {each.reason}" for each in ack.rejections)
            print(f"batch {sequence}: {ack.rejected} samples refused: {reasons} {ack.message}")
        self.batches.pop(sequence, None)
        self.not_before.pop(sequence, None)


class Connection(QuicConnectionProtocol):
    """One connection. A lost one is replaced as a whole, so nothing of it can linger."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.hello = None
        self.greeted = asyncio.Event()
        self.ended = asyncio.Event()
        self.received = b""
        self.frames: list[int] = []  # the sequence that each frame of the stream carries
        self.in_flight: set[int] = set()
        self.sent_table = b""

    def start(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.stream = self._quic.get_next_available_stream_id()
        # The first byte of the first frame's length, which is 0: the collector greets a stream
        # that it has seen. Connected we are only when Hello comes.
        self._quic.send_stream_data(self.stream, b"\0")
        self.transmit()

    def quic_event_received(self, event) -> None:
        if isinstance(event, ConnectionTerminated):
            print(f"connection closed: code {event.error_code:#x} {event.reason_phrase}")
            self.ended.set()
            self.greeted.set()
        elif isinstance(event, StreamDataReceived):
            self.received += event.data
            while len(self.received) >= 4:
                length = struct.unpack(">I", self.received[:4])[0]
                if len(self.received) < 4 + length:
                    break
                self.take(CollectorMessage.FromString(self.received[4 : 4 + length]))
                self.received = self.received[4 + length :]

    def take(self, message: CollectorMessage) -> None:
        if message.HasField("hello"):
            self.hello = message.hello
            self.greeted.set()
        elif message.HasField("ack"):
            ack = message.ack
            # The frame names the batch even where the collector could not read its numbers.
            sequence = self.frames[ack.frame - 1] if ack.frame else ack.sequence
            self.in_flight.discard(sequence)
            self.outbox.answer(sequence, ack)

    def pump(self) -> None:
        """Sends what may be sent: in order, within the window, THROTTLED ones when it is time."""
        now = time.monotonic()
        window = self.hello.sequence_window or 1024
        for sequence, batch in list(self.outbox.batches.items()):
            if sequence - next(iter(self.outbox.batches)) >= window:
                break
            if sequence in self.in_flight or self.outbox.not_before.get(sequence, 0) > now:
                continue
            self.in_flight.add(sequence)
            self.frames.append(sequence)
            payload = self.encode(batch)
            frame = struct.pack(">I", len(payload)) + payload
            self._quic.send_stream_data(self.stream, frame[1:] if len(self.frames) == 1 else frame)
        self.transmit()

    def encode(self, batch: MetricBatch) -> bytes:
        """The batch; its table is named where it is that of the frame before on this connection."""
        table = batch.series_table.SerializeToString()
        if table != self.sent_table or not self.hello.accepts_series_table_id:
            self.sent_table = table
            return batch.SerializeToString()
        short = MetricBatch()
        short.CopyFrom(batch)
        short.ClearField("series_table")
        short.series_table_id = hashlib.sha256(table).digest()[:16]
        return short.SerializeToString()


async def stay_connected(options, outbox: Outbox) -> None:
    configuration = QuicConfiguration(alpn_protocols=[ALPN], is_client=True, idle_timeout=15.0)
    configuration.verify_mode = ssl.CERT_REQUIRED
    configuration.load_verify_locations(options.ca)
    configuration.load_cert_chain(options.cert, options.key)
    host, port = options.server.rsplit(":", 1)
    delay = FIRST_DELAY
    while True:
        with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
            async with connect(
                host, int(port), configuration=configuration, create_protocol=Connection
            ) as connection:
                connection.start(outbox)
                await asyncio.wait_for(connection.greeted.wait(), 10)
                while not connection.ended.is_set():
                    delay = FIRST_DELAY  # greeted: the next loss starts over with a short wait
                    connection.pump()
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(connection.ended.wait(), 0.05)
        # Jitter, or all agents of a restarted collector come back in the same instant.
        await asyncio.sleep(delay * random.uniform(0.5, 1.5))
        delay = min(2 * delay, LONGEST_DELAY)


async def measure(outbox: Outbox, interval: float) -> None:
    table = table_of_one_gpu()
    while True:
        swing = math.sin(time.time() / 60)
        outbox.add(table, [60 + 15 * swing, 400 + 200 * swing])
        await asyncio.sleep(interval)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("server", "ca", "cert", "key"):
        preset = os.environ.get(f"TELEMETRY_{name.upper()}")
        parser.add_argument(f"--{name}", default=preset, required=preset is None)
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between two batches")
    options = parser.parse_args()
    outbox = Outbox()
    await asyncio.gather(stay_connected(options, outbox), measure(outbox, options.interval))


if __name__ == "__main__":
    asyncio.run(main())
