"""Runs one playbook with ansible-runner and hands its events on as they happen."""

import contextlib
import json
import os
import queue
import shlex
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import ansible_runner

from kubestrap.adapters import dies_with_parent
from kubestrap.adapters.content import programs_directory
from kubestrap.adapters.environment import clean_environment, extra_vars_files, write_private
from kubestrap.adapters.private import fits_sockets, private_directory, socket_directory
from kubestrap.adapters.signals import on_stop, restore
from kubestrap.model.events import Event, TaskFinished, TaskStarted, parse_event
from kubestrap.model.run import Outcome, Playbook
from kubestrap.model.text import harmless, without_excerpts

_TICK = 0.2
"""Seconds between looks at the signals."""


class AnsiblePlaybookRunner:
    """Runs playbooks of the collection from a private directory that is gone afterwards."""

    def __init__(self, state: Path) -> None:
        """Take the directory under which the private directory of a run is made."""
        self._state = state

    def run(
        self, playbook: Playbook, *, log: Path, handle: Callable[[Event], None], notify: Callable[[str], None]
    ) -> Outcome:
        """Run it to its end.

        The first SIGINT, SIGTERM or SIGHUP lets ansible-playbook end by itself, the second kills it and all it
        started. When this program is killed, ansible-playbook and its workers end too.
        """
        with private_directory(self._state, "run-") as private:
            sockets = socket_directory(private)
            arguments = _arguments(playbook, private, sockets)
            environment = clean_environment()
            programs = _programs(private, environment["PATH"])
            environment["PATH"] = f"{programs}:{programs_directory()}:{environment['PATH']}"
            if not fits_sockets(tempfile.gettempdir()):
                # Ansible's processes talk to each other over a socket there.
                environment["TMPDIR"] = str(sockets)
            with _environment(environment), _Interruption(notify) as interruption:
                code = _follow(arguments, interruption, log, handle)
            return Outcome(code=code, interrupted=interruption.count > 0)


def _arguments(playbook: Playbook, private: Path, sockets: Path) -> dict[str, Any]:
    (private / "env").mkdir()
    # Written beforehand: ansible-runner drops settings= when it is told to write no such files.
    settings = {"pexpect_timeout": 1, "idle_timeout": None, "suppress_output_file": True}
    write_private(private / "env/settings", json.dumps(settings))
    files = extra_vars_files(playbook.extra_vars, private)
    if playbook.variables:
        files.append(write_private(private / "variables.json", json.dumps(_literal(playbook.variables))))
    options = [word for file in files for word in ("-e", f"@{file}")]
    if playbook.limit:
        options += ["--limit", ",".join(playbook.limit)]
    return {
        "private_data_dir": str(private),
        # Where the person is: relative paths in their inventory start here.
        "project_dir": str(Path.cwd()),
        "playbook": playbook.name,
        "inventory": [str(source.absolute()) for source in playbook.inventories],
        "cmdline": shlex.join(options) or None,
        "forks": playbook.forks,
        "verbosity": playbook.verbosity or None,
        "suppress_env_files": True,
        "quiet": True,
        "ident": uuid.uuid4().hex,
        "fact_cache_type": "",
        "envvars": {
            "ANSIBLE_HOST_KEY_CHECKING": "True",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
            "ANSIBLE_LOCAL_TEMP": str(private / "tmp"),
            **({"ANSIBLE_TIMEOUT": str(playbook.login_seconds)} if playbook.login_seconds else {}),
        },
    }


def _programs(private: Path, path: str) -> Path:
    """Make the directory in which ansible-runner finds ansible-playbook first: as one that dies with this program.

    A shell script, because the path of an interpreter in a first line may be too long. Where files cannot be executed,
    the next one on the PATH is found, as ever. Ansible itself, and what it starts, gets the PATH given here.
    """
    directory = private / "bin"
    directory.mkdir()
    program = programs_directory() / "ansible-playbook"
    words = shlex.join([sys.executable, "-I", dies_with_parent.__file__, str(program)])
    write_private(directory / program.name, f'#!/bin/sh\nPATH={shlex.quote(path)}\nexec {words} "$@"\n').chmod(0o700)
    return directory


