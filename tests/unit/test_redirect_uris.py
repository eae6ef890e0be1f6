"""Which redirect URIs a client may have: each rule, and what attackers would like to register."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal_server.domain.client import CLIENT
from portal_server.domain.errors import Rule, Violation
from portal_server.domain.redirect_uris import is_of_native_app, redirect_uri_problem

MOST = 2048

VALID = [
    "https://app.example.com/callback",
    "https://app.example.com",
    "HTTPS://App.Example.COM/callback",
    "https://app.example.com:8443/callback?tenant=1&next=%2Fhome",
    "https://app.example.com/a;b=c/(d)/~e,f",
    "https://xn--bcher-kva.example/callback",
    "https://192.0.2.1/callback",
    "https://[2001:db8::1]:8443/callback",
    "https://localhost/callback",
    "http://localhost",
    "http://localhost:3000/callback",
    "http://LOCALHOST:3000/callback",
    "http://127.0.0.1:49152/callback?x=y",
    "http://[::1]/callback",
    "com.example.app:/callback",
    "com.example.app://callback/path",
    "Com.Example.App2:/callback",
    "com.example.app:callback",
]

NOT_A_URI = "must be an absolute URI in ASCII (RFC 3986, section 4.3)"
FRAGMENT = "must not have a fragment (RFC 6749, section 3.1.2)"
WILDCARD = "must not have a wildcard (RFC 9700, section 4.1.3)"
USER = "must not have user information (RFC 9110, section 4.2.4)"
HOST = "must have a valid host and port (RFC 9110, section 4.2)"
HTTP = "must use https; http is for loopback hosts only (RFC 8252, section 7.3)"
SCHEME = "must use https, or a scheme of a native app with a period in it (RFC 8252, section 7.1)"

INVALID = [
    # Not URIs, or URIs that programs read differently.
    ("", NOT_A_URI),
    ("callback", NOT_A_URI),
    ("/callback", NOT_A_URI),
    ("//app.example.com/callback", NOT_A_URI),
    ("app.example.com/callback", NOT_A_URI),
    ("https", NOT_A_URI),
    ("https:", NOT_A_URI),
    ("com.example.app:", NOT_A_URI),
    (":https://app.example.com", NOT_A_URI),
    (" https://app.example.com", NOT_A_URI),
    ("https://app.example.com/ callback", NOT_A_URI),
    ("https://app.example.com/\tcallback", NOT_A_URI),
    ("java\tscript:alert(1)", NOT_A_URI),
    ("https://app.example.com\n", NOT_A_URI),
    ("https://app.example.com/\r\nLocation: https://evil.example", NOT_A_URI),
    ("https://app.example.com/\0", NOT_A_URI),
    ("https://app.example.com\\@evil.example/", NOT_A_URI),
    ("https:\\\\evil.example\\", NOT_A_URI),
    ('https://app.example.com/"><script>', NOT_A_URI),
    ("https://app.example.com/{callback}", NOT_A_URI),
    ("https://app.example.com/%", NOT_A_URI),
    ("https://app.example.com/%zz", NOT_A_URI),
    ("https://bücher.example/callback", NOT_A_URI),
    ("https://аpp.example.com/callback", NOT_A_URI),  # noqa: RUF001 - a Cyrillic letter
    ("https://app。example.com/callback", NOT_A_URI),
    ("https://app.example.com/\N{RIGHT-TO-LEFT OVERRIDE}", NOT_A_URI),
    # What an authorization response must not have.
    ("https://app.example.com/callback#", FRAGMENT),
    ("https://app.example.com/callback#part", FRAGMENT),
    ("com.example.app:/callback#part", FRAGMENT),
    # Wildcards.
    ("https://app.example.com/*", WILDCARD),
    ("https://*.example.com/callback", WILDCARD),
    ("https://*", WILDCARD),
    ("com.example.app:*", WILDCARD),
    # User information, which also makes a host look like another.
    ("https://user@app.example.com/", USER),
    ("https://user:secret@app.example.com/", USER),
    ("https://@app.example.com/", USER),
    ("https://app.example.com@evil.example/", USER),
    ("http://localhost@evil.example/", USER),
    ("http://localhost:80@evil.example/", USER),
    ("com.example.app://user@callback/", USER),
    # Hosts and ports.
    ("https://", HOST),
    ("https:///callback", HOST),
    ("https://?x", HOST),
    ("https://:443/callback", HOST),
    ("https:app.example.com/callback", HOST),
    ("https:/app.example.com/callback", HOST),
    ("http:localhost/callback", HOST),
    ("https://app..example.com/", HOST),
    ("https://.app.example.com/", HOST),
    ("https://-app.example.com/", HOST),
    ("https://app.example.com%2eevil.example/", HOST),
    ("https://app.example.com:/", HOST),
    ("https://app.example.com:0/", HOST),
    ("https://app.example.com:65536/", HOST),
    ("https://app.example.com:https/", HOST),
    ("https://app.example.com:-1/", HOST),
    ("https://app.example.com:80:80/", HOST),
    ("https://[::zz]/", HOST),
    ("https://[::1/", HOST),
    ("https://999.999.999.999/", HOST),
    # http on hosts that only look like a loopback host.
    ("http://app.example.com/callback", HTTP),
    ("http://localhost.evil.example/", HTTP),
    ("http://localhost.", HTTP),
    ("http://localhost-evil.example/", HTTP),
    ("http://evil.example/localhost", HTTP),
    ("http://evil.example?http://localhost", HTTP),
    ("http://127.0.0.1.evil/", HTTP),
    ("http://127.0.0.1.nip.example:3000/", HTTP),
    ("http://127.0.0.10/", HTTP),
    ("http://2130706433/", HTTP),
    ("http://0x7f.1/", HTTP),
    ("http://0.0.0.0/", HTTP),
    ("http://[::ffff:7f00:1]/", HTTP),
    ("HTTP://app.example.com/", HTTP),
    # Schemes that run code, read files, or could be those of any app.
    ("javascript:alert(1)", SCHEME),
    ("JavaScript:alert(1)", SCHEME),
    ("javascript://app.example.com/%0aalert(1)", SCHEME),
    ("data:text/html,hello", SCHEME),
    ("data:text/html;base64,PGI+", SCHEME),
    ("vbscript:msgbox(1)", SCHEME),
    ("file:///etc/passwd", SCHEME),
    ("blob:https://app.example.com/uuid", SCHEME),
    ("view-source:https://app.example.com/", SCHEME),
    ("about:blank", SCHEME),
    ("ftp://app.example.com/", SCHEME),
    ("ws://app.example.com/", SCHEME),
    ("myapp:/callback", SCHEME),
    ("urn:ietf:wg:oauth:2.0:oob", SCHEME),
    ("mailto:user@app.example.com", SCHEME),
    ("a.:/callback", SCHEME),
    ("a..b:/callback", SCHEME),
]


@pytest.mark.parametrize("uri", VALID)
def test_a_redirect_uri_of_a_web_app_or_a_native_app_is_accepted(uri: str) -> None:
    assert redirect_uri_problem(uri, MOST) == ""


@pytest.mark.parametrize(("uri", "problem"), INVALID)
def test_any_other_redirect_uri_is_rejected_with_the_rule_that_it_breaks(
    uri: str, problem: str
) -> None:
    assert redirect_uri_problem(uri, MOST) == problem


@pytest.mark.parametrize("more", [0, 1])
def test_a_redirect_uri_has_at_most_so_many_characters(more: int) -> None:
    start = "https://app.example.com/"
    uri = start + "a" * (MOST - len(start) + more)

    problem = redirect_uri_problem(uri, MOST)

    assert problem == (f"is {MOST + 1} characters long; at most {MOST} are allowed" if more else "")


@pytest.mark.parametrize(
    "part", ["a", ".", "a.", ":", "/", "@", "[", "%41", "%", "https://", "\N{SNOWMAN}"]
)
def test_a_hostile_text_of_a_million_characters_takes_no_time(part: str) -> None:
    long = part * (1_000_000 // len(part))

    assert "characters long" in redirect_uri_problem(long, MOST)
    for start in ("", "https://", "http://localhost", "com."):
        redirect_uri_problem((start + long)[:MOST], MOST)


@given(st.text())
def test_what_is_accepted_is_ascii_without_spaces_and_controls_and_has_a_scheme(text: str) -> None:
    for uri in (text, f"https://{text}", f"http://localhost{text}", f"com.example:{text}"):
        if not redirect_uri_problem(uri, MOST):
            assert uri.isascii()
            assert uri.isprintable()
            assert not set(uri) & set(' "#*<>\\^`{|}')
            assert ":" in uri


@pytest.mark.parametrize("uri", VALID)
def test_only_a_native_app_can_receive_what_is_not_sent_over_https(uri: str) -> None:
    assert is_of_native_app(uri) != uri.lower().startswith("https:")


def check(*uris: str) -> tuple[tuple[str, ...], list[Violation]]:
    violations: list[Violation] = []
    return CLIENT["redirect_uris"].check("redirect_uris", uris, violations), violations  # type: ignore[arg-type,return-value]


def test_a_client_reports_each_invalid_redirect_uri_with_its_text() -> None:
    _, violations = check("https://a.example/", "javascript:alert(1)", "http://b.example/")

    assert violations == [
        Violation("redirect_uris", Rule.MALFORMED, f'"javascript:alert(1)" {SCHEME}'),
        Violation("redirect_uris", Rule.MALFORMED, f'"http://b.example/" {HTTP}'),
    ]


def test_a_repeated_redirect_uri_is_dropped_and_the_order_kept() -> None:
    accepted, violations = check("https://b.example/", "https://a.example/", "https://b.example/")

    assert accepted == ("https://b.example/", "https://a.example/")
    assert not violations


def test_a_client_has_at_most_fifty_redirect_uris() -> None:
    uris = [f"https://a.example/{number}" for number in range(51)]

    assert not check(*uris[:50])[1]
    [violation] = check(*uris)[1]
    assert violation.rule is Rule.OUT_OF_RANGE
    assert violation.message == "has 51 URIs; at most 50 are allowed"
