"""What the commands need from the outside world. The adapters provide it; tests provide fakes."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kubestrap.model.cluster import Cluster, Host, Inventory
from kubestrap.model.events import Event
from kubestrap.model.probe import HostKey, ProbeResult
from kubestrap.model.run import Outcome, Playbook
from kubestrap.model.summary import Summary
from kubestrap.model.validation import Problem
from kubestrap.model.variables import Declaration


class InventoryReader(Protocol):
    """Reads an inventory as Ansible does."""

    def read(self, sources: Sequence[Path], extra_vars: Sequence[str]) -> Inventory:
        """Return hosts, groups and variables, or raise InventoryError."""

    def describe(
        self, problems: Sequence[Problem], sources: Sequence[Path], extra_vars: Sequence[str]
    ) -> tuple[str, ...]:
        """Return one line a mistake, with the file and line it is written in where that can be found."""


class AppFiles(Protocol):
    """Looks at the manifests and images a person names."""

    def manifest_problems(self, paths: Sequence[str], directory: Path) -> tuple[str, ...]:
        """Return what is wrong with the manifests."""

    def local_images(self, paths: Sequence[str], directory: Path) -> Mapping[str, str]:
        """Return the images in the manifests that no registry is meant for, each with its place."""

    def image_problems(self, images: Sequence[str], found: Mapping[str, str], directory: Path) -> tuple[str, ...]:
        """Return what is wrong with the images a person names, and with those found in manifests."""


class HostProbe(Protocol):
    """Tries the connection to hosts."""

    def probe(self, hosts: Sequence[Host]) -> tuple[ProbeResult, ...]:
        """Return the truth about every host: all at once, each on its own clock."""

    def host_keys(self, hosts: Sequence[Host]) -> tuple[HostKey | ProbeResult, ...]:
        """Return the key every host shows, or why there is none."""

    def accept(self, keys: Sequence[HostKey]) -> Path:
        """Add keys to the file of known hosts and return its path."""


class PlaybookRunner(Protocol):
    """Runs one playbook."""

    def run(
        self, playbook: Playbook, *, log: Path, handle: Callable[[Event], None], notify: Callable[[str], None]
    ) -> Outcome:
        """Run it to its end; `handle` gets every event as it happens, `notify` sentences about an interruption."""


class Run(Protocol):
    """The record of one command: a directory of its own."""

    directory: Path
    log: Path

    def record(self, data: Mapping[str, Any]) -> None:
        """Append one event."""

    def finish(self, summary: Summary, events: Sequence[Event]) -> None:
        """Write the summary and the timeline."""


class State(Protocol):
    """What kubestrap keeps beside the inventory."""

    def run(self) -> Run:
        """Make the directory of a new run."""

    def lock(self, cluster: str) -> AbstractContextManager[None]:
        """Keep other runs away from the cluster."""


class Reporter(Protocol):
    """Tells a person, or a program, what happens."""

    def note(self, text: str) -> None:
        """Say one sentence."""

    def start(self, command: str, cluster: Cluster, hosts: Sequence[Host]) -> None:
        """Begin a command."""

    def set_aside(self, results: Sequence[ProbeResult]) -> None:
        """Name hosts that are out of reach."""

    def handle(self, event: Event) -> None:
        """Show one event."""

    def finish(self, summary: Summary) -> None:
        """Show how it ended."""

    def close(self) -> None:
        """Give the terminal back, also after an error."""


class Terminal(Protocol):
    """Speaks with a person."""

    def say(self, text: str) -> None:
        """Say one line."""

    def confirm(self, question: str) -> bool:
        """Return the answer; no when nobody is there to give one."""


class Renderer(Protocol):
    """Turns values into text for people."""

    def render(self, template: str, **values: Any) -> str:
        """Fill one of the templates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Everything a command works with, handed in by the command line."""

    declaration: Declaration
    inventories: InventoryReader
    app_files: AppFiles
    hosts: HostProbe
    runner: PlaybookRunner
    state: State
    reporter: Reporter
    renderer: Renderer
    terminal: Terminal
    clock: Callable[[], float]
