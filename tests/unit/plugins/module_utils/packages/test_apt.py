"""What is asked of apt, and what is made of its answers."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import package_findings
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import apt


class FailedError(Exception):
    """The module ended with this message."""


class Module:
    """What is used of a module: `answers` says what programs print, by words of their command line."""

    check_mode = False

    def __init__(self, answers: dict[str, tuple[int, str]] | None = None) -> None:
        self.answers = answers or {}
        self.commands: list[str] = []
        self.warnings: list[str] = []

    def run_command(self, command: Sequence[str], **_: Any) -> tuple[int, str, str]:
        line = " ".join(command)
        self.commands.append(line)
        code, text = next((answer for words, answer in self.answers.items() if words in line), (0, ""))
        return code, text, ""

    def fail_json(self, msg: str, **_: Any) -> None:
        raise FailedError(msg)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def ran(self, words: str) -> int:
        return sum(words in line for line in self.commands)


UNKNOWN = {"apt-cache policy": (0, "docker.io:\n  Installed: (none)\n  Candidate: (none)\n")}
KNOWN = {"apt-cache policy": (0, "docker.io:\n  Installed: (none)\n  Candidate: 26.1.5\n")}
FORBIDDEN = (
    "Err:1 http://deb.example trixie InRelease\n  403  Forbidden [IP: 10.0.0.1 80]\n"
    "E: Failed to fetch http://deb.example/dists/trixie/InRelease  403  Forbidden [IP: 10.0.0.1 80]\n"
)


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host that never refreshed its lists, and on which nobody installs anything."""
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "lock").touch()
    monkeypatch.setattr(apt, "LISTS", lists)
    monkeypatch.setattr(apt, "LOCKS", {lists / "lock": "refreshes the lists of packages"})
    monkeypatch.setattr(apt, "PREFERENCES", tmp_path / "preferences")
    monkeypatch.setattr(apt, "HELPER", tmp_path)
    (tmp_path / "preferences.d").mkdir()
    return tmp_path


def test_what_the_refresh_said_is_not_thrown_away() -> None:
    module = Module({**UNKNOWN, "apt-get update": (100, FORBIDDEN)})
    with pytest.raises(FailedError, match="403  Forbidden") as raised:
        apt.available(module, "docker.io")  # type: ignore[arg-type] - all it takes
    assert "knows no package" not in str(raised.value)


def test_a_package_is_unknown_only_after_a_refresh_that_went_well(host: Path) -> None:
    (host / "lists/deb_Packages").touch()
    module = Module(UNKNOWN)
    with pytest.raises(FailedError, match=r"apt knows no package docker\.io, and has just refreshed its lists"):
        apt.available(module, "docker.io")  # type: ignore[arg-type]
    assert module.ran("apt-get update") == 1


def test_a_source_that_has_nothing_to_do_with_it_is_in_nobodys_way() -> None:
    module = Module({**KNOWN, "apt-get update": (100, FORBIDDEN)})
    assert apt.available(module, "docker.io") == "26.1.5"  # type: ignore[arg-type]


def test_check_mode_refreshes_nothing() -> None:
    module = Module(UNKNOWN)
    module.check_mode = True
    assert apt.available(module, "docker.io") is None  # type: ignore[arg-type]
    assert module.ran("apt-get update") == 0


