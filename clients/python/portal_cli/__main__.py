"""Entry point of `portal` and of `python -m portal_cli`."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from portal_cli.main import run  # noqa: PLC0415 - its dependencies are an extra
    except ModuleNotFoundError as error:
        sys.exit(f"portal: the command line needs {error.name}: pip install 'oauth-portal[cli]'")
    run()


if __name__ == "__main__":
    main()
