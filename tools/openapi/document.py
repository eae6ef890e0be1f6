"""The document: operations, their parameters, their responses, the key."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from portal_server.domain.identity import MAX_ID
from portal_server.wire.access import Waits, access
from portal_server.wire.requests import MAX_REQUEST_ID
from portal_server.wire.rest_v1.paging import DEFAULT_PER_PAGE, MAX_PAGE_NUMBER, MAX_PER_PAGE
from portal_server.wire.rest_v1.preconditions import TAGS
from tools.openapi import schemas
from tools.openapi.protos import Field, Message, Method, Service
from tools.openapi.samples import samples
from tools.openapi.schemas import Schema, reference

BASE = "/portal-api"

_ABOUT = """\
The REST API of OAuth Portal. {comment}

- Every call needs an API key in `Authorization`, bare or after `Bearer `.
- A list is a bare JSON array. Within a key, a list is a comma-separated string.
- An error is `{{"errors":["…", …]}}`, one string for each thing that is wrong.
- Another method on one of these paths is a 405 whose `Allow` lists those there are.
- Fields of a body and query parameters that are not described here are ignored.
- A later version may add fields to responses: ignore those that you do not know.
- HEAD is allowed where GET is. A slash at the end of a path changes nothing.
"""
_KEY = (
    "An API key, bare or after `Bearer `. `admin` and `editor` keys may do everything, `registrar`"
    " keys may read and write clients, and `viewer` keys only read."
)

# By the last part of a path that is not a parameter.
_TAGS = {
    "oauth-providers": "Providers",
    "check": "Providers",
    "client-types": "Client types",
    "preview": "Clients",
    "clients": "Clients",
    "rotate": "Clients",
}
_HEALTH = "Health"


class _Error(NamedTuple):
    """An error response: its name in the document, when it is given, and an example of its text."""

    name: str
    when: str
    example: str


ERRORS = {
    400: _Error(
        "BadRequest",
        "The body is not a JSON object, a field has the wrong type, or a value is invalid; or a"
        " field or a query parameter is given twice.",
        'OktaAppType: unknown value "Web"; allowed: web, native, browser, service',
    ),
    401: _Error(
        "Unauthorized",
        "There is no API key, an invalid, expired or revoked one, or more than one.",
        "a valid API key is required in the authorization header",
    ),
    403: _Error(
        "Forbidden",
        "The role of the API key does not allow it.",
        "this needs the role editor; the API key has the role viewer",
    ),
    404: _Error(
        "NotFound",
        "There is no such path, provider, client type or client, it belongs to another provider or"
        " client type, or an id is neither a number nor a UUID.",
        "provider 7 not found",
    ),
    409: _Error(
        "Conflict",
        "A concurrent call changed the same data; retry. Or the state of the client does not"
        " allow it.",
        "the same request is being served; retry",
    ),
    412: _Error(
        "PreconditionFailed",
        "`If-Match` does not match the current `ETag`.",
        "the etag does not match the current one",
    ),
    413: _Error(
        "ContentTooLarge",
        "The body is larger than 1 MiB.",
        "the body is larger than 1 MiB",
    ),
    415: _Error(
        "UnsupportedMediaType",
        "There is a body and its `Content-Type` is given and is not `application/json` in UTF-8, or"
        " the `Content-Type` is gRPC's.",
        "Content-Type must be application/json",
    ),
    429: _Error(
        "TooManyRequests",
        "A limit is reached: too many calls wait, the storage has no free connection, or the"
        " identity provider limits its callers; retry after `Retry-After`.",
        "too many calls wait; retry later",
    ),
    500: _Error(
        "InternalServerError",
        "An internal error; the log of the server has the trace ID in the text, and the cause.",
        "internal error 0af7651916cd43dd8448eb211c80319c",
    ),
    501: _Error(
        "NotImplemented",
        "The identity provider has no way to replace a secret.",
        "the provider cannot replace a secret",
    ),
    502: _Error(
        "BadGateway",
        "The identity provider rejected the request, and the text is that of the provider; or its"
        " configuration does not allow registrations.",
        "redirect_uri is not allowed",
    ),
    503: _Error(
        "ServiceUnavailable",
        "The service or its storage is not available, the storage is full, or the outcome of a"
        " write is unknown; retry after `Retry-After` with the same `Idempotency-Key`. Or the"
        " identity provider cannot be reached; get the client and check its `State`.",
        "the service is not available; retry",
    ),
    504: _Error(
        "GatewayTimeout",
        "There was no response within 10 seconds, or the identity provider was too slow: get the"
        " client and check its `State`.",
        "the service did not respond in time",
    ),
}
# With these headers.
_ERROR_HEADERS = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}
_SECRET = "OAuthClientSecret"  # noqa: S105 - a key
_SERVICE = "/portal.rest.v1.PortalRestService"
_ALWAYS = {400, 401, 415, 429, 500, 503, 504}

_NUMBER: Schema = {"type": "integer", "format": "int32", "minimum": 1}
_ID: Schema = _NUMBER | {"maximum": MAX_ID}
_RESOURCE: Schema = {"anyOf": [_ID, {"type": "string", "format": "uuid"}]}
_ROWS: Schema = _NUMBER | {"maximum": MAX_PER_PAGE}
_PARAMETERS: dict[str, Schema] = {
    "provider_id": _RESOURCE,
    "client_type_id": _RESOURCE,
    "client_id": _RESOURCE,
    "per_page": _ROWS | {"default": DEFAULT_PER_PAGE},
    "page": _NUMBER | {"maximum": MAX_PAGE_NUMBER, "default": 1},
    "limit": _ROWS,
    "force": {
        "type": "string",
        "pattern": "^([tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[01])$",
        "default": "false",
    },
}

# Without examples: pages that try a document out send them unasked.
_HEADERS = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Makes a retry safe: the same request with the same key is done once and"
        " returns the same response. Printable ASCII, preferably a UUID; a key that was used for"
        " another request is a 400.",
        "schema": {
            "type": "string",
            "maxLength": MAX_REQUEST_ID,
            # Blanks around a header's value are not part of it.
            "pattern": "^[!-~](?:[ -~]*[!-~])?$",
        },
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "Do it only if one of these entity tags is the stored one; `*`, or no such"
        " header, matches any.",
        "schema": {"type": "string", "pattern": rf"^(?:\*|{TAGS.pattern})$"},
    },
}


def document(service: Service, version: str) -> Schema:
    """The OpenAPI document of a service."""
    paths: dict[str, Schema] = {}
    for method in service.methods:
        paths.setdefault(method.path.removeprefix(BASE), {})[method.verb] = _operation(
            method, service.messages
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OAuth Portal",
            "version": version,
            "summary": "OAuth 2.0 client types as a service",
            "description": _ABOUT.format(comment=service.comment),
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": BASE}],
        "security": [{"key": []}],
        "tags": [{"name": name} for name in (*dict.fromkeys(_TAGS.values()), _HEALTH)],
        "paths": paths | {path: _probe(*words) for path, words in _PROBES.items()},
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": _KEY,
                }
            },
            "parameters": _HEADERS,
            "headers": {
                "ETag": {
                    "description": "The entity tag of what is stored; it changes with each write.",
                    "required": True,
                    "schema": {"type": "string", "pattern": '^"[!#-~]+"$'},
                },
                "Cache-Control": {"required": True, "schema": {"const": "no-store"}},
                "WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}},
                "Retry-After": {
                    "description": "Seconds to wait before a retry (RFC 9110, section 10.2.3).",
                    "required": True,
                    "schema": {"type": "integer", "minimum": 0},
                },
            },
            "responses": {error.name: _error(status) for status, error in ERRORS.items()},
            "schemas": _schemas(service) | {"Errors": _ERRORS_SCHEMA},
        },
    }


_ERRORS_SCHEMA: Schema = {
    "type": "object",
    "description": "What is wrong, each beginning with the key it is about, if there is one.",
    "properties": {
        "errors": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}
    },
    "required": ["errors"],
    "additionalProperties": True,
}


def _schemas(service: Service) -> dict[str, Schema]:
    bodies = {method.body.message for method in service.methods if method.body}
    # Requests are paths and parameters. Of a list's parts, callers see the rows.
    wrappers = {
        f"{method.name}{kind}" for method in service.methods for kind in ("Request", "Response")
    }
    return {
        name: schemas.given(message) if name in bodies else schemas.in_response(message)
        for name, message in service.messages.items()
        if name not in wrappers
    }


def _operation(method: Method, messages: Mapping[str, Message]) -> Schema:
    summary, _, rest = method.comment.partition(". ")
    collection = [part for part in method.path.split("/") if not part.startswith("{")][-1]
    operation: Schema = {
        "operationId": method.name,
        "tags": [_TAGS[collection]],
        "summary": summary.removesuffix("."),
    }
    if rest:
        operation["description"] = rest
    operation["parameters"] = _parameters(method)
    body = method.body and method.body.message
    example = schemas.example(messages[body]) if body else None
    if method.body and body:
        content = _json(reference(body))
        # Otherwise pages that try a document out invent values.
        content["application/json"]["example"] = example
        operation["requestBody"] = {
            "description": method.body.comment,
            "required": True,
            "content": content,
        }
    statuses = sorted(_ALWAYS | _more_statuses(method))
    operation["responses"] = {"200": _response(method, messages[method.response].fields)} | {
        str(status): {"$ref": f"#/components/responses/{ERRORS[status].name}"}
        for status in statuses
    }
    operation["x-codeSamples"] = samples(method.verb, method.path, example)
    return operation


def _more_statuses(method: Method) -> set[int]:
    statuses: set[int] = set()
    if method.path_parameters:
        statuses.add(404)
    if not method.reads:
        statuses |= {403, 409}
        if access(f"{_SERVICE}/{method.name}").waits is not Waits.NEVER:
            statuses.add(502)
    if method.name == "RotateClientSecret":
        statuses.add(501)
    if method.body:
        statuses.add(413)
    if _takes_if_match(method):
        statuses.add(412)
    return statuses


def _takes_if_match(method: Method) -> bool:
    return method.verb in {"put", "delete"}


def _parameters(method: Method) -> list[Schema]:
    headers = []
    if not method.reads:
        headers.append("IdempotencyKey")
    if _takes_if_match(method):
        headers.append("IfMatch")
    return [_parameter(method, field) for field in method.parameters] + [
        {"$ref": f"#/components/parameters/{header}"} for header in headers
    ]


def _parameter(method: Method, field: Field) -> Schema:
    schema = _PARAMETERS[field.name]
    if field.name in method.path_parameters:
        return {
            "name": field.name,
            "in": "path",
            "required": True,
            "description": field.comment,
            "schema": schema,
            # Of the example provider, and of what is created first in it.
            "example": 1,
        }
    return {"name": field.name, "in": "query", "description": field.comment, "schema": schema}


def _response(method: Method, fields: Sequence[Field]) -> Schema:
    if method.returns_list:
        rows = {
            "type": "array",
            "maxItems": MAX_PER_PAGE,
            "items": reference(method.response),
        }
        return {"description": "The rows of the page.", "content": _json(rows)}
    response: Schema = {"description": "Done."}
    headers = []
    if any(field.key == "ID" for field in fields):
        headers.append("ETag")
    if any(field.key == _SECRET for field in fields) and not method.reads:
        headers.append("Cache-Control")
    if headers:
        response["headers"] = {
            header: {"$ref": f"#/components/headers/{header}"} for header in headers
        }
    return response | {"content": _json(reference(method.response))}


def _error(status: int) -> Schema:
    error = ERRORS[status]
    response: Schema = {"description": error.when}
    if header := _ERROR_HEADERS.get(status):
        response["headers"] = {header: {"$ref": f"#/components/headers/{header}"}}
    content = _json(reference("Errors"))
    content["application/json"]["example"] = {"errors": [error.example]}
    return response | {"content": content}


# Of the edge itself: the operation, what it tells, and a description.
_PROBES = {
    "/livez": ("Live", "Tells whether the process is alive", "Needs no API key."),
    "/readyz": (
        "Ready",
        "Tells whether calls are served",
        "Needs no API key. 503 while the database does not respond or commits do not return.",
    ),
    "/healthz": ("Health", "The earlier name of `/readyz`", "Needs no API key."),
}


def _probe(operation: str, summary: str, description: str) -> Schema:
    return {
        "servers": [{"url": "/"}],
        "get": {
            "operationId": operation,
            "tags": [_HEALTH],
            "summary": summary,
            "description": description,
            "security": [],
            "responses": {
                "200": {"description": "Yes.", "content": _json(reference("Status"))},
                "503": {"$ref": "#/components/responses/ServiceUnavailable"},
            },
        },
    }


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
