"""Checks the responses of a system: a fast wrong response has no value."""

from http import HTTPStatus
from typing import Any

import grpc
import httpx

from bench.systems import System
from bench.workloads import PAGE, PROVIDER_ID, SEED, SEED_MESSAGE, client_types_path
from portal.oauth.v1 import client_type_pb2 as pb
from portal.oauth.v1.client_type_pb2_grpc import ClientTypeServiceStub

_NO_PROVIDER = 1_000_000
# Number of different IDs to get.
_SEEDS = 100


class WrongResponse(Exception):
    """A system does not behave like the others."""


def check_and_seed(system: System) -> list[int]:
    """Check the responses; returns the IDs of the client types that this creates.

    Raises:
        WrongResponse: to a valid or an invalid request.
    """
    return _check_grpc(system) if system.protocol == "grpc" else _check_rest(system)


def _require(system: System, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise WrongResponse(f"{system.name}: {what}: {found!r} instead of {expected!r}")


def _check_rest(system: System) -> list[int]:
    path = client_types_path(PROVIDER_ID)
    with httpx.Client(
        base_url=f"http://127.0.0.1:{system.port}",
        headers={"Authorization": system.key},
        timeout=20,
    ) as client:

        def status(method: str, path: str, **arguments: Any) -> int:
            return client.request(method, path, **arguments).status_code

        ids = [int(client.post(path, json=SEED).raise_for_status().json()["ID"])]
        got = client.get(f"{path}/{ids[0]}").raise_for_status().json()
        _require(system, "what was created", {key: got.get(key) for key in SEED}, SEED)
        for key in ("ResponseTypes", "GrantType", "TokenEndpointAuthMethod", "OktaAppType"):
            wrong = status("POST", path, json=SEED | {key: "code,nonsense"})
            _require(system, f"a wrong {key}, the status in hundreds", wrong // 100, 4)
        nowhere = status("POST", client_types_path(_NO_PROVIDER), json=SEED)
        _require(system, "no such provider", nowhere, HTTPStatus.NOT_FOUND)
        nobody = status("POST", path, json=SEED, headers={"Authorization": "wrong"})
        _require(system, "a wrong key", nobody, HTTPStatus.UNAUTHORIZED)
        ids += [int(client.post(path, json=SEED).json()["ID"]) for _ in range(_SEEDS)]
        page = client.get(path, params={"page": 2, "per_page": PAGE}).raise_for_status().json()
        found = [row["ID"] for row in page]
        _require(system, "rows of the second page", len(found), PAGE)
        _require(system, "the order of a page", found, sorted(found))
    return ids


def _check_grpc(system: System) -> list[int]:
    with grpc.insecure_channel(f"127.0.0.1:{system.port}") as channel:
        stub = ClientTypeServiceStub(channel)
        key = (("authorization", system.key),)

        def status(request: pb.CreateClientTypeRequest, key: str) -> grpc.StatusCode:
            try:
                stub.CreateClientType(request, metadata=(("authorization", key),), timeout=20)
            except grpc.RpcError as error:
                code: grpc.StatusCode = error.code()
                return code
            return grpc.StatusCode.OK

        created = stub.CreateClientType(SEED_MESSAGE, metadata=key, timeout=20)
        got = stub.GetClientType(
            pb.GetClientTypeRequest(provider_id=PROVIDER_ID, id=created.id), metadata=key
        )
        # Only the response of a create has findings.
        created.ClearField("findings")
        _require(system, "what was created", got, created)
        for field in ("id", "uid", "provider_id", "create_time", "update_time", "etag"):
            got.ClearField(field)
        _require(system, "the fields that were sent", got, SEED_MESSAGE.client_type)
        nowhere = pb.CreateClientTypeRequest(
            provider_id=_NO_PROVIDER, client_type=SEED_MESSAGE.client_type
        )
        _require(system, "no such provider", status(nowhere, system.key), grpc.StatusCode.NOT_FOUND)
        wrong = pb.CreateClientTypeRequest(
            provider_id=PROVIDER_ID, client_type=pb.ClientType(name="nothing else")
        )
        _require(
            system, "a wrong value", status(wrong, system.key), grpc.StatusCode.INVALID_ARGUMENT
        )
        nobody = status(SEED_MESSAGE, "wrong")
        _require(system, "a wrong key", nobody, grpc.StatusCode.UNAUTHENTICATED)
        return [
            stub.CreateClientType(SEED_MESSAGE, metadata=key, timeout=20).id for _ in range(_SEEDS)
        ]
