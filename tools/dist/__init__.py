"""The build of the packages."""
