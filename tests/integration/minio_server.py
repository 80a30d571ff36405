"""A real MinIO for tests, with a data folder of its own; and a line to it that can be cut, stopped and measured."""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlparse

import boto3
import pytest
import urllib3
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider

from modelyard.stack.object_store import prepare_object_store
from tests.conftest import free_port

IMAGE = "modelyard/minio:local"
NAMES = ("trainer", "evaluator", "mlflow", "client", "notebook", "gc", "backup")


@dataclass
class Minio:
    """A running server, and the keys of its users."""

    endpoint: str
    root: tuple[str, str] = field(default_factory=lambda: ("root-of-tests", token_urlsafe(24)))
    keys: dict[str, tuple[str, str]] = field(
        default_factory=lambda: {name: (f"modelyard-{name}", token_urlsafe(24)) for name in NAMES}
    )

    def connect(self, keys: tuple[str, str]) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=keys[0],
            aws_secret_access_key=keys[1],
            region_name="us-east-1",
        )

    def administer(self, keys: tuple[str, str]) -> MinioAdmin:
        netloc = urlparse(self.endpoint).netloc
        return MinioAdmin(endpoint=netloc, credentials=StaticProvider(*keys), secure=False)

    def prepare(self, bucket: str = "modelyard", **changes: Any) -> None:
        values = {"endpoint": self.endpoint, "root": self.root, "users": self.keys, "report": print, "wait_s": 30}
        prepare_object_store(bucket=bucket, **values | changes)

    def use_keys(self, monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, *, endpoint: str = "") -> None:
        """Give boto3 the address and a user's keys as a container has them."""
        for variable in [v for v in os.environ if v.startswith("AWS_")]:
            monkeypatch.delenv(variable)
        key, secret = self.keys[name]
        path = folder / "s3_credentials"
        path.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint or self.endpoint)


@contextmanager
def run_minio() -> Iterator[Minio]:
    """Start the program that MODELYARD_TEST_MINIO names, or ``minio``, or our image; skip where there is none."""
    port = free_port()
    minio = Minio(f"http://127.0.0.1:{port}")
    variables = {"MINIO_ROOT_USER": minio.root[0], "MINIO_ROOT_PASSWORD": minio.root[1]}
    program = os.environ.get("MODELYARD_TEST_MINIO") or shutil.which("minio")
    with ExitStack() as at_end:
        if program:
            folder = at_end.enter_context(tempfile.TemporaryDirectory(prefix="modelyard-minio-"))
            command = [program, "server", folder, "--address", f"127.0.0.1:{port}", "--console-address", "127.0.0.1:0"]
        elif _has_image():
            name = f"modelyard-test-minio-{port}"
            forget = ["docker", "rm", "--force", "--volumes", name]
            at_end.callback(subprocess.run, forget, capture_output=True, check=False)
            passed = [word for variable in variables for word in ("--env", variable)]
            command = ["docker", "run", "--rm", "--name", name, "--publish", f"127.0.0.1:{port}:9000", *passed, IMAGE]
        else:
            pytest.skip(f"no MinIO: neither MODELYARD_TEST_MINIO, nor minio on the PATH, nor the image {IMAGE}")
        log = at_end.enter_context(tempfile.TemporaryFile())
        server = subprocess.Popen(command, env={**os.environ, **variables}, stdout=log, stderr=log)
        at_end.callback(server.wait, 30)
        at_end.callback(server.terminate)
        _wait_until_ready(minio.endpoint, server)
        yield minio


def _has_image() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False).returncode == 0


def _wait_until_ready(endpoint: str, server: "subprocess.Popen[bytes]") -> None:
    give_up_s = time.monotonic() + 60
    while time.monotonic() < give_up_s and server.poll() is None:
        with suppress(urllib3.exceptions.HTTPError):
            if urllib3.request("GET", f"{endpoint}/minio/health/ready", timeout=5, retries=False).status == 200:
                return
        time.sleep(0.1)
    raise AssertionError("MinIO did not become ready")


class Line:
    """A TCP line to a server; from when on it is cut, or silent, the test decides by the bytes that passed."""

    def __init__(self, endpoint: str) -> None:
        address = urlparse(endpoint)
        self._server = (address.hostname, address.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent_bytes = self.received_bytes = 0
        self.cut_when: Callable[[Line], bool] = lambda line: False
        self.stop_when: Callable[[Line], bool] = lambda line: False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._server)
                for pair in ((near, far, "sent_bytes"), (far, near, "received_bytes")):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, counter: str) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                setattr(self, counter, getattr(self, counter) + len(chunk))
                if self.cut_when(self):
                    break
                if not self.stop_when(self):
                    target.sendall(chunk)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
