"""The resources, their fields and the rules for them. Pure: no I/O, no wire formats, no SQL."""
