"""A module for each resource: its table, its statements and how its rows are read and written."""
