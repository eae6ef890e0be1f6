"""Migrates a database: `python -m bench.migrate URL REVISION` prints how many seconds it took.

In a separate process, because the peers have tables with the names of the portal's.
"""

import sys
import time

from portal_server.storage.sql.engine import open_engine, parse_url
from portal_server.storage.sql.migrations import migrate


def main() -> None:
    """Migrate to the revision of the second argument."""
    url, revision = sys.argv[1:]
    engine = open_engine(parse_url(url))
    begin = time.perf_counter()
    migrate(engine, revision)
    print(time.perf_counter() - begin)


if __name__ == "__main__":
    main()
