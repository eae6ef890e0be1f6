"""Messages in and out: two surfaces over one catalog.

`oauth_v1` is the native API, `rest_v1` the dialect that Envoy turns into REST.
Neither knows the other. A servicer's method translates, calls the catalog and
translates back; it raises domain errors and never aborts a call itself:
`interceptor` and `status` turn errors into statuses, in one place for both.
"""
