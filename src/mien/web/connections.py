"""Close connections that do not send a request, before they are so many that nobody else is answered.

The server listens on 127.0.0.1 only, so all clients have that address and none can be told from another by it. What is
limited instead is how many connections may wait for the head of a request at the same time: the oldest gives way.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from mien.web.guard import ALWAYS, POLICY

HEAD_SECONDS: Final = 10.0
"""Seconds within which the head of a request has to arrive, on a new connection as on one that was used before."""

MOST_WAITING: Final = 64
"""Largest number of connections that wait for the head of a request."""

MOST: Final = 256
"""Largest number of connections, of those too whose request is being answered."""


STALLED_SECONDS: Final = 60.0
"""Seconds after which a client is given up that has read nothing of an answer that waits for it."""


def patient_protocol(
    seconds: float = HEAD_SECONDS,
    waiting: int = MOST_WAITING,
    most: int = MOST,
    stalled: float = STALLED_SECONDS,
) -> type[H11Protocol]:
    """Return the protocol of the connections of one server, for `uvicorn.Config(http=...)`.

    Args:
        seconds: See `HEAD_SECONDS`.
        waiting: See `MOST_WAITING`.
        most: See `MOST`.
        stalled: See `STALLED_SECONDS`.
    """
    # In the order in which they began to wait.
    queue: dict[H11Protocol, asyncio.TimerHandle] = {}
    watched: dict[H11Protocol, asyncio.TimerHandle] = {}

    class Patient(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > most and not queue:
                transport.abort()
                return
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            self._stop_watching()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch_reader()

        def resume_writing(self) -> None:
            super().resume_writing()
            if not self.transport.is_closing():
                self._stop_watching()

        def _watch_reader(self, before: float = math.inf) -> None:
            """Give the client up if it reads nothing for a while; one that reads slowly gets all."""
            self._stop_watching()
            left = self.transport.get_write_buffer_size()
            if left >= before:
                self.transport.abort()
            elif left:
                watched[self] = self.loop.call_later(stalled, self._watch_reader, left)

        def _stop_watching(self) -> None:
            timer = watched.pop(self, None)
            if timer is not None:
                timer.cancel()

        def handle_events(self) -> None:
            before = self.cycle
            super().handle_events()
            if self.cycle is not before and not self.cycle.response_complete:
                self._stop_waiting()

        def on_response_complete(self) -> None:
            self._wait()
            super().on_response_complete()  # may find that the next request is there already

        def send_400_response(self, msg: str) -> None:
            """Refuse what is not HTTP, with the headers of every other response."""
            more = {**ALWAYS, "Content-Security-Policy": POLICY, "Connection": "close"}
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            headers += [(name.lower().encode(), value.encode()) for name, value in more.items()]
            parts = (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=msg.encode("ascii")),
                h11.EndOfMessage(),
            )
            for part in parts:
                self.transport.write(self.conn.send(part) or b"")
            self.transport.close()

        def _wait(self) -> None:
            self._stop_waiting()
            if self.transport.is_closing():
                return
            queue[self] = self.loop.call_later(seconds, self._give_up)
            while len(queue) > waiting or (len(self.connections) > most and len(queue) > 1):
                next(iter(queue))._give_up()  # type: ignore[attr-defined]

        def _stop_waiting(self) -> None:
            timer = queue.pop(self, None)
            if timer is not None:
                timer.cancel()

        def _give_up(self) -> None:
            self._stop_waiting()
            self.connections.discard(self)
            if self.transport.get_write_buffer_size():
                self.transport.close()  # a slow client still gets the rest of its answer
                self._watch_reader()
            else:
                self.transport.abort()

    return Patient
