import socket
import ssl
import time
from datetime import timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from features.moments import from_us
from serving import webhooks
from serving.webhooks import Answer, Sender, UrlRefused, checked, is_public
from tests.receivers import hang, receiver, trickle

SECRET, OTHER = "whsec_" + "A" * 44, "whsec_" + "B" * 44
PAYLOAD = '{"type":"lead.handoff","data":{"lead_id":"リード"}}'
NOW_US = 1_790_000_000_000_000


def send(url, *, sender=None, secrets=(SECRET,), now_us=NOW_US):
    return (sender or Sender(private=True)).send(url, "msg_1", PAYLOAD, secrets, now_us)


def test_a_message_is_signed_as_the_library_verifies_it():
    now_us = time.time_ns() // 1_000
    with receiver() as told:
        assert send(told.url + "?a=1", now_us=now_us) == Answer(200, "HTTP 200")
    [(headers, body)] = told.got
    assert body == PAYLOAD
    assert headers["webhook-id"] == "msg_1"
    assert headers["Content-Type"] == "application/json"
    assert headers["Host"] == f"127.0.0.1:{told.port}"
    assert Webhook(SECRET).verify(body, headers)["data"] == {"lead_id": "リード"}
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(body, headers)


def test_while_secrets_change_both_sign():
    now_us = time.time_ns() // 1_000
    with receiver() as told:
        send(told.url, secrets=[OTHER, SECRET], now_us=now_us)
    [(headers, body)] = told.got
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify(body, headers)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status):
    with (
        receiver() as other,
        receiver(status=status, headers={"Location": other.url}) as told,
    ):
        assert send(told.url).status == status
    assert len(told.got) == 1
    assert other.got == []


@pytest.mark.parametrize("act", [hang, trickle])
def test_a_receiver_that_hangs_or_trickles_holds_nobody_longer_than_an_attempt_may_take(act):
    with receiver(act=act) as told:
        started = time.monotonic()
        answer = send(told.url, sender=Sender(private=True, seconds=0.3))
        assert time.monotonic() - started < 1.5  # trickling, it would go on for 30 s
    assert answer == Answer(None, "no answer in time")


def test_of_the_body_of_an_answer_nothing_is_read():
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65_536)

    with receiver(act=endless) as told:
        assert send(told.url).status == 200


@pytest.mark.parametrize(
    ("raw", "said"),
    [(b"no HTTP\r\n\r\n", "no answer that is HTTP"), (b"", "no connection")],
)
def test_what_is_no_answer_is_told_apart(raw, said):
    def act(handler):
        handler.wfile.write(raw)
        handler.close_connection = True

    with receiver(act=act) as told:
        assert send(told.url) == Answer(None, said)


def test_nobody_there_is_no_connection():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert send(f"http://127.0.0.1:{port}/") == Answer(None, "no connection")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("120", 120), (" 7 ", 7), ("soon", 0), ("-5", 0), ("", 0), ("1e3", 0),
        (format(from_us(NOW_US) + timedelta(hours=1), "%a, %d %b %Y %H:%M:%S GMT"), 3_600),
        (format(from_us(NOW_US) - timedelta(hours=1), "%a, %d %b %Y %H:%M:%S GMT"), 0),
        ("Mon, 01 Jan 99999 00:00:00 GMT", 0),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 0),
        ("9" * 400, 999_999_999_999),
    ],
)  # fmt: skip
def test_a_pause_that_is_asked_for_may_be_seconds_or_a_date(given, seconds):
    with receiver(status=503, headers={"Retry-After": given}) as told:
        assert send(told.url) == Answer(503, "HTTP 503", seconds)


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "127.0.0.1", "0.0.0.0", "169.254.169.254", "192.168.1.1", "172.16.0.1",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%1",
        "fd00::1", "fec0::1", "ff02::1", "::ffff:10.0.0.1", "2002:0a00:0001::", "64:ff9b::7f00:1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_of_the_internet(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f::1", "64:ff9b::5db8:d70e", "::ffff:93.184.215.14"]
)
def test_addresses_that_are(address):
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://crm.example/", "http"), ("crm.example", "http"), ("http://crm.example/", "https"),
        ("https://user:word@crm.example/", "user name"), ("https://crm.example/#x", "fragment"),
        ("https://127.0.0.1/", "not public"), ("https://[::1]/", "not public"),
        ("https://2130706433/", "not public"), ("https://0x7f.1/", "not public"),
        ("https://localhost/", "not public"), ("https://a.localhost/", "not public"),
        ("https://crm.example/" + "x" * 2_000, "2,000"),
    ],
)  # fmt: skip
def test_urls_that_nothing_is_sent_to(url, said):
    with pytest.raises(UrlRefused, match=said):
        checked(url)


def test_a_url_is_kept_in_its_normal_form():
    assert checked("https://例え.jp") == "https://xn--r8jz45g.jp/"
    assert "\r" not in checked("https://crm.example/a\r\nX: y")
    assert checked("http://10.0.0.1/x", private=True) == "http://10.0.0.1/x"


def test_a_name_that_leads_to_a_private_address_too_is_not_connected_to(monkeypatch):
    looked_up = []

    def leads_to(host, port, **_):
        looked_up.append(host)
        public = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", port))
        private = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        return [public, private]

    monkeypatch.setattr(socket, "getaddrinfo", leads_to)
    monkeypatch.setattr(webhooks, "_connected", lambda *_: pytest.fail("connected"))
    answer = send("https://crm.example/", sender=Sender())
    assert answer == Answer(None, "not sent: its name leads to an address that is not public")
    assert looked_up == ["crm.example"]


def test_what_was_checked_is_connected_to_whatever_the_name_leads_to_later(monkeypatch):
    with receiver() as told:
        found = [[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", told.port))]]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found.pop())
        assert send(f"http://crm.example:{told.port}/").status == 200
    assert told.got[0][0]["Host"] == f"crm.example:{told.port}"


def test_the_next_address_is_tried_where_the_first_does_not_answer(monkeypatch):
    with receiver() as told:
        found = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 1)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", told.port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert send(told.url).status == 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of crm.example that trusts itself."""
    import subprocess

    folder = tmp_path_factory.mktemp("tls")
    made = subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
            "-subj", "/CN=crm.example", "-addext", "subjectAltName=DNS:crm.example",
        ],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl makes no certificate here")
    return folder


@pytest.mark.parametrize(
    ("host", "status", "said"),
    [("crm.example", 200, "HTTP 200"), ("other.example", None, "its certificate is not accepted")],
)
def test_a_certificate_must_be_of_the_host(certificate, monkeypatch, host, status, said):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    trusted = ssl.create_default_context(cafile=certificate / "cert.pem")
    with receiver(tls=server) as told:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", told.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        answer = send(
            f"https://{host}:{told.port}/", sender=Sender(private=True, tls=trusted, seconds=5)
        )
    assert answer.status == status
    assert answer.said.startswith(said)
    assert len(told.got) == (status == 200)
