"""Entry point of `portal` and of `python -m portal_cli`."""

import os
import signal
import sys
from importlib.metadata import requires


def main() -> None:
    """Run the command line."""
    # The imports take half a second, in which Ctrl-C must not print a traceback.
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A failed connection is an error of the command: gRPC, which reads this when it is imported,
    # would write its own lines. For a server see portal_server/__main__.py.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from portal_cli.main import run  # noqa: PLC0415 - its dependencies are an extra
    except ModuleNotFoundError as error:
        sys.exit(f"portal: the command line needs {error.name}: pip install {_extra()}")
    run()


def _extra() -> str:
    """The packages of the extra `cli`, quoted for a shell."""
    parts = (text.partition("; extra == ") for text in requires("oauth-portal") or ())
    return " ".join(f"'{package}'" for package, _, extra in parts if extra.strip("'\"") == "cli")


if __name__ == "__main__":
    main()
