"""The URL of a journal on PostgreSQL: what it names, and how it is shown without its password."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from persistence.errors import BadJournalUrl

SCHEMES = ("postgresql", "postgres")
DEFAULT_SCHEMA = "understudy"
DEFAULT_OWNER = "main"
"""Who a process is at a journal, where its URL does not say."""
NAME_BYTES = 63
"""PostgreSQL cuts longer names off in silence, so that two would be one."""
OURS = ("schema", "owner", "views", "notify")
"""Options in the URL that are not the driver's."""
EXAMPLE = "'postgresql://user@host/database?schema=understudy'"


class Place(msgspec.Struct, frozen=True):
    """Where a journal is."""

    dsn: str
    """For the driver, with the password; never to be shown."""
    shown: str
    """For people: without the password."""
    schema: str
    owner: str
    """As whom we write."""
    views: Path | None
    """The folder of the read models' databases; None keeps them in memory."""
    notify: bool
    """Whether other processes are told of each group; else they look now and then."""

    def __repr__(self) -> str:
        return f"<Place {self.shown}>"


def parse_url(url: str) -> Place:
    """Return what a URL names.

    Raises:
        BadJournalUrl: it can't be understood. The message does not show it, for it may hold a password.
    """
    try:
        url.encode()  # what is no text has no place in it, nor behind a %
        parts = urlsplit(url)
        _ = parts.port, parts.hostname  # looked at, so that what is wrong with them is found here
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise BadJournalUrl(f"the PostgreSQL URL can't be understood; write {EXAMPLE}") from None
    if parts.scheme not in SCHEMES or parts.fragment or not url.startswith(f"{parts.scheme}://"):
        raise BadJournalUrl(
            f"the PostgreSQL URL can't be understood; write {EXAMPLE}, in a password %40, %2F and %23 for @, / and #"
        )
    ours = {name: value for name, value in options if name in OURS}
    schema = ours.get("schema", DEFAULT_SCHEMA)
    # PostgreSQL reads "$user" as the user's own schema, and no name of another would find it.
    if not 0 < len(schema.encode()) <= NAME_BYTES or "\0" in schema or schema == "$user":
        raise BadJournalUrl(f"a schema's name has 1 to {NAME_BYTES} bytes, and is not $user; write {EXAMPLE}")
    owner = ours.get("owner", DEFAULT_OWNER)
    if not 0 < len(owner.encode()) <= NAME_BYTES or "\0" in owner:
        raise BadJournalUrl(f"an owner's name has 1 to {NAME_BYTES} bytes; write {EXAMPLE} with &owner=booking-1")
    if ours.get("views") == "":
        raise BadJournalUrl(
            "views= in the URL names the folder of the read models' databases; write it, or leave it out"
        )
    if ours.get("notify", "on") not in ("on", "off"):
        raise BadJournalUrl("notify= in the URL is on or off")
    query = urlencode([option for option in options if option[0] not in ours])
    dsn = urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
    views = Path(ours["views"]) if "views" in ours else None
    return Place(dsn, without_password(url), schema, owner, views, ours.get("notify") != "off")


def without_password(url: str) -> str:
    """Return a journal's URL as it may be shown; the path of a file comes back as it is."""
    if url.startswith("sqlite:"):
        return url
    # To the last @ there is: a password that was not encoded as it should be is hidden too.
    shown = re.sub(r"(?s)^([^:]*:/*[^:@/?]*):.*@", r"\1@", url)
    # One who forgot the scheme: ana:password@host/database.
    shown = re.sub(r"(?s)^(?!postgres(?:ql)?:)([^:@/?]*):(?!/).*@", r"\1@", shown)
    return re.sub(r"(?i)([?&][^=&]*password=)[^&]*", r"\1***", shown)


def quoted(name: str) -> str:
    """Return a name as an identifier in SQL; any character in it is only a character."""
    return '"' + name.replace('"', '""') + '"'
