"""The command `portal`: the client on the command line, and the server where it is installed."""
