"""The network on NATS (``understudy[nats]``): core NATS, which keeps nothing, and need not."""

import asyncio
from collections import deque
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from actors import BadNetworkUrl, ExtraMissing, NetworkUnusable
from persistence.connection import shielded
from runtime.cluster.network import Link, Network, Receiver
from runtime.log import log

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

DEFAULT_SYSTEM = "understudy"
"""Whose nodes are among each other, where the URL does not say."""
MOST_WAITING = 20_000
"""How many messages may wait for the connection; more are lost, and sent again by who wants an answer."""
CONNECT = 10.0
"""Seconds for which a node that joins tries to reach the server."""
CLOSE = 5.0
"""Seconds for what has not left yet when a node leaves."""
FLUSH = 10
"""Seconds for the server to say that it has taken what was sent to it."""
AGAIN = 0.1
"""Seconds after which what has not ended is told to once more."""
PING = 5.0
"""Seconds between questions to the server whether it is there; after three without an answer the connection is made
anew. By then nobody has heard of this node for as long as others wait for a sign of life."""


class NatsNetwork(Network):
    """A network on one or several NATS servers, which are one cluster.

    ``url`` is ``nats://user:password@host:4222?system=trips`` (``tls://`` for TLS); only nodes of one ``system`` hear
    of each other (default: understudy). ``options`` are the driver's (``nats.connect``): ``servers=[...]`` in place of
    the URL's one, credentials, a TLS context.

    Raises:
        BadNetworkUrl: the URL can't be understood.
        ExtraMissing: nats-py is not installed.
    """

    def __init__(self, url: str, **options: Any) -> None:
        if find_spec("nats") is None:
            raise ExtraMissing("networks on NATS need nats-py: pip install 'understudy[nats]'")
        parts = urlsplit(url)
        try:
            asked = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            system = asked.pop("system", DEFAULT_SYSTEM)
            assert parts.port is None or parts.port > 0
        except ValueError:
            asked, system = {"": ""}, ""
        if asked or not parts.hostname or not system.replace("-", "").replace("_", "").isalnum():
            raise BadNetworkUrl("the network's URL can't be understood; write 'nats://127.0.0.1:4222?system=trips'")
        self._server = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
        self.shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        """The server, for people: without a password."""
        self._system = system
        self._options = options

    def link(self, name: str, receiver: Receiver) -> "NatsLink":
        """Return the link of a node of this name."""
        options: dict[str, Any] = {"servers": [self._server], "max_reconnect_attempts": -1, "reconnect_time_wait": 1}
        options |= {"ping_interval": PING, "max_outstanding_pings": 2}
        options |= {"name": f"understudy {self._system} {name}", "no_echo": False, "allow_reconnect": True}
        return NatsLink(options | self._options, self._system, name, receiver, self.shown)


