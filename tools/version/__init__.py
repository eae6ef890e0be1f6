"""The version of the project: the one in the pyproject.toml of the root."""
