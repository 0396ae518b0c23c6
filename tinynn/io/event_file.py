"""A file of events for TensorBoard: records in the TFRecord format, each a protocol buffer.

It is written from the calling thread, without a queue: what was added before `EventFile.flush` is in the file after it,
and a program that ends with an exception leaves all that it has reported.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import threading
import time
from typing import Any

_numbers = itertools.count()


class EventFile:
    """One file of events. No other has its name: it contains the time, the host, the process, and a number."""

    def __init__(self, folder: str, max_waiting: int, max_seconds: float, suffix: str, purge_step: int | None) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        os.makedirs(folder, exist_ok=True)
        self.process = os.getpid()
        now = time.time()
        name = f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{self.process}.{next(_numbers)}{suffix}"
        self._lock = threading.Lock()
        self._max_waiting, self._max_seconds = max_waiting, max_seconds
        # Not in the file's own buffer: after a fork, both processes would write that.
        self._waiting: list[bytes] = []
        self._last_flush = time.monotonic()
        self._file = open(os.path.join(folder, name), "xb", buffering=0)  # noqa: SIM115
        self.write(Event(wall_time=now, file_version="brain.Event:2"))
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self.write(Event(wall_time=now, step=int(purge_step), session_log=start))
        self.flush()

    def write(self, event: Any) -> None:
        record = _record(event.SerializeToString())
        with self._lock:
            self._waiting.append(record)
            full = len(self._waiting) >= self._max_waiting or time.monotonic() - self._last_flush >= self._max_seconds
        if full:
            self.flush()

    def flush(self, to_disk: bool = False) -> None:
        """Hand over to the operating system; ``to_disk``: also wait until it has written."""
        with self._lock:
            self._file.write(b"".join(self._waiting))
            self._waiting, self._last_flush = [], time.monotonic()
            if to_disk:
                os.fsync(self._file.fileno())

    def close(self) -> None:
        if self.process == os.getpid():
            self.flush()
        self._file.close()


def _record(data: bytes) -> bytes:
    """``data`` as a TFRecord: length (8 bytes), its checksum (4), the data, their checksum (4)."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))
