"""What kubestrap keeps in the directory it is called in: a record of every run, and one lock a cluster."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubestrap.adapters.environment import write_private
from kubestrap.adapters.private import state_directory
from kubestrap.errors import UsageError
from kubestrap.model.events import Event, TaskFinished
from kubestrap.model.summary import Summary
from kubestrap.model.timeline import spans
from kubestrap.ports import Renderer


class RunDirectory:
    """The record of one run, readable by its owner only."""

    def __init__(self, directory: Path, renderer: Renderer) -> None:
        """Make the directory and its files."""
        self.directory = directory
        self.log = directory / "ansible.log"
        self._renderer = renderer
        directory.mkdir(mode=0o700)
        write_private(self.log, "")
        self._events = write_private(directory / "events.jsonl", "")

    def record(self, data: Mapping[str, Any]) -> None:
        """Append one event."""
        with self._events.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(data) + "\n")

    def finish(self, summary: Summary, events: Sequence[Event]) -> None:
        """Write the summary and the timeline."""
        data = summary.as_data()
        self.record(data)
        write_private(self.directory / "summary.json", json.dumps(data, indent=2) + "\n")
        bars = spans([event for event in events if isinstance(event, TaskFinished)])
        start = min((bar.started for bar in bars), default=0.0)
        total = max((bar.ended for bar in bars), default=0.0) - start or 1.0
        hosts = {host: [bar for bar in bars if bar.host == host] for host in dict.fromkeys(bar.host for bar in bars)}
        page = self._renderer.render("timeline.html.j2", summary=summary, hosts=hosts, start=start, total=total)
        write_private(self.directory / "timeline.html", page)


class LocalState:
    """The directory `.kubestrap`."""

    def __init__(self, directory: Path, renderer: Renderer) -> None:
        """Take the directory; it is made when something is kept in it."""
        self._directory = directory
        self._renderer = renderer

    def run(self) -> RunDirectory:
        """Make the directory of a new run, named after the time in UTC."""
        runs = self._make("runs")
        name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
        number = 1
        while True:
            try:
                return RunDirectory(runs / (name if number == 1 else f"{name}-{number}"), self._renderer)
            except FileExistsError:
                number += 1

    @contextmanager
    def lock(self, cluster: str) -> Iterator[None]:
        """Keep other runs away from the cluster.

        Raises:
            UsageError: When another run works on it.
        """
        path = self._make("locks") / f"{cluster}.lock"
        with path.open("a+", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.seek(0)
                holder = stream.read().strip() or "another process"
                raise UsageError(f"another run works on the cluster {cluster} ({holder}); wait for it to end") from None
            stream.seek(0)
            stream.truncate()
            stream.write(f"pid {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
            stream.flush()
            # The file stays: removing it would let two runs hold two files of the same name.
            yield

    def _make(self, name: str) -> Path:
        return state_directory(self._directory / name)
