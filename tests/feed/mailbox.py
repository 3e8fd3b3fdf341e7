"""A mail server of a few lines, which takes letters, refuses them, or dies at a chosen moment."""

from __future__ import annotations

import contextlib
import socketserver
import ssl
import threading


class Mailbox:
    """Runs while it is entered; ``letters`` holds (sender, recipient, bytes) of what it acknowledged.

    ``replies`` maps a command (``"RCPT"``, ``"DATA"``, ``"."`` for the end of a letter) to a line that replaces "250
    ok". None closes the connection instead; for ``"."`` the letter is kept all the same.
    """

    def __init__(self, *, replies=None, tls=None, certificate=None):
        self.replies = dict(replies or {})
        self.letters, self.commands = [], []
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
        mailbox = self

        class Handler(socketserver.StreamRequestHandler):
            timeout = 10

            def handle(self):
                with contextlib.suppress(OSError, ssl.SSLError):
                    if tls == "tls":
                        self.wrap()
                    mailbox.talk(self, context if tls == "starttls" else None)

            def wrap(self):
                self.request = context.wrap_socket(self.request, server_side=True)
                self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *about):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def talk(self, handler, context):
        def say(line):
            handler.wfile.write(f"{line}\r\n".encode())

        sender = recipient = ""
        say("220 mailbox")
        while line := handler.rfile.readline().decode().rstrip("\r\n"):
            verb = line.split(" ")[0].split(":")[0].upper()
            self.commands.append(line)
            if verb == "QUIT":
                say("221 bye")
                return
            if verb == "EHLO":
                say("250-mailbox\r\n250-AUTH PLAIN\r\n250 STARTTLS" if context is not None else "250 mailbox")
                continue
            if verb == "STARTTLS" and context is not None:
                say("220 go")
                handler.wrap()
                continue
            if verb == "RSET":
                sender = recipient = ""
            if verb == "MAIL" and sender:
                say("503 a letter is open")
                continue
            answer = self.replies.get(verb, "354 go" if verb == "DATA" else "250 ok")
            if callable(answer):
                answer = answer()
            if answer is None:
                return
            if verb == "MAIL":
                sender = line.partition("<")[2].partition(">")[0]
            elif verb == "RCPT":
                recipient = line.partition("<")[2].partition(">")[0]
            say(answer)
            if verb == "DATA" and answer.startswith("354"):
                content = b""
                while (piece := handler.rfile.readline()) != b".\r\n":
                    content += piece
                answer = self.replies.get(".", "250 taken")
                if callable(answer):
                    answer = answer()
                if answer is None or answer.startswith("2"):
                    self.letters.append((sender, recipient, content))
                if answer is None:
                    return
                sender = recipient = ""
                say(answer)
