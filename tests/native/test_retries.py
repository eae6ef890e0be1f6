"""A request with an id is done once, however often it is sent (AIP-155)."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import uuid4

import grpc
import pytest
from google.protobuf.message import Message
from sqlalchemy import Engine

from portal.oauth.v1 import client_type_pb2 as ct
from portal.oauth.v1 import provider_pb2 as pb
from portal.oauth.v1.api_key_pb2 import ApiKey, UpdateApiKeyRequest
from portal.oauth.v1.api_key_pb2_grpc import ApiKeyServiceStub
from portal_server.domain.keys import Role
from tests.conftest import Portal, serve, with_key
from tests.support.details import Rejection

PROVIDER = pb.Provider(
    name="p",
    type=pb.PROVIDER_TYPE_OTHER,
    well_known_uri="https://idp.test/x",
    registration_access_token="the-secret-token",  # noqa: S106
)
CLIENT_TYPE = ct.ClientType(
    name="c", response_types=[ct.RESPONSE_TYPE_CODE], grant_types=[ct.GRANT_TYPE_PKCE]
)
Send = Callable[[str], Message]


def create(portal: Portal, provider_id: int, request_id: str, name: str = "c") -> ct.ClientType:
    client_type = ct.ClientType()
    client_type.CopyFrom(CLIENT_TYPE)
    client_type.name = name
    return portal.client_types.CreateClientType(
        ct.CreateClientTypeRequest(
            provider_id=provider_id, client_type=client_type, request_id=request_id
        )
    )


def provider_of(portal: Portal, request_id: str = "") -> pb.Provider:
    request = pb.CreateProviderRequest(provider=PROVIDER, request_id=request_id)
    return portal.providers.CreateProvider(request)


def count(portal: Portal, provider_id: int) -> int:
    request = ct.ListClientTypesRequest(provider_id=provider_id, page_size=200)
    return len(portal.client_types.ListClientTypes(request).client_types)


def writes(portal: Portal, provider_id: int | None = None) -> dict[str, Send]:
    """Each method that writes, as a function of the request's id."""
    providers, client_types = portal.providers, portal.client_types
    of = provider_id or provider_of(portal).id
    updated, deleted = create(portal, of, ""), create(portal, of, "")
    gone = provider_of(portal).id
    return {
        "CreateProvider": lambda id_: provider_of(portal, id_),
        "UpdateProvider": lambda id_: providers.UpdateProvider(
            pb.UpdateProviderRequest(provider=pb.Provider(id=of, name="new"), request_id=id_)
        ),
        "DeleteProvider": lambda id_: providers.DeleteProvider(
            pb.DeleteProviderRequest(id=gone, request_id=id_)
        ),
        "CreateClientType": lambda id_: create(portal, of, id_),
        "UpdateClientType": lambda id_: client_types.UpdateClientType(
            ct.UpdateClientTypeRequest(
                client_type=ct.ClientType(provider_id=of, id=updated.id, name="new"),
                request_id=id_,
            )
        ),
        "DeleteClientType": lambda id_: client_types.DeleteClientType(
            ct.DeleteClientTypeRequest(provider_id=of, id=deleted.id, request_id=id_)
        ),
    }


METHODS = [
    f"{verb}{noun}"
    for noun in ("Provider", "ClientType")
    for verb in ("Create", "Update", "Delete")
]


def rejection(call: Callable[[], object]) -> Rejection:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return Rejection(error.value)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_request_again_gets_the_first_response(
    portal_on_each: Portal, method: str
) -> None:
    send = writes(portal_on_each)[method]
    first = send("an-id")

    assert send("an-id") == first
    assert send("an-id") == first


def test_no_second_row_is_created(portal_on_each: Portal) -> None:
    of = provider_of(portal_on_each).id
    request_id = str(uuid4())
    created = [create(portal_on_each, of, request_id) for _ in range(3)]

    assert created[0] == created[1] == created[2]
    assert count(portal_on_each, of) == 1


def test_the_first_response_is_given_also_when_the_resource_has_changed_or_gone(
    portal: Portal,
) -> None:
    of = provider_of(portal).id
    first = create(portal, of, "an-id")
    portal.client_types.UpdateClientType(
        ct.UpdateClientTypeRequest(
            client_type=ct.ClientType(provider_id=of, id=first.id, name="changed")
        )
    )
    after_change = create(portal, of, "an-id")
    portal.client_types.DeleteClientType(ct.DeleteClientTypeRequest(provider_id=of, id=first.id))

    assert after_change == first
    assert create(portal, of, "an-id") == first
    assert count(portal, of) == 0


def test_without_an_id_each_request_is_done(portal: Portal) -> None:
    of = provider_of(portal).id

    assert create(portal, of, "").id != create(portal, of, "").id


def test_another_request_with_a_used_id_is_rejected_and_does_nothing(
    portal_on_each: Portal,
) -> None:
    of = provider_of(portal_on_each).id
    create(portal_on_each, of, "an-id")
    rejected = rejection(lambda: create(portal_on_each, of, "an-id", name="other"))

    assert rejected.code is grpc.StatusCode.INVALID_ARGUMENT
    assert rejected.fields == ["request_id"]
    assert rejected.violations[0].reason == "ALREADY_USED"
    assert count(portal_on_each, of) == 1


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"CreateProvider"}))
def test_another_method_with_a_used_id_is_rejected(portal: Portal, method: str) -> None:
    send = writes(portal)
    send["CreateProvider"]("an-id")

    assert rejection(lambda: send[method]("an-id")).fields == ["request_id"]


