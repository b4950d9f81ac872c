"""Understudy's services."""

from benchmarks.measuring import main
from benchmarks.understudy import cast
from benchmarks.understudy.works import Cast, works

SERVICES = Cast(
    actors=cast.SERVICES,
    silent=cast.Listener.at,
    hello=cast.Note(),
    arrival=cast.Guest,
    arrive=cast.Check(),
    flooded=cast.Barrel.at(),
    flood=cast.Pour(),
    handled=cast.Barrel.handled,
)

if __name__ == "__main__":
    main(works(SERVICES))
