"""What is asked of a PostgreSQL journal. Values are bound; the texts are put together from our own."""
# ruff: noqa: S608 (no value comes into them)

from persistence.postgres_schema import digest_of, name_of

_STREAM = name_of("n.category", "n.key")
_THIS = f"(select id from streams where name = {name_of('$1::text', '$2::text')})"
_READ = """select e.position, s.category, s.key, e.version, e.type, e.time, e.command, e.data, e.meta, e.crc
    from events e left join streams s on s.id = e.stream """

HEADS = f"""select n.place, s.id,
    (select e.version from events e where e.stream = s.id order by e.version desc limit 1), s.owner
    from unnest($1::text[], $2::text[]) with ordinality as n (category, key, place)
    join streams s on s.name = {_STREAM}"""
"""Of the streams in two arrays that exist: the place in the arrays, the number, the version, the owner's number."""

STRANGERS = f"""select n.place, o.name
    from unnest($1::text[], $2::text[]) with ordinality as n (category, key, place)
    join streams s on s.name = {_STREAM} and s.owner <> $3 join owners o on o.number = s.owner"""
"""Of the streams in two arrays that belong to others than this owner: the place in the arrays, the owner's name."""

OWNER = "select name from owners where number = $1"

DUPLICATE = f"""select n.place from unnest($1::text[], $2::text[], $3::text[]) with ordinality
    as n (category, key, command, place)
    join streams s on s.name = {_STREAM}
    join events e on e.stream = s.id and {digest_of("e.command")} = {digest_of("n.command")} and e.command is not null
    order by n.place limit 1"""
"""Of the commands in three arrays, the place of the first that is there already."""

READ = f"{_READ} where e.stream = {_THIS} and e.version > $3 order by e.version limit $4"
READ_ALL = f"{_READ} where e.position > $1 order by e.position limit $2"

FIND = f"""select version from events where stream = {_THIS} and command is not null
    and {digest_of("command")} = {digest_of("$3::text")}"""

UNFINISHED = "select category, key from streams where owner = $1 and wake = $2 order by id"
SLEEPING = """select wake, id, category, key from streams where owner = $1 and (wake, id) > ($2, $3)
    order by wake, id limit $4"""

POSITION = "select position from journal"
