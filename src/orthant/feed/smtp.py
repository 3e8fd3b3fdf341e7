"""Letters over SMTP: encrypted, within a time, and exact about what the server has taken."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from orthant.errors import InputError, message
from orthant.feed.addresses import check_sender
from orthant.feed.delivery import DeliveryError
from orthant.feed.outbox import Letter
from orthant.urls import is_loopback
from orthant.validate import check_choice, check_count, check_fraction

__all__ = ["SmtpDelivery"]

_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_ACCEPTED, _REFUSED_FROM = 250, 500


class SmtpDelivery:
    """Send messages through a mail server, over one connection.

    Parameters
    ----------
    host : str
        The server.
    sender : str
        Who letters are from: an address, or ``"NAME <ADDRESS>"``. Its address is the envelope's, which gets bounces.
    port : int, optional
        Default 587, 465 or 25, by ``security``.
    security : {"starttls", "tls", "none"}, default "starttls"
        Encrypted after the greeting, from the beginning, or not at all: that only on this machine. A certificate that
        does not fit ends the run.
    username, password : str, optional
        Both or neither.
    timeout_s : float, default 30.0
        Seconds that one answer of the server may take, 0.1 to 600.
    context : ssl.SSLContext, optional
        Instead of the system's certificates.

    Raises
    ------
    InputError
        Settings that do not fit together.
    """

    repeatable = False
    needs_links = True

    def __init__(
        self,
        host: str,
        *,
        sender: str,
        port: int | None = None,
        security: Literal["starttls", "tls", "none"] = "starttls",
        username: str | None = None,
        password: str | None = None,
        timeout_s: float = 30.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.security = check_choice(security, tuple(_PORTS), name="security")
        self.sender = check_sender(sender)[1]
        self.host = host
        self.port = _PORTS[self.security] if port is None else check_count(port, name="port", maximum=65_535)
        self.timeout_s = check_fraction(timeout_s, name="timeout_s", low=0.1, high=600)
        if (username is None) != (password is None):
            raise InputError(message("one of username and password", "both or neither", "pass both"))
        if self.security == "none" and not is_loopback(host):
            # Addresses, and what their owners look for, are not for everyone on the way.
            raise InputError(message(f"security='none' for {host}", "'starttls' or 'tls'", "leave it out"))
        self._login = None if username is None or password is None else (username, password)
        self._context = context
        self._smtp: smtplib.SMTP | None = None
        self._hung_up = False

    def __enter__(self) -> Self:
        """Wait for the first letter: where there is none, no server is asked."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the connection."""
        self._close()

    def deliver(self, letter: Letter, handing: Callable[[], None]) -> None:
        """Send one letter.

        Parameters
        ----------
        letter : Letter
            Which.
        handing : callable
            Called when the server has accepted sender and recipient, before it gets the letter.

        Raises
        ------
        DeliveryError
            ``"unknown"`` where the connection broke after the letter was on its way.
        """
        reused = self._smtp is not None
        smtp = self._connected()
        begun = False

        def begin() -> None:
            nonlocal begun
            try:
                handing()
            except BaseException:
                # The server would take the next sender for a second one of this letter.
                smtp.rset()
                raise
            begun = True

        try:
            self._expect(smtp, *smtp.mail(self.sender))
            self._expect(smtp, *smtp.rcpt(letter.address))
            begin()
            self._expect(smtp, *smtp.data(letter.content))
            self._hung_up = False
        except smtplib.SMTPDataError as error:
            # The server did not want to hear the letter at all.
            self._expect(smtp, error.smtp_code, error.smtp_error)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            self._close()
            if begun:
                raise _broken(error, "unknown", over=True) from error
            if reused and not isinstance(error, TimeoutError):
                # A server may end a connection after some letters; that says nothing about this one.
                self.deliver(letter, handing)
                return
            again, self._hung_up = self._hung_up, True
            # Hung up at this letter, a server may well take the next one, so that no letter holds up all others for
            # ever. Hung up at two in a row, or silent, it is the server; the second is not to blame.
            over = again or isinstance(error, TimeoutError)
            raise _broken(error, "later", over=over, tried=not again) from error

    def _connected(self) -> smtplib.SMTP:
        if self._smtp is not None:
            return self._smtp
        context = ssl.create_default_context() if self._context is None else self._context
        smtp: smtplib.SMTP | None = None
        try:
            if self.security == "tls":
                smtp = smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout_s, context=context)
            else:
                smtp = smtplib.SMTP(self.host, self.port, timeout=self.timeout_s)
            if self.security == "starttls":
                # Raises where the server does not offer it: going on in the clear is what an attacker would want.
                smtp.starttls(context=context)
            smtp.ehlo_or_helo_if_needed()
            if self._login is not None:
                smtp.login(*self._login)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            if smtp is not None:
                smtp.close()
            raise _broken(error, "later", over=True) from error
        self._smtp = smtp
        return smtp

    @staticmethod
    def _expect(smtp: smtplib.SMTP, code: int, reply: bytes | str) -> None:
        if code in (_ACCEPTED, _ACCEPTED + 1):
            return
        with contextlib.suppress(smtplib.SMTPException, OSError):
            smtp.rset()
        said = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
        text = message(f"{code} {said[:200]}", "250 from the mail server", "see what it says")
        raise DeliveryError(text, "refused" if code >= _REFUSED_FROM else "later")

    def _close(self) -> None:
        if self._smtp is not None:
            smtp, self._smtp = self._smtp, None
            with contextlib.suppress(smtplib.SMTPException, OSError):
                smtp.quit()
            smtp.close()


def _broken(
    error: Exception, outcome: Literal["later", "unknown"], *, over: bool, tried: bool = False
) -> DeliveryError:
    # What a server answered to a log-in may repeat the name; the password is never in it.
    text = " ".join(str(error).split())[:200] or type(error).__name__
    told = message(text, "a mail server that answers", "check host, port and security")
    return DeliveryError(told, outcome, over=over, tried=tried)
