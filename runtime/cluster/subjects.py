"""Subjects: where nodes are reached on their network."""

import hashlib


def life_subject(life: str) -> str:
    """Return where a node is reached from its start to its end."""
    return f"life.{life}"


def class_subject(actor: str) -> str:
    """Return where those are reached who serve a class of actors."""
    return f"class.{actor}"


def owner_subject(journal: str, owner: str) -> str:
    """Return where the owner of a journal's streams is reached. His name may be any text, so it is hashed."""
    return "owner." + _hashed(f"{journal}/{owner}")


def group_of(journal: str) -> str:
    """Return the group of those who serve from a journal: of what is sent to a class, one of each group is told."""
    return _hashed(journal)


def _hashed(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
