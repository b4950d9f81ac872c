"""The URL of a PostgreSQL journal: what it names, and that its password is never shown."""

import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence import BadJournalUrl, JournalUnusable
from persistence.opening import journal_of
from persistence.postgres_text import escaped, unescaped
from persistence.postgres_url import parse_url, quoted, without_password


def test_what_a_url_names() -> None:
    place = parse_url(
        "postgresql://ana:s3cret@db.example:5433/trips?schema=my%20trips&sslmode=require&views=/var/lib/x"
    )
    assert place.schema == "my trips"
    assert place.views == Path("/var/lib/x")
    assert place.dsn == "postgresql://ana:s3cret@db.example:5433/trips?sslmode=require"
    assert place.shown == "postgresql://ana@db.example:5433/trips?schema=my%20trips&sslmode=require&views=/var/lib/x"
    assert parse_url("postgres://host/db").schema == "understudy"
    assert parse_url("postgresql://host/db").views is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:",
        "postgresql:trips",
        "postgresql:/host/db",
        "postgresql://u:s3cret@host:port/db",
        "postgresql://u:s3cret@[::1/db",
        "postgresql://u:s3#cret@host/db",
        "postgresql://u:s3cret@host/db?schema",
        "postgresql://u:s3cret@host/db?schema=",
        "postgresql://u:s3cret@host/db?schema=" + "é" * 32,
        "postgresql://u:s3cret@host/db?schema=a%00b",
        "postgresql://u:s3cret@host/db?schema=$user",
        "postgresql://u:s3cret@host/db?views=",
        "postgresq://u:s3cret@host/db",
        "postgresqlx://u:s3cret@host/db",
        "mysql://u:s3cret@host/db",
    ],
)
def test_what_cant_be_meant_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(BadJournalUrl, match=r"postgresql://user@host/database|views=") as caught:
        journal_of(url, "full")
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20), st.booleans())
def test_no_password_is_shown(password: str, encode: bool) -> None:
    word = f"<{password}>"
    written = quote(word, safe="") if encode else word
    shown = without_password(f"postgresql://ana:{written}@db.example/trips?schema=s")
    assert shown == "postgresql://ana@db.example/trips?schema=s"


def test_a_password_among_the_options_is_not_shown_either() -> None:
    url = "postgresql://host/db?user=ana&password=s3cret&sslpassword=s3cret&schema=s"
    assert without_password(url) == "postgresql://host/db?user=ana&password=***&sslpassword=***&schema=s"
    assert "s3cret" not in repr(parse_url(url))
    assert "s3cret" not in repr(journal_of(url, "full"))


def test_other_urls_are_shown_as_they_are() -> None:
    for url in ("sqlite:a:b@c.db", "sqlite:///a:b@c.db", "memory:", "trips.db"):
        assert without_password(url) == url


def test_without_the_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    for name in [name for name in sys.modules if name.startswith("persistence.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(JournalUnusable, match=r"pip install 'understudy\[postgres\]'"):
        journal_of("postgresql://host/db", "full")
    journal_of("memory:", "full")


@pytest.mark.parametrize("name", ["a", 'a"b', '"', "a;b", "Ünï", "$1", "%s", "a b", "A"])
def test_a_name_is_quoted(name: str) -> None:
    assert quoted(name)[1:-1].replace('""', '"') == name
    assert quoted(name).count('"') % 2 == 0


awkward = st.text(st.sampled_from("\\\0x0é'ab"), max_size=12) | st.text(st.characters(codec="utf-8"), max_size=12)


@given(awkward, awkward)
def test_any_text_has_a_form_that_can_be_kept(one: str, other: str) -> None:
    assert "\0" not in escaped(one)
    assert unescaped(escaped(one)) == one
    assert (escaped(one) == escaped(other)) == (one == other)