class NatsLink(Link):
    """One node's end of a network on NATS."""

    def __init__(self, options: dict[str, Any], system: str, name: str, receiver: Receiver, shown: str) -> None:
        from nats.aio.client import Client

        self._client: Any = Client()  # its types are known in part
        self._options = options
        self._prefix = f"{system}."
        self._receiver = receiver
        self._shown = shown
        self._nobody = f"{system}.nobody.{name}"
        """Where the server says that nobody listens; a request's number follows."""
        self._subscriptions: dict[str, Subscription] = {}
        self._waiting: deque[tuple[str, bytes, int]] = deque()
        self._wake = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None
        self._joined = self._closing = False
        self._lost = 0
        """How many messages were lost on this side since the connection was there last."""
        self.largest = 0

    async def open(self) -> None:
        """Join the network."""
        joining = asyncio.ensure_future(self._begin())
        try:
            await asyncio.wait([joining], timeout=CONNECT)
            if not joining.done():
                raise TimeoutError(f"not within {CONNECT:g} seconds")
            await joining
        except BaseException as error:
            await shielded(_ended(joining))
            await shielded(self.close())
            if not isinstance(error, Exception):
                raise
            raise NetworkUnusable(f"the network at {self._shown} can't be reached: {error!r}") from error

    async def _begin(self) -> None:
        """Connect, and be ready to send and to be told."""
        await self._client.connect(
            **self._options,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnect,
            closed_cb=self._on_closed,
        )
        self.largest = self._client.max_payload
        self._sender = asyncio.get_running_loop().create_task(self._send_all())
        await self._client.subscribe(f"{self._nobody}.*", cb=self._told)
        await self._flush()
        self._joined = True

    async def listen(self, subject: str) -> None:
        """Receive what is sent to a subject."""
        await self._subscribe(subject, "")

    async def share(self, subject: str, group: str) -> None:
        """Receive some of what is sent to a subject."""
        await self._subscribe(subject, group)

    async def _subscribe(self, subject: str, group: str) -> None:
        client = self._client
        try:
            self._subscriptions[subject] = await client.subscribe(self._prefix + subject, queue=group, cb=self._arrived)
            await self._flush()  # the server knows of it then
        except Exception as error:
            raise NetworkUnusable(f"the network at {self._shown} can't be used: {error!r}") from error

    async def leave(self, subject: str) -> None:
        """Receive nothing more of it."""
        subscription = self._subscriptions.pop(subject, None)
        if subscription is None or not self._client.is_connected:
            return  # a server that is away forgets it by itself
        try:
            await subscription.unsubscribe()
            await self._flush()
        except Exception as error:  # noqa: BLE001 (it has gone meanwhile)
            log.warning("the network was left in the middle", network=self._shown, error=repr(error))

    async def _flush(self) -> None:
        """Wait until the server has taken all that was handed to the connection before.

        The driver's ping goes out ahead of what stands in its buffer. So the first answer only says that all of that
        has left since; the second one, that the server has come to it.
        """
        for _ in range(2):
            await self._client.flush(FLUSH)

    async def _arrived(self, message: "Msg") -> None:
        self._receiver.arrived(message.data)

    async def _told(self, message: "Msg") -> None:
        self._receiver.nobody(int(message.subject.rpartition(".")[2]))

    def send(self, subject: str, data: bytes, number: int = 0) -> None:
        """Send a message."""
        if len(self._waiting) >= MOST_WAITING or self._closing or self._client.is_closed:
            self._lost += 1
            return
        self._waiting.append((self._prefix + subject, data, number))
        self._wake.set()

    async def _send_all(self) -> None:
        """Hand what is to be sent to the connection, in order, until it is closed and nothing waits."""
        while self._waiting or not self._closing:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                subject, data, number = self._waiting.popleft()
                reply = f"{self._nobody}.{number}" if number else ""
                try:
                    await self._client.publish(subject, data, reply)
                except Exception as error:  # noqa: BLE001 (the buffer is full while the server is away; it is sent again)
                    if not self._lost:
                        log.warning("messages to other nodes are lost", network=self._shown, error=repr(error))
                    self._lost += 1

    async def close(self) -> None:
        """Send what has not left yet, and leave the network."""
        self._joined, self._closing = False, True
        try:
            async with asyncio.timeout(CLOSE):
                if self._sender is not None:
                    self._wake.set()
                    await asyncio.wait([self._sender])
                if self._client.is_connected:
                    # Said, for the server notices the end of a connection in its own time: till then, who sends us
                    # something would not be told that nobody is there.
                    for subscription in self._subscriptions.values():
                        await subscription.unsubscribe()
                    await self._flush()
        except Exception as error:  # noqa: BLE001 (the server is away: nothing more can be said to anybody)
            log.warning("the network was left in the middle", network=self._shown, error=repr(error))
        finally:
            self._waiting.clear()
            if self._sender is not None:
                await _ended(self._sender)
            await _closed(self._client)

    # -- what the connection has to say -------------------------------------------------------------------------

    async def _on_error(self, error: Exception) -> None:
        """Take note of an error that is no message's."""
        log.warning("the network has met an error", network=self._shown, error=repr(error))

    async def _on_disconnect(self) -> None:
        """Take note that the connection is lost; it is made again."""
        if not self._client.is_closed:
            log.warning("the connection to the network is lost", network=self._shown)

    async def _on_reconnect(self) -> None:
        """Take note that it was made again."""
        lost, self._lost = self._lost, 0
        log.info("the connection to the network is there again", network=self._shown, lost=lost)

    async def _on_closed(self) -> None:
        """Take note that the connection has ended for good, because the server wants none of us, say."""
        if self._joined:
            log.critical("this node is not in the network any more; start it again", network=self._shown)


async def _ended(task: "asyncio.Task[Any]") -> None:
    """Cancel a task until it has ended.

    The driver swallows that now and then: while it waits for room, and where ``asyncio.wait_for`` does, which before
    Python 3.12 tells of a connection that was refused in the same moment instead. It would try again for ever.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN)
    if not task.cancelled():
        task.exception()  # whatever it is, it comes too late


async def _closed(client: "Client") -> None:
    """Close the connection, also where the driver would wait for ever for a server that takes nothing."""
    closing = asyncio.ensure_future(client.close())
    await asyncio.wait([closing], timeout=CLOSE)
    if not closing.done():
        _abort(client)
        await asyncio.wait([closing], timeout=CLOSE)
    await _ended(closing)
    if not closing.cancelled() and (error := closing.exception()) is not None:  # it is closed all the same
        log.warning("the connection to the network did not end well", error=repr(error))


def _abort(client: "Client") -> None:
    """Close the socket as it is; the driver has no word for it."""
    writer = getattr(getattr(client, "_transport", None), "_io_writer", None)
    if writer is not None:
        writer.transport.abort()
