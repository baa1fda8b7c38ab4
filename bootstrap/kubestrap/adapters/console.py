"""Shows what happens: live lines on a terminal, plain lines in a pipe, JSON lines for programs."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from kubestrap.model.cluster import Cluster, Host
from kubestrap.model.events import Event, Message, Progress, TaskFinished, TaskStarted, event_data
from kubestrap.model.probe import ProbeResult
from kubestrap.model.report import folded, report, shortened
from kubestrap.model.summary import Summary
from kubestrap.model.text import harmless

# The stage that only declares variables is nothing to look at.
_SILENT = {"cluster"}


class PersonAtTerminal:
    """Speaks with the person who started the program."""

    def say(self, text: str) -> None:
        """Say one line, as it is: it may be meant to be copied."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def confirm(self, question: str) -> bool:
        """Return the answer; no when nobody is there to give one."""
        if not sys.stdin.isatty():
            return False
        try:
            return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
        except EOFError:
            return False


class PlainReporter:
    """One line for every stage, every changed step and every failure."""

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        """Write to a stream."""
        self._stream = stream
        self._verbose = verbose
        self._began = time.monotonic()
        self._stage = ""

    def note(self, text: str) -> None:
        """Say one sentence."""
        self._line(text)

    def start(self, command: str, cluster: Cluster, hosts: Sequence[Host]) -> None:
        """Name the cluster and its hosts."""
        names = shortened([host.name for host in hosts])
        self._line(f"kubestrap {command}: cluster {cluster.name} on {names}")

    def set_aside(self, results: Sequence[ProbeResult]) -> None:
        """Name hosts that are out of reach."""
        for sentence, hosts in folded((result.host, result.sentence) for result in results).items():
            self._line(f"{shortened(hosts)}: unreachable: {sentence}")

    def handle(self, event: Event) -> None:
        """Show one event."""
        match event:
            case TaskStarted() if event.stage != self._stage and event.stage not in _SILENT:
                self._stage = event.stage
                self._line(f"{self._clock()}  {event.stage}")
            case TaskFinished(outcome="failed" | "unreachable"):
                text = f"{event.host}: {event.outcome.upper()}: {event.task}: {_first_line(event.message)}"
                self._line(f"{self._clock()}    {text}")
            case TaskFinished(outcome="changed"):
                self._line(f"{self._clock()}    {event.host}: {event.task}")
            case Progress():
                self._line(f"{self._clock()}    {event.host}: {event.text}")
            case Message(level="error") | Message() if event.level == "error" or self._verbose:
                self._line(f"{self._clock()}  {event.level}: {event.text}")
            case _:
                pass

    def finish(self, summary: Summary) -> None:
        """Show how it ended."""
        self._line("\n".join(report(summary)))

    def close(self) -> None:
        """Nothing to give back."""

    def _clock(self) -> str:
        return f"{time.monotonic() - self._began:7.1f} s"

    def _line(self, text: str) -> None:
        self._stream.write(harmless(text) + "\n")
        self._stream.flush()


@dataclass(slots=True)
class _Row:
    stage: str = ""
    task: str = "connecting"
    since: float = 0.0
    changed: int = 0
    state: str = ""


class LiveReporter:
    """One live line for every host: stage, step and seconds."""

    def __init__(self, console: Console) -> None:
        """Draw on a terminal."""
        self._console = console
        self._rows: dict[str, _Row] = {}
        self._live: Live | None = None

    def note(self, text: str) -> None:
        """Say one sentence above the live lines."""
        self._console.print(harmless(text), markup=False, highlight=False)

    def start(self, command: str, cluster: Cluster, hosts: Sequence[Host]) -> None:
        """Begin the live lines."""
        self._console.print(f"kubestrap {command}: cluster [bold]{cluster.name}[/]", highlight=False)
        self._rows = {host.name: _Row(since=time.monotonic()) for host in hosts}
        self._live = Live(
            get_renderable=self._table,
            console=self._console,
            refresh_per_second=4,
            transient=True,
            redirect_stderr=False,
        )
        self._live.start()

    def set_aside(self, results: Sequence[ProbeResult]) -> None:
        """Name hosts that are out of reach."""
        for result in results:
            self._rows[result.host] = _Row(task="unreachable", state="red", since=time.monotonic())
        for sentence, hosts in folded((result.host, result.sentence) for result in results).items():
            self._console.print(shortened(hosts), style="red", end="", markup=False, highlight=False)
            self._console.print(f": unreachable: {harmless(sentence)}", markup=False, highlight=False)

    def handle(self, event: Event) -> None:
        """Show one event."""
        match event:
            case TaskStarted():
                row = self._rows.setdefault(event.host, _Row())
                row.stage, row.task, row.since = event.stage, event.task, time.monotonic()
            case Progress():
                self._rows.setdefault(event.host, _Row()).task = event.text
            case TaskFinished():
                row = self._rows.setdefault(event.host, _Row())
                row.changed += event.outcome == "changed"
                if event.outcome in {"failed", "unreachable"}:
                    row.state = "red"
                    text = f"{event.host}: {event.outcome}: {event.task}: {_first_line(event.message)}"
                    self._console.print(text, style="red", markup=False, highlight=False)
            case Message(level="error"):
                self.note(f"error: {event.text}")
            case _:
                pass

    def finish(self, summary: Summary) -> None:
        """Replace the live lines by how it ended."""
        self.close()
        self._console.print(harmless("\n".join(report(summary))), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Give the terminal back."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for _ in range(4):
            table.add_column(no_wrap=True, overflow="ellipsis")
        now = time.monotonic()
        for name, row in self._rows.items():
            table.add_row(name, row.stage, row.task, f"{now - row.since:.0f} s", style=row.state or None)
        return table


class JsonReporter:
    """One JSON object a line; the last one is the summary."""

    def __init__(self, stream: TextIO) -> None:
        """Write to a stream."""
        self._stream = stream

    def note(self, text: str) -> None:
        """Say one sentence."""
        self._write({"event": "note", "text": text})

    def start(self, command: str, cluster: Cluster, hosts: Sequence[Host]) -> None:
        """Begin a command."""
        names = [host.name for host in hosts]
        self._write({"event": "started", "command": command, "cluster": cluster.name, "hosts": names})

    def set_aside(self, results: Sequence[ProbeResult]) -> None:
        """Name hosts that are out of reach."""
        for result in results:
            self._write(
                {"event": "host_unreachable", "host": result.host, "problem": result.problem, "fix": result.fix}
            )

    def handle(self, event: Event) -> None:
        """Write one event."""
        if data := event_data(event):
            self._write(data)

    def finish(self, summary: Summary) -> None:
        """Write the summary object."""
        self._write(summary.as_data())

    def close(self) -> None:
        """Nothing to give back."""

    def _write(self, data: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(data) + "\n")
        self._stream.flush()


def _first_line(message: str) -> str:
    return next((line for line in message.splitlines() if line.strip()), "no message")


def make_reporter(*, output: str, verbose: bool) -> PlainReporter | LiveReporter | JsonReporter:
    """Choose how to show things: as asked, and as the terminal can."""
    if output == "json":
        return JsonReporter(sys.stdout)
    console = Console()
    if console.is_terminal and not console.is_dumb_terminal and "CI" not in os.environ:
        return LiveReporter(console)
    return PlainReporter(sys.stdout, verbose=verbose)
