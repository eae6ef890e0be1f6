"""Tests in a real browser. A package, so that its conftest is not taken for the tests' own."""
