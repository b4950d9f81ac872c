"""Where eventsourcing keeps its events. It reads that from the environment when an application is made."""

import os


def go_to(engine: str, place: str, threads: int = 1, *, snapshots: bool = False) -> None:
    """Use an SQLite file, or user@host:port/database/schema on PostgreSQL."""
    os.environ["IS_SNAPSHOTTING_ENABLED"] = "y" if snapshots else "n"
    if engine == "sqlite":
        os.environ.update(PERSISTENCE_MODULE="eventsourcing.sqlite", SQLITE_DBNAME=place)
        return
    where, database, schema = place.split("/")
    user, _, server = where.rpartition("@")
    host, _, port = server.partition(":")
    os.environ.update(
        PERSISTENCE_MODULE="eventsourcing.postgres",
        POSTGRES_DBNAME=database,
        POSTGRES_HOST=host,
        POSTGRES_PORT=port or "5432",
        POSTGRES_USER=user.partition(":")[0],
        POSTGRES_PASSWORD=user.partition(":")[2] or "none",
        POSTGRES_SCHEMA=schema,
        POSTGRES_POOL_SIZE=str(threads),
        PGOPTIONS=f"-c search_path={schema}",  # its functions for conditional appends leave the schema out
    )