@pytest.mark.parametrize(
    ("entry", "forbidden"),
    [
        ("Package: docker.io\nPin: release *\nPin-Priority: -1\n", True),
        ("Explanation: ours\nPackage: docker* runc\nPin: release *\nPin-Priority: -10\n", True),
        ("package: /^docker/\npin: version *\npin-priority:  -1 \n", True),
        (
            "Package: *\nPin: release a=x\nPin-Priority: 1\n\nPackage: docker.io:any\nPin: release *\nPin-Priority: -1",
            True,
        ),
        ("Package: docker.io\nPin: release *\nPin-Priority: 1001\n", False),
        ("Package: *\nPin: release o=LP-PPA-mine\nPin-Priority: -10\n", False),
        ("Package: docker\nPin: release *\nPin-Priority: -1\n", False),
        ("# Package: docker.io\n# Pin-Priority: -1\n", False),
        ("Package: /(/\nPin: release *\nPin-Priority: -1\n", False),
        ("", False),
    ],
)
def test_a_pin_of_minus_one(host: Path, entry: str, *, forbidden: bool) -> None:
    path = host / "preferences.d/no-docker"
    path.write_text(entry)
    assert bool(apt.pins("docker.io", any_source=True)) is forbidden
    found = package_findings.packages(Module(UNKNOWN), ["docker.io", "kubelet"])  # type: ignore[arg-type]
    assert [finding.id for finding in found] == ["package-pinned"] * forbidden
    if forbidden:
        with pytest.raises(FailedError, match=f"{path} gives it the priority -1"):
            apt.available(Module(UNKNOWN), "docker.io")  # type: ignore[arg-type]


def test_an_entry_about_one_source_counts_where_that_source_is_all_there_is(host: Path) -> None:
    (host / "preferences").write_text("Package: *\nPin: origin deb.example\nPin-Priority: -1\n")
    in_lists = {"madison": (0, "docker.io | 26.1.5 | http://deb.example trixie/main amd64 Packages\n")}
    for answers, expected in (({**UNKNOWN, **in_lists}, 1), (UNKNOWN, 0), ({**KNOWN, **in_lists}, 0)):
        found = package_findings.packages(Module(answers), ["docker.io"], exact=["kubelet"])  # type: ignore[arg-type]
        assert len(list(found)) == expected


def test_what_is_asked_for_by_version_is_not_forbidden(host: Path) -> None:
    (host / "preferences").write_text("Package: kubelet\nPin: release *\nPin-Priority: -1\n")
    found = package_findings.packages(Module(UNKNOWN), ["kubelet"], exact=["kubelet"])  # type: ignore[arg-type]
    assert list(found) == []


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        ("mine\tinstalled\tdocker.io, \n", {"mine": ["docker.io"]}),
        ("mine\tinstalled\t, docker.io:any, other\n", {"mine": ["docker.io"]}),
        ("mine\tinstalled\tkubelet, docker.io, \n", {"mine": ["docker.io", "kubelet"]}),
        ("mine\tinstalled\tdocker.io (<< 20), \n", {}),
        ("mine\tconfig-files\tdocker.io, \n", {}),
        ("docker.io\tinstalled\tdocker.io, \n", {}),
        ("mine\tinstalled\t, \n", {}),
    ],
)
def test_packages_that_exclude_ours(listing: str, expected: dict[str, list[str]]) -> None:
    module = Module({"dpkg-query": (0, listing)})
    assert apt.excluded(module, ["docker.io", "kubelet"]) == expected  # type: ignore[arg-type]


def test_what_apt_would_remove_is_a_finding_by_name() -> None:
    module = Module({**KNOWN, "--simulate": (0, "Remv mine [1.0]\nInst docker.io (26.1.5 Debian:13 [amd64])\n")})
    found = list(package_findings.packages(module, ["docker.io"]))  # type: ignore[arg-type]
    assert [(finding.id, finding.blocker) for finding in found] == [("package-conflict", True)]
    assert "The host has the package mine" in found[0].evidence
    confused = Module({**KNOWN, "--simulate": (100, "E: Unable to correct problems, you have held broken packages.\n")})
    (told,) = package_findings.packages(confused, ["docker.io"])  # type: ignore[arg-type]
    assert (told.id, told.blocker) == ("packages-uninstallable", False)
    assert list(package_findings.packages(module, ["docker.io"], known=["mine"])) == []  # type: ignore[arg-type]
    assert list(package_findings.packages(module, [])) == []  # type: ignore[arg-type]


