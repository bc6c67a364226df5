"""`python -m tests.evidence.s3`: a run published to a local S3 server, with faults in between.

A proxy before moto's server drops a connection within an upload and answers 503. The copy is killed
half-way, resumed, repeated, and compared byte by byte.

It needs `s3fs` and `moto[server]` with the suite's packages, in an environment of its own: botocore
wants python-dateutil < 3, and constraints.txt has 4.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.commands.options import Parser, path, whole
from bench.common.errors import RunFailed, UserError
from bench.store.publish import publish
from tests.evidence.program import on_path, program

_BUCKET = "bucket"
_ADDRESS = f"s3://{_BUCKET}/runs"
_LARGE_BYTES, _SMALL_BYTES = 12_000_000, 3000
_DROP_AFTER_BYTES = 3_000_000
_CHUNK = 65_536
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Proxy(threading.Thread):
    """Forwards connections to a port of this machine, with the requested faults.

    The next upload that has more than `drop_after` bytes loses its connection; the next `refusals`
    uploads get 503. `faults` says what was done.
    """

    def __init__(self, target: int) -> None:
        super().__init__(daemon=True)
        self.drop_after = self.refusals = 0
        self.faults: list[str] = []
        self._target = target
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def run(self) -> None:
        while True:
            client, _ = self._socket.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._target))
        threading.Thread(target=_forward, args=(server, client), daemon=True).start()
        sent = 0
        with client, server, suppress(OSError):
            while data := client.recv(_CHUNK):
                if self.refusals and data.startswith((b"PUT ", b"POST ")):
                    self.refusals -= 1
                    self.faults.append("503")
                    client.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n")
                    return
                sent += len(data)
                if self.drop_after and sent > self.drop_after:
                    self.drop_after = 0
                    self.faults.append(f"dropped after {sent} bytes")
                    return
                server.sendall(data)


def _forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)


def _drawn_run(folder: Path, clips: int) -> Path:
    """Writes a folder like that of a finished run, with random content."""
    run = folder / "demo"
    (run / "speech" / "cell").mkdir(parents=True)
    (run / "tables").mkdir()
    for number in range(clips):
        (run / "speech" / "cell" / f"{number:03}.wav").write_bytes(os.urandom(_SMALL_BYTES))
    (run / "rows.parquet").write_bytes(os.urandom(_LARGE_BYTES))
    (run / "tables" / "table1.md").write_text("a table")
    return run


def _killed_half_way(run: Path, files: int) -> int:
    """Kills a copy; returns how many files it had copied."""
    command = [sys.executable, "-P", "-m", "tests.evidence.s3", "--only-publish", str(run)]
    environment = os.environ | {"PYTHONPATH": on_path()}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as copy:
        assert copy.stdout is not None
        done = 0
        for line in copy.stdout:
            done = int(line)
            if done > files // 2:
                copy.kill()
                break
    return done


def _differing(client: Any, run: Path) -> list[str]:
    """Returns the names of the run's files whose copies differ."""
    names = [str(file.relative_to(run)) for file in sorted(run.rglob("*")) if file.is_file()]
    return [
        name
        for name in names
        if client.get_object(Bucket=_BUCKET, Key=f"runs/demo/{name}")["Body"].read()
        != (run / name).read_bytes()
    ]


def measure(clips: int) -> bool:
    """Publishes with all faults and prints the result; returns whether everything is correct."""
    try:
        import boto3
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        raise UserError("this needs s3fs and moto[server] in an environment of its own") from error
    os.environ.update(_CREDENTIALS)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    proxy = Proxy(port)
    proxy.start()
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{proxy.port}"
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    client.create_bucket(Bucket=_BUCKET)
    with tempfile.TemporaryDirectory() as folder:
        run = _drawn_run(Path(folder), clips)
        files = clips + 2
        proxy.drop_after = _DROP_AFTER_BYTES
        killed = _killed_half_way(run, files)
        print(f"killed after {killed} of {files} files; faults: {proxy.faults}")
        proxy.refusals = 1
        resumed = _published(run)
        again = _published(run)
        print(f"resumed: {resumed} copied; again: {again}; faults: {proxy.faults}")
        (run / "rows.parquet").write_bytes(os.urandom(_LARGE_BYTES))
        proxy.drop_after = _DROP_AFTER_BYTES
        changed = _published(run)
        differing = _differing(client, run)
        print(f"a changed file: {changed} copied; {len(differing)} of {files} differ")
        (run / "tables" / "table1.md").write_text("another table")
        proxy.refusals = 1_000_000
        try:
            _published(run)
            refusal = ""
        except RunFailed as error:
            refusal = str(error)
        print(f"a server that refuses everything: {refusal or 'no error'}")
    server.stop()
    is_resumed = resumed >= files - killed and again == 0 and changed == 1
    return is_resumed and not differing and bool(refusal) and len(proxy.faults) > 2


def _published(run: Path) -> int:
    """Publishes without the waits between attempts; returns how many files were copied."""
    return publish(run, _ADDRESS, lambda *_: None, lambda seconds: time.sleep(0.1))


def main(words: Sequence[str]) -> int:
    """Publishes as the command line asks; returns 3 if a file differs or was copied twice."""
    parser = Parser(prog="python -m tests.evidence.s3", description="A run published to S3.")
    parser.add_argument("--clips", type=whole(1, 10_000), default=120)
    parser.add_argument("--only-publish", type=path, metavar="RUN", help="in this process")
    given = parser.parse_args(words)
    if given.only_publish is not None:
        publish(given.only_publish, _ADDRESS, lambda _, done, total: print(done, flush=True))
        return 0
    return 0 if measure(given.clips) else 3


if __name__ == "__main__":
    program(main)
