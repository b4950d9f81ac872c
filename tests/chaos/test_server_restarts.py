"""P1 to P3, P6, P7, P10, P14: the server is restarted under four processes that write to one journal."""

from random import Random

from tests.chaos.keepers import check_kept, check_rows, keepers
from tests.server import a_server, needs_own_server

pytestmark = needs_own_server

RESTARTS = 20
OWNERS = ("ana", "bob", "eve", "kim")


async def test_a_server_that_is_restarted_twenty_times_loses_and_doubles_nothing() -> None:
    random = Random(11)
    async with a_server() as server, keepers([(name, server.url(owner=name)) for name in OWNERS]) as processes:
        for restart in range(RESTARTS):
            for keeper in processes:  # all of them have come back by themselves
                await keeper.goes_on(random.randrange(1, 30))
            await server.stop("fast" if restart % 2 else "immediate")
            await server.start()
        for keeper in processes:
            await keeper.goes_on(20)
        for keeper in processes:
            assert await keeper.tell("stop") == "stopped"
        things = await check_kept(server.url(), processes)
        assert len(things) > RESTARTS * len(OWNERS)
        await check_rows(server.url(), processes)
        for keeper in processes:
            assert await keeper.end() == 0
