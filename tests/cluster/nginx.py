"""Debian's nginx in front of nodes, with `deploy/nginx/nexus.conf` as it is, but for ports and certificate."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.served import eventually
from tests.services import free_port

PROGRAM = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
DEPLOY = Path(__file__).parents[2] / "deploy"


class Nginx:
    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._configuration = folder / "nginx.conf"
        self._configuration.write_text(CONFIGURATION.format(folder=folder, ours=_ours(self.port, ports)))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert PROGRAM
        command = [PROGRAM, "-p", str(self._folder), "-c", str(self._configuration)]
        with (self._folder / "nginx.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(lambda: (self._folder / "nginx.pid").exists())

    def answers_of(self, port: int) -> int:
        """How many answers of a node it has passed on."""
        lines = (self._folder / "access.log").read_text().splitlines()
        return sum(line.split(" ")[-2].endswith(f":{port}") for line in lines)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)


CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log warn;
events {{ worker_connections 1024; }}
http {{
    log_format nodes "$upstream_addr $status";
    access_log {folder}/access.log nodes;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{ours}
}}
"""
"""What Debian's own nginx.conf would hold."""


def _ours(port: int, ports: Sequence[int]) -> str:
    """`deploy/nginx/nexus.conf` with the nodes and the port of this test."""
    text = (DEPLOY / "nginx" / "nexus.conf").read_text(encoding="utf-8")
    servers = iter(ports)
    text = re.sub(r"server 127\.0\.0\.1:\d+", lambda _: f"server 127.0.0.1:{next(servers)}", text)
    return re.sub(r"# listen\n.*# /listen\n", f"listen 127.0.0.1:{port};\n", text, flags=re.S)
