"""Folders that one process at a time may lock."""

import threading
from pathlib import Path

from bench.common.lock import locked


def test_waiting_continues_when_the_folder_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "waiting"
    waits, had_it = threading.Event(), threading.Event()

    def wait() -> None:
        waits.set()
        with locked(folder, 60) as lock:
            lock.check()
            had_it.set()

    second = threading.Thread(target=wait)
    with locked(folder):
        second.start()
        waits.wait()
        folder.rmdir()
    second.join()
    assert had_it.is_set()
