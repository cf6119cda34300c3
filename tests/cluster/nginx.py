"""Debian's nginx in front of nodes, with the settings of `deploy/nginx.conf` as they are, but for ports and files."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.served import eventually
from tests.services import free_port

PROGRAM = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
HERE = Path(__file__).parent


class Nginx:
    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._configuration = folder / "nginx.conf"
        servers = "\n".join(f"server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;" for port in ports)
        self._configuration.write_text(CONFIGURATION.format(folder=folder, port=self.port, servers=servers))
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
    upstream nexus {{
        {servers}
        keepalive 32;
    }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 64m;
        location / {{
            proxy_pass http://nexus;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_read_timeout 3600s;
            proxy_connect_timeout 2s;
            proxy_next_upstream error timeout;
        }}
    }}
}}
"""
