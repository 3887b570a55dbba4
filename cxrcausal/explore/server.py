"""The page's server: three files and four questions, for this machine alone by default.

A page of another site that a browser has open could send requests here too. So a request must name
this server as its host (a foreign name that points here is refused), a question must come from the
page's own origin and be JSON, and what comes back may run nothing but the page's own script.
"""

import ipaddress
import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, final
from urllib.parse import parse_qs, urlsplit

from cxrcausal.errors import CxrCausalError, OptionError
from cxrcausal.explore.explorer import Explorer

__all__ = ["LARGEST", "make_server"]

LARGEST = 32 * 2**20
"""Bytes of a question, with the radiograph that it holds."""

_Found = Mapping[str, Any] | tuple[str, str, bytes]
"""An answer as JSON, or a file of it: name, type, bytes."""

_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_QUESTIONS: Mapping[str, Callable[[Explorer, Mapping[str, Any]], _Found]] = {
    "/api/patient": Explorer.patient,
    "/api/ask": Explorer.ask,
    "/api/download": Explorer.download,
}
_POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

logger = logging.getLogger("cxrcausal")


def make_server(
    explorer: Explorer | Mapping[str, Explorer], host: str = "127.0.0.1", port: int = 8765
) -> ThreadingHTTPServer:
    """Returns a server that is bound and not yet running; `serve_forever` runs it.

    Arguments:
        explorer: Answers its questions; several by name, of which a question's `source` chooses
            one, the first if it names none.
        host: The address to listen on; another than this machine's own is warned of.
        port: The port; any that is free if 0.

    Raises:
        OptionError: If there is no such address here, or the port is taken.
    """
    if host not in _LOOPBACK:
        logger.warning(
            "the page listens on %s: whoever reaches that address can use it, without a password",
            host,
        )
    try:
        named = {explorer.model.name: explorer} if isinstance(explorer, Explorer) else explorer
        server = ThreadingHTTPServer((host, port), partial(_Handler, dict(named), host))
    except (OSError, OverflowError) as error:
        raise OptionError(f"cannot listen on {host}, port {port}: {error}") from error
    server.daemon_threads = True
    return server


def answers_to(name: str, host: str) -> bool:
    """Returns whether a `Host` header has the server's own name, or an address of numbers.

    Only a name can be made to point here from afar, so numbers are safe to answer to.

    Arguments:
        name: The name, or the address, that the server was given.
        host: The header, with or without a port.
    """
    try:
        found = urlsplit(f"//{host}").hostname or ""
        return found == name.lower() or bool(ipaddress.ip_address(found))
    except ValueError:
        return False


@final
class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server_version = "cxrcausal"
    sys_version = ""
    timeout = 60

    def __init__(self, explorers: Mapping[str, Explorer], name: str, *args: Any) -> None:  # noqa: ANN401
        self.explorers, self.name = explorers, name
        super().__init__(*args)

    def do_GET(self) -> None:
        """Sends a file of the page, or what may be asked."""
        if not self._is_ours():
            return
        path, _, query = self.path.partition("?")
        if path == "/api/describe":
            wanted = parse_qs(query).get("source", [])
            self._answer(self._described, {"source": wanted[-1]} if wanted else {})
        elif path in _FILES:
            name, kind = _FILES[path]
            content = files("cxrcausal.explore").joinpath(name).read_bytes()
            self._send(HTTPStatus.OK, kind, content)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_POST(self) -> None:
        """Answers a question."""
        if not self._is_ours(of_page=True):
            return
        answer = _QUESTIONS.get(self.path)
        if answer is None:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such question")
            return
        question = self._question()
        if question is not None:
            self._answer(lambda asked: answer(self._explorer(asked), asked), question)

    def send_error(
        self, code: int, message: str | None = None, explain: str | None = None
    ) -> None:
        """Says in JSON what the server itself refuses: a method that is none, a broken request."""
        self._refuse(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def _source(self, asked: Mapping[str, Any]) -> str:
        """Returns the name of who answers a question."""
        source = asked.get("source", next(iter(self.explorers)))
        if not isinstance(source, str) or source not in self.explorers:
            raise OptionError(
                f"source {source!r} is not one of this server's: {', '.join(self.explorers)}"
            )
        return source

    def _explorer(self, asked: Mapping[str, Any]) -> Explorer:
        return self.explorers[self._source(asked)]

    def _described(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        source = self._source(asked)
        about = {"source": source, "sources": list(self.explorers), "largest": LARGEST}
        return {**self.explorers[source].describe(), **about}

    def _is_ours(self, *, of_page: bool = False) -> bool:
        """Whether a request names this server as its host and, a question, comes from its page."""
        address, port = self.connection.getsockname()[:2]
        host = self.headers.get("Host", "")
        allowed = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]", address)}
        if host not in allowed and (address in _LOOPBACK or not answers_to(self.name, host)):
            self._refuse(HTTPStatus.FORBIDDEN, "this server has another name")
            return False
        origin = self.headers.get("Origin")
        if of_page and origin is not None and origin != f"http://{host}":
            self._refuse(HTTPStatus.FORBIDDEN, "questions are asked by the page itself")
            return False
        return True

    def _question(self) -> Mapping[str, Any] | None:
        """Returns what is asked; None, after a refusal, if it is nothing that can be asked."""
        if self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a question is JSON")
            return None
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "a question says how long it is")
            return None
        if len(length) > len(str(LARGEST)) or int(length) > LARGEST:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"a question, with its radiograph, has at most {LARGEST // 2**20} MiB",
            )
            return None
        try:
            asked = json.loads(self.rfile.read(int(length)))
            json.dumps(asked, ensure_ascii=False).encode()  # half a character is no text
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, Mapping):
            self._refuse(HTTPStatus.BAD_REQUEST, "the question is no JSON object")
            return None
        return asked

    def _answer(
        self, answer: Callable[[Mapping[str, Any]], _Found], asked: Mapping[str, Any]
    ) -> None:
        """Sends what is found."""
        try:
            found = answer(asked)
        except CxrCausalError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
            return
        except Exception:  # a fault of ours; whoever asked is told so, the log says which
            logger.exception("a question of the page failed")
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "this failed; the server's log has why")
            return
        if isinstance(found, tuple):
            name, kind, content = found
            self._send(HTTPStatus.OK, kind, content, f'attachment; filename="{name}"')
        else:
            text = json.dumps(found, default=str)
            self._send(HTTPStatus.OK, "application/json", text.encode())

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True  # what may follow of the question is not read
        self._send(status, "application/json", json.dumps({"error": why}).encode())

    def _send(
        self, status: HTTPStatus, kind: str, content: bytes, disposition: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        if disposition is not None:
            self.send_header("Content-Disposition", disposition)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401
        """Logs a request at the level of debugging, instead of on the terminal."""
        logger.debug(format, *args)