def test_a_rejected_request_may_be_corrected_and_sent_again_with_its_id(portal: Portal) -> None:
    of = provider_of(portal).id

    assert rejection(lambda: create(portal, of, "an-id", name="")).fields == ["client_type.name"]
    assert create(portal, of, "an-id").name == "c"


def test_each_key_has_its_own_ids(portal: Portal) -> None:
    of = provider_of(portal).id
    mine = create(portal, of, "an-id")
    channel = with_key(portal.anonymous, portal.keyring.create(Role.ADMIN, "another"))
    other = Portal(channel, portal.anonymous, portal.keyring, portal.catalog)

    assert create(other, of, "an-id", name="other").id != mine.id
    assert create(portal, of, "an-id") == mine


@pytest.mark.parametrize("method", ["CreateClientType", "UpdateClientType", "UpdateProvider"])
def test_a_key_that_was_limited_gets_no_response_of_another_provider(
    portal: Portal, method: str
) -> None:
    key = portal.keyring.create(Role.EDITOR, "narrowed")
    channel = with_key(portal.anonymous, key)
    narrowed = Portal(channel, portal.anonymous, portal.keyring, portal.catalog)
    own = provider_of(portal).id
    mine, others = writes(narrowed, own)[method], writes(narrowed, provider_of(portal).id)[method]
    first = mine("an-id")
    others("another-id")
    [id_] = [one.id for one in portal.keyring.list() if one.note == "narrowed"]
    ApiKeyServiceStub(portal.channel).UpdateApiKey(
        UpdateApiKeyRequest(api_key=ApiKey(id=id_, provider_ids=[own]))
    )

    assert mine("an-id") == first
    assert rejection(lambda: others("another-id")).reason == "PROVIDER_NOT_FOUND"


@pytest.mark.parametrize("twins", [2, 8])
def test_twins_at_the_same_time_get_one_response(portal_on_each: Portal, twins: int) -> None:
    of = provider_of(portal_on_each).id
    together = Barrier(twins)

    def send(request_id: str) -> ct.ClientType:
        together.wait()
        return create(portal_on_each, of, request_id)

    with ThreadPoolExecutor(twins) as pool:
        rounds = [list(pool.map(send, [f"id-{n}"] * twins)) for n in range(10)]

    assert all(response == responses[0] for responses in rounds for response in responses)
    assert count(portal_on_each, of) == len(rounds)


def test_twins_at_two_servers_of_one_database_get_one_response(database_url: str) -> None:
    with serve(database_url) as one, serve(database_url) as two:
        of = provider_of(one).id
        together = Barrier(4)

        def send(portal: Portal, number: int) -> list[ct.ClientType]:
            responses = []
            for round_ in range(15):
                together.wait()
                # Half of them in the opposite order.
                ids = [f"{round_}-{n}" for n in range(3)][:: 1 if number < 2 else -1]
                responses += sorted((create(portal, of, i) for i in ids), key=lambda a: a.id)
            return responses

        with ThreadPoolExecutor(4) as pool:
            first, *others = pool.map(send, [one, two, one, two], range(4))

        assert all(other == first for other in others)
        assert count(one, of) == 15 * 3


def test_a_response_is_kept_over_a_restart(database_url: str) -> None:
    with serve(database_url) as portal:
        of = provider_of(portal).id
        first = create(portal, of, "an-id")
    with serve(database_url) as portal:
        assert create(portal, of, "an-id") == first
        assert rejection(lambda: create(portal, of, "an-id", "other")).fields == ["request_id"]


def test_an_expired_response_is_forgotten(database_url: str) -> None:
    with serve(database_url, request_id_seconds=1) as portal:
        of = provider_of(portal).id
        first = create(portal, of, "an-id")
        again = create(portal, of, "an-id")
        time.sleep(1.1)
        later = create(portal, of, "an-id", name="other")

    assert again == first
    assert later.id != first.id


@pytest.mark.parametrize(
    "request_id", ["a", "é", "\x7f", "a\nb", "x" * 256, "x" * 255, "with a space", '"quoted"']
)
def test_an_id_is_printable_ascii_and_not_too_long(portal: Portal, request_id: str) -> None:
    of = provider_of(portal).id
    if request_id.isascii() and request_id.isprintable() and len(request_id) < 256:
        assert create(portal, of, request_id) == create(portal, of, request_id)
        return
    rejected = rejection(lambda: create(portal, of, request_id))

    assert rejected.fields == ["request_id"]
    assert "1 to 255 printable ASCII characters" in rejected.message


def test_no_secret_is_kept_in_a_response(engine: Engine, database_url: str) -> None:
    with serve(database_url) as portal:
        provider_of(portal, "an-id")
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM answer").all()

    assert len(rows) == 1
    assert b"the-secret-token" not in b"".join(v for v in rows[0] if isinstance(v, bytes))
    assert b"an-id" not in b"".join(v for v in rows[0] if isinstance(v, bytes))