def _literal(value: Any) -> Any:
    """Mark every text so that Ansible does not take it for a template."""
    if isinstance(value, str):
        return {"__ansible_unsafe": value}
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list | tuple) else value


def _follow(  # noqa: C901 - one loop, told in order
    arguments: Mapping[str, Any], interruption: "_Interruption", log: Path, handle: Callable[[Event], None]
) -> int:
    """Run in a thread and handle the events here, because a slow handler breaks ansible-runner."""
    events: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
    ended: list[int | BaseException] = []

    def keep(raw: Mapping[str, Any]) -> bool:
        events.put(raw)
        return False

    def work() -> None:
        try:
            runner = ansible_runner.run(
                **arguments,
                event_handler=keep,
                cancel_callback=lambda: interruption.killed,
                status_handler=_forget_environment,
            )
            ended.append(runner.rc)
        except BaseException as error:  # noqa: BLE001 - raised again where it can be handled
            ended.append(error)
        finally:
            events.put(None)

    thread = threading.Thread(target=work, name="ansible-runner")
    thread.start()
    try:
        with log.open("a", encoding="utf-8") as stream:
            while True:
                interruption.act()
                try:
                    raw = events.get(timeout=_TICK)
                except queue.Empty:
                    continue
                if raw is None:
                    break
                raw = {**raw, "stdout": without_excerpts(str(raw.get("stdout") or "").replace("\r", ""))}
                if text := raw["stdout"]:
                    stream.write(harmless(text) + "\n")
                    stream.flush()
                if event := parse_event(raw):
                    interruption.watch(event)
                    handle(event)
    except BaseException:
        interruption.kill()
        raise
    finally:
        thread.join()
    result = ended[0]
    if isinstance(result, BaseException):
        raise result
    return result


def _forget_environment(status: Mapping[str, Any], runner_config: Any) -> None:
    """Remove the file in which ansible-runner keeps the environment of a run: there may be secrets in it."""
    if status.get("status") == "running":
        Path(runner_config.artifact_dir, "command").unlink(missing_ok=True)


class _Interruption:
    """SIGINT, SIGTERM and SIGHUP while a playbook runs."""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self.count = 0
        self.killed = False
        self._notify = notify
        self._asked = False
        self._running: dict[str, str] = {}
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = on_stop(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        restore(self._before)

    def _count(self) -> None:
        self.count += 1

    def watch(self, event: Event) -> None:
        """Remember what runs on which host."""
        if isinstance(event, TaskStarted):
            self._running[event.host] = event.task
        elif isinstance(event, TaskFinished):
            self._running.pop(event.host, None)

    def act(self) -> None:
        """Do what the signals so far ask for."""
        if self.count and not self._asked:
            child = _playbook_process()
            # Too early: it is tried again at the next look.
            if child is not None:
                self._asked = True
                os.kill(child, signal.SIGINT)
                self._notify("Stopping. Once more Ctrl-C kills what runs here.")
                for host, task in self._running.items():
                    self._notify(f"{host}: '{task}' may go on to its end on the host.")
                self._notify("The next run goes on from where the hosts are.")
        if self.count > 1 and not self.killed:
            self.kill()

    def kill(self) -> None:
        """End ansible-playbook and everything it started; its workers are in sessions of their own."""
        child = _playbook_process()
        for process in [] if child is None else [child, *_descendants(child)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.killed = True


def _children(process: int) -> Iterator[int]:
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from map(int, path.read_text().split())


def _descendants(process: int) -> list[int]:
    return [found for child in _children(process) for found in (child, *_descendants(child))]


def _playbook_process() -> int | None:
    for child in _children(os.getpid()):
        with contextlib.suppress(OSError):
            if b"ansible-playbook" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
    return None


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Replace the environment for a while, because ansible-runner copies all of it into a file."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
