"""An identity provider of the test: real keys, a real HTTP server with its key set and its answers about tokens."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

ISSUER = "https://login.example.com/realms/mail"
AUDIENCE = "postlatch"
CLIENT = ("post latch", "s:e%c&r t")  # it needs the form-encoding of RFC 6749 section 2.3.1


class IdentityProvider:
    """``with IdentityProvider() as provider``: at ``url``. ``broken``: how it fails, a status, "late", "huge" or "nonsense"."""

    def __init__(self) -> None:
        self.rsa = RSAKey.generate_key(2048, {"kid": "rsa"})
        self.keys: dict[str, Key] = {
            "rsa": self.rsa,
            "ec": ECKey.generate_key("P-256", {"kid": "ec"}),
            "ed": OKPKey.generate_key("Ed25519", {"kid": "ed"}),
        }
        self.published = ["rsa", "ec", "ed"]
        self.active: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.broken: str | int = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def token(self, login: str, *, key: str = "rsa", alg: str = "RS256", **changed: Any) -> str:
        """A token for ``login``; ``changed`` claims replace others, and None takes one away."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "email": login, "scope": "openid smtp", "iat": now, "exp": now + 300}
        claims = {name: value for name, value in {**claims, **changed}.items() if value is not None}
        return jwt.encode({"alg": alg, "kid": key}, claims, self.keys[key], algorithms=[alg])

    def forged(self, login: str, secret: bytes) -> str:
        """Signed by HMAC with something that everybody knows. Made by hand: no library would."""
        claims = {"iss": ISSUER, "aud": AUDIENCE, "email": login, "scope": "smtp", "exp": int(time.time()) + 300}
        head = ".".join(_b64(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "rsa"}, claims))
        return f"{head}.{_b64(hmac.digest(secret, head.encode(), 'sha256'))}"

    def key_set(self) -> bytes:
        """The JWKS."""
        return json.dumps({"keys": [self.keys[name].as_dict(private=False) for name in self.published]}).encode()

    def introspect(self, authorization: str, form: str) -> tuple[int, bytes]:
        """RFC 7662."""
        wanted = base64.b64encode(b"post+latch:s%3Ae%25c%26r+t").decode()
        if authorization != f"Basic {wanted}":
            return 401, b"{}"
        token = parse_qs(form).get("token", [""])[0]
        return 200, json.dumps({"active": token in self.active, **self.active.get(token, {})}).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                self._answer(200, provider.key_set())

            def do_POST(self) -> None:
                provider.asked.append(self.path)
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._answer(*provider.introspect(self.headers.get("Authorization", ""), form))

            def _answer(self, status: int, body: bytes) -> None:
                match provider.broken:
                    case int() as number:
                        status = number
                    case "late":
                        provider.wait()
                    case "huge":
                        body = b'{"active":true,"keys":[],"pad":"' + b"x" * 10_000_000 + b'"}'
                    case "nonsense":
                        body = b"[" * 30_000
                    case _:
                        pass
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:  # it has heard enough
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                return None

        return Handler

    def wait(self) -> None:
        """As long as somebody stays to hear the answer who should not."""
        end = time.monotonic() + 10
        while self.broken == "late" and time.monotonic() < end:
            time.sleep(0.02)


def _b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")
