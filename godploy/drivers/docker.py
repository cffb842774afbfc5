"""The Docker SDK, made safe for an event loop: calls in a small pool of threads, streams in threads of their own.

The SDK blocks, and its client must not be shared between threads (docker-py issue 3229), so each thread has its own.
A long-lived stream never takes a thread of the pool, or a few followed logs would stall everything else. The SDK is
imported by the first thread that needs it: it costs memory that a `godploy validate` should not pay.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

from godploy.errors import Conflict, GodployError, NotFound, Unavailable

T = TypeVar("T")
Api = Any
"""The SDK's low-level client; its type stubs lack or narrow half of what we call, so they are of no help here."""

SOCKET = "unix:///var/run/docker.sock"
_HELD = 256  # items that a stream may be ahead of its reader


class Refused(GodployError):
    """The engine understood the call and would not do it; the message is the engine's own."""

    code = "refused"


class Docker:
    """A Docker engine at `url`. Errors of every call and stream: NotFound, Conflict, Refused, and Unavailable where the
    engine does not answer (it is then unknown what it did)."""

    def __init__(self, url: str = SOCKET, *, timeout: float = 30.0, threads: int = 8) -> None:
        self.url = url
        self._timeout = timeout
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="docker")
        self._local = threading.local()
        self._version: str | None = None  # of the API, once the engine has told it

    async def call(self, work: Callable[[Api], T], *, timeout: float | None = None) -> T:
        """Runs `work` with a client in a thread; `timeout` is in seconds, for each request that it makes.

        A cancelled call returns only when its thread has finished, so that nothing is made after the caller has
        cleaned up. It is therefore for what the engine answers soon: never for waiting until something happens.
        """
        job = self._pool.submit(self._run, work, timeout or self._timeout)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            await _outlasted(job)
            raise

    async def stream(self, source: Callable[[Api], Iterable[T]]) -> AsyncGenerator[T, None]:
        """The items of a stream of the engine's, read in a thread of its own, which waits when it is far ahead.

        Close the iterator (`contextlib.aclosing`) to end thread and request.
        """
        handoff: _Handoff[T] = _Handoff(asyncio.get_running_loop())
        thread = threading.Thread(target=self._pump, args=(source, handoff), name="docker-stream", daemon=True)
        thread.start()
        try:
            async for item in handoff.items():
                yield item
        finally:
            handoff.close()

    async def close(self) -> None:
        """Waits for calls under way; open streams are their readers' to close."""
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)

    def _run(self, work: Callable[[Api], T], timeout: float) -> T:
        try:
            with _translated():
                client: Api = getattr(self._local, "client", None)
                if client is None:
                    client = self._local.client = self._client()
                client.timeout = timeout
                return work(client)
        except Unavailable:  # the next call begins with a fresh connection, perhaps to a newer engine
            self._local.client = self._version = None
            raise

    def _client(self) -> Api:
        import docker

        client = docker.APIClient(base_url=self.url, version=self._version or "auto", timeout=int(self._timeout))
        # The SDK would keep an open connection for each of the last 25 paths that it asked for, in every thread
        # [measured: 120 after six deployments]; a new one to a socket of this machine costs next to nothing.
        client.headers["Connection"] = "close"
        self._version = client.api_version
        return client

    def _pump(self, source: Callable[[Api], Iterable[T]], handoff: _Handoff[T]) -> None:
        client: Api = None
        try:
            with _translated():
                client = self._client()
                items = source(client)
                handoff.opened(items)
                for item in items:
                    if not handoff.put(item):
                        break
            handoff.end(None)
        except GodployError as error:
            handoff.end(error)
        finally:
            if client is not None:
                client.close()


class _Handoff(Generic[T]):
    """Between the thread that reads a stream and the task that takes its items."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: asyncio.Queue[tuple[T] | GodployError | None] = asyncio.Queue()
        self._room = threading.Semaphore(_HELD)
        self._lock = threading.Lock()
        self._closed = False
        self._stream: Any = None

    def opened(self, stream: Any) -> None:
        with self._lock:
            self._stream = stream
            if self._closed:
                self._shut()

    def put(self, item: T) -> bool:
        """False when nobody takes items any more."""
        self._room.acquire()
        return not self._closed and self._hand((item,))

    def end(self, error: GodployError | None) -> None:
        self._hand(error)

    async def items(self) -> AsyncIterator[T]:
        while (held := await self._queue.get()) is not None:
            if isinstance(held, GodployError):
                raise held
            self._room.release()
            yield held[0]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._room.release()
            self._shut()

    def _hand(self, held: tuple[T] | GodployError | None) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, held)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _shut(self) -> None:
        """Shuts the socket, on which the thread may be waiting. A generator, which has none, ends at its next item."""
        if hasattr(self._stream, "_response"):
            with suppress(OSError, AttributeError):  # it had ended by itself
                self._stream.close()


@contextmanager
def _translated() -> Iterator[None]:
    """The SDK's many errors as our few."""
    import docker.errors
    import requests.exceptions

    try:
        yield
    except docker.errors.APIError as error:
        said = str(error.explanation or error)
        status = error.response.status_code if error.response is not None else 0
        if status == 404:
            raise NotFound(said) from error
        if status == 409:
            raise Conflict(said) from error
        if status == 503:
            raise Unavailable(f"the Docker engine is not available: {said}") from error
        raise Refused(said) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        raise Unavailable(
            f"the Docker engine does not answer: {error}", next_step="see whether it runs: systemctl status docker"
        ) from error


async def _outlasted(job: Future[Any]) -> None:
    """Returns when `job` has ended, however often the waiting task is cancelled."""
    while not job.cancel() and not job.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([asyncio.wrap_future(job)])
