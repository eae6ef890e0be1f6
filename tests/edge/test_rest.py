"""The REST operations through the real Envoy."""

from stack import Stack


def test_lists_are_bare_arrays(stack: Stack) -> None:
    with stack.client() as rest:
        answer = rest.get("/oauth-providers")

    assert answer.status_code == 200
    assert answer.json()[0]["Name"] == "Example Keycloak"
