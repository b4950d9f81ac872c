"""Networks by URL."""

from collections.abc import Sequence

from actors import BadNetworkUrl
from runtime.cluster.nats import NatsNetwork
from runtime.cluster.network import Network


def network_for(network: str | Network | None, remote: Sequence[type] = ()) -> Network | None:
    """Return the network that a URL names, or the one that is given; None: there are no other nodes.

    Raises:
        BadNetworkUrl: the URL is none that is known.
        ValueError: there are ``remote`` classes, and no way to them.
        ExtraMissing: the library that it needs is not installed.
    """
    if network is None:
        if remote:
            names = ", ".join(cls.__name__ for cls in remote)
            raise ValueError(f'remote= names {names}, and no way leads there; write network="nats://127.0.0.1:4222"')
        return None
    if not isinstance(network, str):
        return network
    if network.startswith(("nats://", "tls://")):
        return NatsNetwork(network)
    raise BadNetworkUrl(
        f"there is no network {network.rpartition('@')[2]!r}; write 'nats://127.0.0.1:4222', or give a "
        "network: MemoryNetwork(), say, for the nodes of one process"
    )
