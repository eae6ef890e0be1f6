"""The reference of the native API, generated from the comments of its protos."""
