"""The generators of the documents, and the check of the language."""
