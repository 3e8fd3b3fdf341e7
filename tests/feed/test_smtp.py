"""Letters over SMTP: never in the clear to others, never to a server that is not who it says, never for ever."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading

import pytest

from feed.mailbox import Mailbox
from orthant.errors import InputError
from orthant.feed import SmtpDelivery
from orthant.feed.delivery import DeliveryError
from orthant.feed.outbox import Letter

LETTER = Letter(1, 1, "digest", "ada@example.org", b"Subject: x\r\n\r\n.one dot\r\n", 0)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = (folder / "cert.pem", folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    try:
        subprocess.run([*command, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("openssl is not installed, which makes the certificate of this test")
    return files


def send(delivery, letter=LETTER):
    handed = []
    with delivery:
        delivery.deliver(letter, lambda: handed.append(True))
    return handed


def delivery(box, **settings):
    return SmtpDelivery("localhost", port=box.port, sender="library@example.org", timeout_s=5, **settings)


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_encrypted_and_logged_in(certificate, security):
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with Mailbox(tls=security, certificate=certificate, replies={"AUTH": "235 in"}) as box:
        secret = {"username": "library", "password": "a secret"} if security == "starttls" else {}
        assert send(delivery(box, security=security, context=context, **secret)) == [True]
        assert box.letters == [("library@example.org", "ada@example.org", b"Subject: x\r\n\r\n..one dot\r\n")]
        if secret:
            before = box.commands.index("STARTTLS")
            assert not any(line.startswith(("AUTH", "MAIL")) for line in box.commands[:before])
            assert any(line.startswith("AUTH") for line in box.commands[before:])


def test_a_certificate_that_does_not_fit_ends_it(certificate):
    for security in ("tls", "starttls"):
        with Mailbox(tls=security, certificate=certificate) as box:
            with pytest.raises(DeliveryError, match=r"(?i)certificate") as caught:
                send(delivery(box, security=security))
            assert (caught.value.outcome, caught.value.over, box.letters) == ("later", True, [])
            assert not any(line.startswith("MAIL") for line in box.commands)


def test_a_server_that_cannot_encrypt_gets_nothing():
    with Mailbox() as box, pytest.raises(DeliveryError, match="STARTTLS") as caught:
        send(delivery(box, username="library", password="a secret"))
    assert caught.value.over
    assert "secret" not in str(caught.value)
    assert not any(line.startswith(("AUTH", "MAIL")) for line in box.commands)


def test_the_clear_is_for_this_machine_only():
    with pytest.raises(InputError, match="security"):
        SmtpDelivery("mail.example.org", sender="a@example.org", security="none")
    assert SmtpDelivery("127.0.0.1", sender="a@example.org", security="none").port == 25
    assert SmtpDelivery("mail.example.org", sender="a@example.org").port == 587
    assert SmtpDelivery("mail.example.org", sender="a@example.org", security="tls").port == 465


@pytest.mark.parametrize(
    "settings",
    [
        {"sender": "nobody"},
        {"security": "ssl"},
        {"username": "library"},
        {"password": "secret"},
        {"port": 0},
        {"port": 70_000},
        {"timeout_s": 0},
    ],
)
def test_settings_that_do_not_fit(settings):
    with pytest.raises(InputError):
        SmtpDelivery("mail.example.org", **{"sender": "a@example.org", **settings})


def test_a_silent_server_does_not_hold_a_run_for_ever():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = threading.Event()
        thread = threading.Thread(target=lambda: (silent.accept(), done.wait(60)))
        thread.start()
        quick = SmtpDelivery(
            "127.0.0.1", port=silent.getsockname()[1], sender="a@example.org", security="none", timeout_s=0.2
        )
        with pytest.raises(DeliveryError, match="timed out") as caught:
            send(quick)
        done.set()
        thread.join()
    assert (caught.value.outcome, caught.value.over) == ("later", True)


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DeliveryError) as caught:
        send(SmtpDelivery("127.0.0.1", port=port, sender="a@example.org", security="none", timeout_s=2))
    assert (caught.value.outcome, caught.value.over) == ("later", True)


@pytest.mark.parametrize(
    ("command", "reply", "outcome", "handed"),
    [
        ("MAIL", "451 later", "later", []),
        ("MAIL", "550 no", "refused", []),
        ("RCPT", "450 later", "later", []),
        ("RCPT", "550 nobody", "refused", []),
        ("DATA", "451 later", "later", [True]),
        ("DATA", "554 no", "refused", [True]),
        (".", "451 later", "later", [True]),
        (".", "554 spam", "refused", [True]),
        ("RCPT", None, "later", []),
        (".", None, "unknown", [True]),
    ],
)
def test_what_an_answer_means_and_the_next_letter(command, reply, outcome, handed):
    with Mailbox(replies={command: reply}) as box:
        link = delivery(box, security="none")
        found = []
        with link:
            with pytest.raises(DeliveryError) as caught:
                link.deliver(LETTER, lambda: found.append(True))
            assert (caught.value.outcome, found) == (outcome, handed)
            assert caught.value.over == (command == "." and reply is None)
            box.replies = {}
            box.letters.clear()
            link.deliver(LETTER, lambda: None)
        assert len(box.letters) == 1


def test_a_server_that_hangs_up_at_one_letter_gets_the_next_and_one_that_hangs_up_at_all_is_left_alone():
    with Mailbox(replies={"RCPT": None}) as box, delivery(box, security="none") as link:
        for over, tried in ((False, True), (True, False)):
            with pytest.raises(DeliveryError) as caught:
                link.deliver(LETTER, lambda: None)
            assert (caught.value.outcome, caught.value.over, caught.value.tried) == ("later", over, tried)
        box.replies = {}
        link.deliver(LETTER, lambda: None)
        # A connection that ended between two letters is made again, and no letter is charged for it.
        replies = iter([None, "250 ok"])
        box.replies = {"MAIL": lambda: next(replies)}
        link.deliver(LETTER, lambda: None)
        assert len(box.letters) == 2
