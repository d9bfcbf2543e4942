"""The servers of bench/tls.py: how each is started, and why one is not there.

All have the same certificate (ECDSA, P-256), speak TLS 1.3, and send tickets as they do by default.
nginx and HAProxy are one process with one thread. For echoes they are terminators: behind them, on
the same core, is c1m's echo without TLS.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from harness.build import BENCH, BUILD, BuildFailed

PEERS = BENCH / "peers"
HANDSHAKES, ECHO = "handshakes", "echo"
STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

NGINX = """
{module}
daemon off;
master_process off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 19000; }}
{kind} {{
    ssl_certificate {cert};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
    {settings}
    server {{ listen 127.0.0.1:{port} ssl backlog=4096; {does} }}
}}
"""
NGINX_HTTP = """
    access_log off;
    client_body_temp_path {directory};
    proxy_temp_path {directory};
    fastcgi_temp_path {directory};
    uwsgi_temp_path {directory};
    scgi_temp_path {directory};
"""
HAPROXY = """
global
    maxconn 9000
    nbthread 1
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode {mode}
    timeout connect 60s
    timeout client 600s
    timeout server 600s
frontend tls
    bind 127.0.0.1:{port} ssl crt {both} backlog 4096
    {does}
"""
HAPROXY_BEHIND = """default_backend echo
backend echo
    server echo 127.0.0.1:{behind}
"""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM; `both`: the certificate and its key in one."""

    cert: Path
    key: Path
    both: Path


def certificate() -> Certificate:
    """One for localhost, made when it is first wanted. Raises BuildFailed."""
    BUILD.mkdir(parents=True, exist_ok=True)
    found = Certificate(*(BUILD / f"tls-{name}.pem" for name in ("cert", "key", "both")))
    if not found.both.exists():
        openssl = shutil.which("openssl")
        if openssl is None:
            raise BuildFailed("openssl is not installed: apt-get install openssl")
        command = [
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", str(found.key), "-out", str(found.cert), "-days", "3650",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BuildFailed(done.stderr.strip()[-500:])
        found.both.write_bytes(found.cert.read_bytes() + found.key.read_bytes())
        found.both.chmod(0o600)
    return found


@dataclass(frozen=True, slots=True)
class TlsPeer:
    """A server. `command(port, task, behind)` is its command line; it raises BuildFailed.

    `is_terminator`: an echo without TLS is at the port `behind`.
    """

    name: str
    what: str
    tasks: tuple[str, ...]
    command: Callable[[int, str, int], Sequence[str]]
    is_terminator: bool = False

    def why_missing(self, task: str) -> str:
        """Empty if it can be started here."""
        try:
            self.command(0, task, 0)
        except BuildFailed as failure:
            return str(failure)
        return ""


def plain_echo(port: int) -> Sequence[str]:
    """c1m's echo without TLS, behind a terminator."""
    return [sys.executable, str(PEERS / "c1m_echo.py"), str(port), "auto"]


def c1m_command(port: int, *options: str) -> Sequence[str]:
    """c1m's echo over TLS."""
    files = certificate()
    return [
        sys.executable, "-m", "c1m", "serve", "echo", "--quiet",
        "--listen", f"tls://127.0.0.1:{port}",
        "--tls-cert", str(files.cert), "--tls-key", str(files.key), *options,
    ]  # fmt: skip


def _asyncio(loop: str) -> Callable[[int, str, int], Sequence[str]]:
    def command(port: int, task: str, behind: int) -> Sequence[str]:
        if find_spec(loop) is None:
            raise BuildFailed(f"the Python package {loop} is not installed")
        files = certificate()
        script = str(PEERS / "asyncio_server.py")
        return [sys.executable, script, str(port), ECHO, loop, str(files.cert), str(files.key)]

    return command


def _uvicorn(loop: str) -> Callable[[int, str, int], Sequence[str]]:
    def command(port: int, task: str, behind: int) -> Sequence[str]:
        for name in ("uvicorn", "httptools", loop):
            if find_spec(name) is None:
                raise BuildFailed(f"the Python package {name} is not installed")
        files = certificate()
        return [
            sys.executable, "-m", "uvicorn", "--app-dir", str(PEERS), "asgi_websocket:app",
            "--port", str(port), "--lifespan", "off", "--log-level", "critical",
            "--loop", loop, "--backlog", "4096",
            "--ssl-certfile", str(files.cert), "--ssl-keyfile", str(files.key),
        ]  # fmt: skip

    return command


def _nginx(port: int, task: str, behind: int) -> Sequence[str]:
    nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if nginx is None or (task == ECHO and not STREAM.exists()):
        raise BuildFailed("nginx is not installed: apt-get install nginx libnginx-mod-stream")
    directory, files = BUILD / "nginx-tls", certificate()
    directory.mkdir(parents=True, exist_ok=True)
    is_stream = task == ECHO
    text = NGINX.format(
        module=f"load_module {STREAM};" if is_stream else "",
        kind="stream" if is_stream else "http",
        directory=directory, cert=files.cert, key=files.key, port=port,
        settings="" if is_stream else NGINX_HTTP.format(directory=directory),
        does=f"proxy_pass 127.0.0.1:{behind};" if is_stream else "return 204;",
    )  # fmt: skip
    settings = directory / f"{port}.conf"
    settings.write_text(text)
    return [nginx, "-p", str(directory), "-c", str(settings)]


def _haproxy(port: int, task: str, behind: int) -> Sequence[str]:
    haproxy = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")
    if haproxy is None:
        raise BuildFailed("HAProxy is not installed: apt-get install haproxy")
    directory, files = BUILD / "haproxy", certificate()
    directory.mkdir(parents=True, exist_ok=True)
    mode, does = "http", "http-request return status 204"
    if task == ECHO:
        mode, does = "tcp", HAPROXY_BEHIND.format(behind=behind)
    settings = directory / f"{port}.cfg"
    settings.write_text(HAPROXY.format(mode=mode, does=does, port=port, both=files.both))
    return [haproxy, "-db", "-f", str(settings)]


ALL = (
    TlsPeer("c1m", "c1m serve echo, by ssl", (HANDSHAKES, ECHO),
            lambda port, task, behind: c1m_command(port)),
    TlsPeer("c1m-handoff", "c1m serve echo --tls-handoff", (HANDSHAKES, ECHO),
            lambda port, task, behind: c1m_command(port, "--tls-handoff")),
    TlsPeer("nginx", "nginx; for echoes in front of c1m", (HANDSHAKES, ECHO), _nginx, True),
    TlsPeer("haproxy", "HAProxy; for echoes in front of c1m", (HANDSHAKES, ECHO), _haproxy, True),
    TlsPeer("uvicorn", "uvicorn on uvloop", (HANDSHAKES,), _uvicorn("uvloop")),
    TlsPeer("uvicorn-asyncio", "uvicorn on asyncio", (HANDSHAKES,), _uvicorn("asyncio")),
    TlsPeer("asyncio", "asyncio's ssl, a protocol that echoes", (ECHO,), _asyncio("asyncio")),
    TlsPeer("uvloop", "uvloop's ssl, the same protocol", (ECHO,), _asyncio("uvloop")),
)  # fmt: skip
