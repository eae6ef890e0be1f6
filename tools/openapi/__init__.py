"""The OpenAPI document of the REST API, made from its protos and the rules.

What the protos say (operations, paths, keys, their order, what is required,
what each is for) is read from them; what they cannot say (patterns, limits,
allowed words) is the rules' and the dialect's.
"""
