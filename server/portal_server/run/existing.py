"""Opens a database that exists, for the commands that create none."""

from pathlib import Path

from sqlalchemy import Engine

from portal_server.domain.errors import OperatorError
from portal_server.run.settings import Settings
from portal_server.storage.sql.engine import POOL_SIZE
from portal_server.storage.sql.first_connection import open_connected


def open_existing(settings: Settings, connections: int = POOL_SIZE) -> Engine:
    """Connect to the database of the settings.

    Only `up`, `serve`, `migrate` and `restore` create one.

    Raises:
        OperatorError: there is no database, or it cannot be reached.
    """
    url = settings.database
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise OperatorError(
            f"no database {settings.database_name}: set PORTAL_DATABASE_URL to the database of"
            " the server"
        )
    return open_connected(url, connections)