def test_an_installation_removes_nothing_and_says_what_is_in_the_way() -> None:
    refused = (100, "E: Packages need to be removed but remove is disabled.\n")
    module = Module({"--simulate": (0, "Remv mine [1.0]\n"), "apt-get install": refused})
    with pytest.raises(FailedError, match="apt would have to remove mine for that, and nobody asked for it"):
        apt.install(module, ["docker.io"])  # type: ignore[arg-type]
    assert module.ran("--no-remove") == 1


SOURCES = (
    "'http://a.example/dists/x/InRelease' a 0 \n'http://b.example/dists/x/InRelease' b 0 \n'http://a.example/P' p 0 \n"
)


@pytest.mark.parametrize(
    ("said", "blocker"),
    [
        ((0, ""), None),
        ((100, "E: Failed to fetch http://b.example/dists/x/InRelease  403  Forbidden [IP: ::1]\n"), False),
        (
            (100, "".join(f"E: Failed to fetch http://{h}.example/dists/x/InRelease  403  Forbidden\n" for h in "ab")),
            True,
        ),
        ((124, ""), True),
    ],
)
def test_sources_that_cannot_be_read_are_told_in_apts_words(said: tuple[int, str], *, blocker: bool | None) -> None:
    module = Module({**UNKNOWN, "--print-uris": (0, SOURCES), "download-file": said})
    found = list(package_findings.packages(module, ["docker.io"]))  # type: ignore[arg-type]
    told = [] if blocker is None else [("package-sources-unreachable", blocker)]
    assert [(finding.id, finding.blocker) for finding in found] == told
    assert blocker is None or said[0] == 124 or "403  Forbidden" in found[0].evidence


@pytest.fixture
def hold(host: Path) -> Callable[[float], subprocess.Popen[str]]:
    """Another program that holds the lock as apt does."""

    def start(seconds: float) -> subprocess.Popen[str]:
        script = (
            "import fcntl, sys, time; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX);"
            "print('held', flush=True); time.sleep(float(sys.argv[2]))"
        )
        words = [sys.executable, "-c", script, str(host / "lists/lock"), str(seconds)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    return start


def test_lists_lock(
    host: Path, hold: Callable[[float], subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "TOLD_SECONDS", 0.1)
    with hold(1.2) as other:
        who = apt.holder(host / "lists/lock")
        assert who is not None
        assert f"(process {other.pid})" in who
        (busy,) = package_findings.busy(Module())  # type: ignore[arg-type]
        assert (busy.id, busy.evidence) == ("package-manager-busy", f"{who} refreshes the lists of packages.")
        begun = time.monotonic()
        module = Module(KNOWN)
        assert apt.update(module) == ""  # type: ignore[arg-type]
        assert time.monotonic() - begun > 0.9
        assert module.warnings == [f"Waited for {who}, which refreshes the lists of packages on this host."]
    assert apt.holder(host / "lists/lock") is None


def test_a_lock_that_is_never_free_is_told_with_its_holder(
    hold: Callable[[float], subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "LOCK_SECONDS", 1)
    locked = (100, "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (x)\n")
    with hold(60) as other:
        with pytest.raises(FailedError, match=rf"process {other.pid}\) refreshes the lists of packages"):
            apt.install(Module({"apt-get": locked}), ["docker.io"])  # type: ignore[arg-type]
        other.kill()


def test_a_lock_of_another_kind_keeps_apt_from_nothing(host: Path) -> None:
    with (host / "lists/lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert apt.holder(host / "lists/lock") is None
    assert apt.holder(host / "nothing") is None


def test_lists_from_the_future_are_not_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "LISTS", tmp_path)
    (tmp_path / "mirror_Packages").touch()
    assert apt.lists_are_fresh()
    tomorrow = time.time() + 86400
    os.utime(tmp_path, (tomorrow, tomorrow))
    assert not apt.lists_are_fresh()
