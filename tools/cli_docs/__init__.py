"""The generator of the option tables in docs/cli.md."""
