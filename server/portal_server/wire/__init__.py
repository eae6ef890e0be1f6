"""Messages in and out: two APIs on one catalog.

`oauth_v1` is the native API, `rest_v1` the dialect that Envoy converts to REST.
Neither imports the other. A servicer's method converts the request, calls the catalog
and converts the result. It raises domain errors and never aborts a call:
`interceptors` and `status` convert errors to statuses, in one place for both.
"""
