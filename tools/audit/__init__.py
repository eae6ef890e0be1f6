"""The search for known vulnerabilities."""
