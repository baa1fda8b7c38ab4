"""A context for a cluster in somebody's kubeconfig: what is theirs stays theirs, to the byte.

The text of the file is never written anew from data: ours is put into it, and a reader says afterwards whether the file
means what it should. So comments, fields of other programs, relative paths and values that only look like numbers stay
what they are, and no YAML has to be written.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import json
import os
import pwd
import re
import socket
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils.disk import sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KINDS = {"clusters": "cluster", "users": "user", "contexts": "context"}
SECONDS_FOR_THE_LOCK = 10.0
LIMIT_BYTES = 16 * 2**20
MARK = "kubestrap"
_EMPTY = ("", "[]", "{}", "null", "~", '""', "''")


class KubeconfigError(Exception):
    """Nothing was written; the text says why, and what to do."""


@dataclass(frozen=True)
class Admin:
    """What an administrator needs to reach a cluster."""

    server: str
    authority: str
    """PEM in Base64, as kubeconfig files have it; so are the next two."""
    certificate: str
    key: str
    host: str = ""
    """Identity of the machine the cluster was made on; empty when it has none."""

    def cluster(self) -> dict[str, Any]:
        """Return the entry of the cluster, with the mark by which we know it again."""
        entry: dict[str, Any] = {"certificate-authority-data": self.authority, "server": self.server}
        if self.host:
            entry["extensions"] = [{"name": MARK, "extension": {"host": self.host}}]
        return entry

    def user(self) -> dict[str, Any]:
        """Return the entry of the user."""
        return {"client-certificate-data": self.certificate, "client-key-data": self.key}

    def leads_to(self, cluster: dict[str, Any]) -> bool:
        """Tell whether an entry is this cluster: the CA and the address say so, never a name."""
        authority = str(cluster.get("certificate-authority-data") or "")
        return _same_server(cluster, self.server) and _der(authority) == _der(self.authority) != b""

    def replaced(self, cluster: dict[str, Any]) -> bool:
        """Tell whether an entry is a cluster that is proved to be gone: this one was made anew in its place.

        The same private address may be another machine in another network. So either the address is of this very
        machine, or our mark says that the entry was made for the machine that has this cluster now.
        """
        if not _same_server(cluster, self.server) or self.leads_to(cluster) or cluster.get("proxy-url"):
            return False
        if not cluster.get("certificate-authority-data") or cluster.get("certificate-authority"):
            return False
        extensions = cluster.get("extensions")
        marks = [one for one in extensions if isinstance(one, dict)] if isinstance(extensions, list) else []
        hosts = [(one.get("extension") or {}).get("host") for one in marks if one.get("name") == MARK]
        return _is_own_address(self.server) or (bool(self.host) and self.host in hosts)

    def is_administrator(self, user: dict[str, Any]) -> bool:
        """Tell whether an entry is the same administrator, with a certificate in the file and nothing else."""
        if set(user) != {"client-certificate-data", "client-key-data"}:
            return False
        theirs, ours = _certificate(str(user["client-certificate-data"])), _certificate(self.certificate)
        return theirs is not None and ours is not None and theirs.subject == ours.subject

    def is_newer_than(self, user: dict[str, Any]) -> bool:
        """Tell whether our certificate is good for longer than the one of an entry.

        Each control plane has credentials of its own; the longest win, so that two of them never take turns. When they
        were issued says nothing: kubeadm writes the day the CA was made.
        """
        theirs, ours = _certificate(str(user["client-certificate-data"])), _certificate(self.certificate)
        return theirs is not None and ours is not None and ours.expires > theirs.expires


@dataclass(frozen=True)
class Put:
    """A new entry."""

    kind: str
    name: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Swap:
    """Another value in an entry that is there."""

    kind: str
    name: str
    key: str
    before: str
    after: str


@dataclass
class Plan:
    """What is to be written, and which context leads to the cluster then."""

    context: str
    index: int = 0
    """Which of the files."""
    edits: list[Any] = field(default_factory=list)
    current: str = ""
    """Becomes the current context."""
    takes_away: bool = False
    """Credentials of an earlier cluster go."""

    def __bool__(self) -> bool:
        """Tell whether there is anything to write."""
        return bool(self.edits or self.current)


@dataclass
class View:
    """What one file says, as data."""

    clusters: dict[str, dict[str, Any]] = field(default_factory=dict)
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    contexts: dict[str, dict[str, Any]] = field(default_factory=dict)
    current: str = ""

    @classmethod
    def of(cls, data: Any, path: str) -> View:
        """Take what a reader of YAML made of a file.

        Raises:
            KubeconfigError: when it is no kubeconfig.
        """
        # Nothing but comments, for example.
        data = {} if data in (None, "") else data
        if not isinstance(data, dict) or data.get("kind", "Config") not in ("", "Config"):
            raise KubeconfigError(f"{path} is not a kubeconfig and was left alone: repair or move it.")
        view = cls(current=_text(data.get("current-context")))
        for kind, key in KINDS.items():
            entries = [] if _text(data.get(kind)) == "" else data[kind]
            if not isinstance(entries, list):
                raise KubeconfigError(f"{path}: {kind!r} is no list; the file was left alone: repair or move it.")
            for entry in entries:
                body = entry.get(key) if isinstance(entry, dict) else None
                if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                    raise KubeconfigError(f"{path}: an entry of {kind!r} has no name; the file was left alone.")
                getattr(view, kind).setdefault(entry["name"], body if isinstance(body, dict) else {})
        return view


def admin_of(text: str, host: str = "") -> Optional[Admin]:
    """Return what an admin.conf of kubeadm says; None when it does not have everything in itself."""
    found = [
        re.search(rf"^\s*(?:- )?{key}:\s*[\"']?([^\s\"']+)[\"']?\s*$", text, re.MULTILINE)
        for key in ("server", "certificate-authority-data", "client-certificate-data", "client-key-data")
    ]
    values = [match.group(1) for match in found if match]
    return Admin(values[0], values[1], values[2], values[3], host) if len(values) == len(found) else None


def plan(views: list[View], target: int, name: str, admin: Admin, *, keep: bool = False) -> Plan:
    """Decide what to write so that a context leads to a cluster; nothing when one does.

    Args:
        views: What the files say that kubectl reads together, in its order.
        target: Which of them gets new entries.
        name: The name the context has when it is free.
        admin: The cluster.
        keep: Credentials that are there stay, also older ones.
    """
    known = _Known(views, target, name, admin)
    # A plan with nothing to do is an answer, too.
    answers = (known.leading_here(keep=keep), known.made_anew(), known.added())
    return next(one for one in answers if one is not None)


class _Known:
    """What all files say together; the first that has a name says what it means, as for kubectl."""

    def __init__(self, views: list[View], target: int, name: str, admin: Admin) -> None:
        self.views, self.target, self.name, self.admin = views, target, name, admin
        self.clusters, self.users, self.contexts = (self._merged(kind) for kind in KINDS)
        self.ours = [one for one, body in self.clusters.items() if admin.leads_to(body)]

    def _merged(self, kind: str) -> dict[str, dict[str, Any]]:
        merged: dict[str, dict[str, Any]] = {}
        for view in self.views:
            for name, body in getattr(view, kind).items():
                merged.setdefault(name, body)
        return merged

    def _contexts_with(self, kind: str, entry: str) -> list[str]:
        return [one for one, body in self.contexts.items() if body.get(KINDS[kind]) == entry]

    def _place(self, kind: str, name: str) -> int:
        return next((index for index, view in enumerate(self.views) if name in getattr(view, kind)), -1)

    def leading_here(self, *, keep: bool) -> Optional[Plan]:
        """Return what a context that leads to the cluster needs; the one with our name comes first."""
        for context in sorted(self.contexts, key=lambda one: one != self.name):
            body = self.contexts[context]
            if body.get("cluster") in self.ours and body.get("user"):
                found = self._credentials(context, str(body["user"]), keep=keep)
                if found is not None:
                    return found
        return None

    def _credentials(self, context: str, user: str, *, keep: bool) -> Optional[Plan]:
        entry = self.users.get(user)
        only_here = all(self.contexts[one].get("cluster") in self.ours for one in self._contexts_with("users", user))
        if entry is None:
            missing = Plan(context, self.target, [Put("users", user, self.admin.user())])
            return missing if context == self.name and only_here else None
        if not self.admin.is_administrator(entry):
            # Somebody chose another way to log in.
            return Plan(context) if context == self.name and entry else None
        if keep or not self.admin.is_newer_than(entry):
            return Plan(context)
        return Plan(context, self._place("users", user), self._swaps(user)) if only_here else None

    def _swaps(self, user: str) -> list[Any]:
        entry = self.users[user]
        return [Swap("users", user, key, str(entry[key]), after) for key, after in self.admin.user().items()]

    def made_anew(self) -> Optional[Plan]:
        """Return how the context of a cluster that is proved to be gone becomes that of the one in its place."""
        for context, body in self.contexts.items():
            cluster, user = str(body.get("cluster") or ""), str(body.get("user") or "")
            index = self._place("clusters", cluster)
            if (
                not self.ours
                and self.admin.replaced(self.clusters.get(cluster, {}))
                and self.admin.is_administrator(self.users.get(user, {}))
                and self._contexts_with("clusters", cluster) == self._contexts_with("users", user) == [context]
                and index == self._place("users", user)
            ):
                key = "certificate-authority-data"
                authority = Swap("clusters", cluster, key, str(self.clusters[cluster][key]), self.admin.authority)
                return Plan(context, index, [authority, *self._swaps(user)], takes_away=True)
        return None

    def added(self) -> Plan:
        """Return new entries under names that are nobody's."""
        current = next((view.current for view in self.views if view.current), "")
        # A context that leads nowhere would lead here all at once.
        named = {kind: {str(body.get(KINDS[kind]) or "") for body in self.contexts.values()} for kind in KINDS}
        context = next(one for one in _names(self.name, self.admin) if self._is_free(one, named))
        cluster, user = self.ours[0] if self.ours else context, f"{context}-admin"
        edits: list[Any] = [Put("contexts", context, {"cluster": cluster, "user": user})]
        if user not in self.users:
            edits.append(Put("users", user, self.admin.user()))
        if not self.ours:
            edits.append(Put("clusters", cluster, self.admin.cluster()))
        return Plan(context, self.target, edits, current="" if current else context)

    def _is_free(self, context: str, named: dict[str, set[str]]) -> bool:
        user = f"{context}-admin"
        free = bool(self.ours) or (context not in self.clusters and context not in named["clusters"])
        mine = self.users.get(user, self.admin.user()) == self.admin.user()
        return free and mine and context not in self.contexts and user not in named["users"]


def _names(name: str, admin: Admin) -> Iterator[str]:
    yield name
    digest = hashlib.sha256(_der(admin.authority) + admin.server.encode()).hexdigest()[:6]
    yield f"{name}-{digest}"
    number = 2
    while True:
        yield f"{name}-{digest}-{number}"
        number += 1


# The text


def edited(text: str, change: Plan, path: str) -> str:
    """Return the text of a kubeconfig with a plan carried out, everything else as it was.

    Raises:
        KubeconfigError: when the file has a form in which that cannot be done safely.
    """
    if not text.strip():
        text = "apiVersion: v1\nkind: Config\n"
    if text.lstrip().startswith("{"):
        return _edited_json(text, change, path)
    end = "\r\n" if "\r\n" in text else "\n"
    if not text.endswith("\n"):
        text += end
    for edit in change.edits:
        if isinstance(edit, Swap):
            if text.count(edit.before) != 1:
                raise _unusual(path)
            text = text.replace(edit.before, edit.after)
        else:
            text = _with_entry(text, edit, path, end)
    if change.current:
        line = f"current-context: {_scalar(change.current)}"
        found = _key("current-context", text)
        text = f"{text[: found.start()]}{line}{text[found.end() :]}" if found else f"{text}{line}{end}"
    return text


def _with_entry(text: str, entry: Put, path: str, end: str) -> str:
    found = _key(entry.kind, text)
    if found is None:
        return f"{text}{entry.kind}:{end}{_item(entry, '', end)}"
    value, comment = _value(found.group("rest"))
    head, tail = text[: found.start()], text[found.end() :]
    if value.startswith("[") and value != "[]":
        inside = json.dumps({"name": entry.name, KINDS[entry.kind]: entry.body}, ensure_ascii=False)
        return f"{head}{found.group().replace('[', f'[{inside}, ', 1)}{tail}"
    if value not in _EMPTY:
        raise _unusual(path)
    first = next((line for line in tail.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    dash = re.match(r"(\s*)-(\s|$)", first) if value == "" else None
    key = f"{entry.kind}:{f'  {comment}' if comment else ''}"
    # What `tail` begins with is the end of the line of the key.
    return f"{head}{key}{end}{_item(entry, dash.group(1) if dash else '', end)}{tail.removeprefix(end)}"


def _edited_json(text: str, change: Plan, path: str) -> str:
    try:
        data = json.loads(text)
    except ValueError:
        raise _unusual(path) from None
    for edit in change.edits:
        key = KINDS[edit.kind]
        entries = data.get(edit.kind) or []
        if isinstance(edit, Put):
            data[edit.kind] = [*entries, {"name": edit.name, key: edit.body}]
            continue
        for entry in entries:
            if entry["name"] == edit.name:
                entry[key][edit.key] = edit.after
    if change.current:
        data["current-context"] = change.current
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _unusual(path: str) -> KubeconfigError:
    return KubeconfigError(
        f"{path} is written in a form in which an entry cannot be added without touching others, and was left alone. "
        "Let kubectl write it once, for example with `kubectl config set-context --current --namespace=NAMESPACE`, or "
        "move it."
    )


def _key(name: str, text: str) -> Optional[re.Match[str]]:
    return re.search(rf"^([\"']?){name}\1[ \t]*:(?P<rest>[ \t][^\r\n]*)?(?=\r?$)", text, re.MULTILINE)


def _value(rest: Optional[str]) -> tuple[str, str]:
    """Split what follows a key into value and comment."""
    value, mark, comment = re.sub(r"(^|\s)#", "\0", rest or "", count=1).partition("\0")
    return re.sub(r"^\[\s*\]$", "[]", value.strip()), f"#{comment}" if mark else ""


def _item(entry: Put, indent: str, end: str) -> str:
    lines = [f"- name: {_scalar(entry.name)}", f"  {KINDS[entry.kind]}:"]
    lines += [f"    {key}: {_scalar(value)}" for key, value in sorted(entry.body.items())]
    return "".join(f"{indent}{line}{end}" for line in lines)


def _scalar(value: Any) -> str:
    """Return a value as YAML that every reader takes for the same: JSON, and plain where nobody can be in doubt."""
    words = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"}
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9+/._:@-]*={0,2}", value)
    if plain and value.lower() not in words and not value.endswith(":"):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


# The file


def files_of_kubectl(environment: dict[str, str], home: str) -> list[str]:
    """Return the files kubectl reads without being told one: those of $KUBECONFIG, or ~/.kube/config.

    As client-go's loading rules have it (tools/clientcmd, PathOptions.GetEnvVarFiles).
    """
    named = dict.fromkeys(filter(None, environment.get("KUBECONFIG", "").split(os.pathsep)))
    return [str(Path(one).absolute()) for one in named] or [str(Path(home, ".kube/config"))]


def written_by_kubectl(files: list[str]) -> int:
    """Return which of the files kubectl adds to: the first that exists, else the last (GetDefaultFilename)."""
    return next((index for index, one in enumerate(files) if Path(one).exists()), len(files) - 1)


@dataclass
class Converged:
    """What became of a kubeconfig."""

    path: str
    context: str
    changed: bool


def converge(
    files: list[str],
    name: str,
    admin: Admin,
    read: Callable[[str, str], Any],
    *,
    target: int = 0,
    keep: bool = False,
    check: bool = False,
) -> Converged:
    """Make sure that one of the files has a context for a cluster, as the user this process runs as.

    Args:
        files: Those that kubectl reads together.
        name: Name of the context where it is free.
        admin: The cluster.
        read: Makes data of a text; told the path for its messages.
        target: Which of the files gets new entries.
        keep: Credentials that are there stay.
        check: Only look.

    Raises:
        KubeconfigError: when that cannot be done; everything is as it was.
    """
    try:
        wanted, _ = _look(files, name, admin, read, target=target, keep=keep)
        path = files[wanted.index]
        if not wanted or check:
            return Converged(path, wanted.context, bool(wanted))
        _make_directory(Path(path).parent)
        with _lock(path):
            # Somebody else may have written in between.
            wanted, texts = _look(files, name, admin, read, target=target, keep=keep)
            path = files[wanted.index]
            if wanted:
                before = texts[wanted.index]
                after = edited(before, wanted, path)
                _prove(before, after, wanted, read, path)
                if before.strip():
                    _back_up(path, before, always=wanted.takes_away)
                write(path, after)
        return Converged(path, wanted.context, bool(wanted))
    except OSError as error:
        where = error.filename or files[target]
        raise KubeconfigError(f"{where}: {error.strerror}{_whose(str(where), error)}.") from error


def _look(
    files: list[str], name: str, admin: Admin, read: Callable[[str, str], Any], *, target: int, keep: bool
) -> tuple[Plan, list[str]]:
    texts = [read_file(path) for path in files]
    views = [
        View.of(read(text, files[index]), files[index]) if text.strip() else View() for index, text in enumerate(texts)
    ]
    return plan(views, target, name, admin, keep=keep), texts


def _prove(before: str, after: str, wanted: Plan, read: Callable[[str, str], Any], path: str) -> None:
    """Raise unless the new text says what the old one said and what is wanted, and nothing else."""
    expected = View.of(read(before, path), path) if before.strip() else View()
    for edit in wanted.edits:
        entries = getattr(expected, edit.kind)
        body = edit.body if isinstance(edit, Put) else {**entries[edit.name], edit.key: edit.after}
        entries[edit.name] = body
    expected.current = wanted.current or expected.current
    if View.of(read(after, path), path) != expected:
        raise _unusual(path)


def read_file(path: str) -> str:
    """Return the text of a file; empty when there is none.

    Raises:
        KubeconfigError: when it is no regular file, too large, or no text.
        OSError: when it cannot be read.
    """
    try:
        # Without O_NONBLOCK a FIFO would be waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise KubeconfigError(f"{path} is not a file and was left alone: move it.")
        content = stream.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise KubeconfigError(f"{path} is larger than {LIMIT_BYTES} bytes and was left alone: move it.")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise KubeconfigError(f"{path} is not text in UTF-8 and was left alone: repair or move it.") from None


@contextmanager
def _lock(path: str) -> Iterator[None]:
    """Hold the lock that kubectl takes to write the file (client-go, tools/clientcmd, lockFile)."""
    name = f"{path}.lock"
    deadline = time.monotonic() + SECONDS_FOR_THE_LOCK
    while True:
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            break
        except FileExistsError:
            if time.monotonic() >= deadline:
                raise KubeconfigError(
                    f"{name} is there since before {SECONDS_FOR_THE_LOCK:.0f} s: another program writes {path}, or was "
                    f"killed while it did. When no kubectl runs, remove it (`rm {name}`) and run again."
                ) from None
            time.sleep(0.1)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(mode=0o750, parents=True)


def _back_up(path: str, text: str, *, always: bool) -> None:
    """Keep the file as it was before our first change, and before a change that takes credentials away."""
    target = Path(os.path.realpath(path))
    dated = re.compile(re.escape(target.name) + r"\.\d{8}T\d{6}(-\d+)?")
    if not always and any(dated.fullmatch(one.name) for one in target.parent.iterdir()):
        return
    base = target.with_name(f"{target.name}.{time.strftime('%Y%m%dT%H%M%S')}")
    for number in range(1, 100):
        copy = base if number == 1 else base.with_name(f"{base.name}-{number}")
        try:
            handle = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(text.encode())
                stream.flush()
                _keep_owner(handle, target.stat())
                _sync(stream.fileno())
        except BaseException:
            copy.unlink()
            raise
        return


def write(path: str, text: str) -> None:
    """Replace a file in one step; its owner, its mode and a link that leads to it stay.

    A file of its own mount, or with an owner that cannot be given to another file, is written in place.

    Raises:
        OSError: when it cannot be written; then everything is as it was.
    """
    target = Path(os.path.realpath(path))
    before = target.stat() if target.exists() else None
    content = text.encode()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".kubestrap-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            kept = _keep_owner(handle, before or target.parent.stat())
            os.fchmod(handle, stat.S_IMODE(before.st_mode) if before else 0o600)
            _sync(handle)
        if (before is not None and not kept) or not _takes_its_place(temporary, target):
            _write_in_place(target, content)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    with suppress(OSError):
        sync_directory(target.parent)


def _takes_its_place(temporary: Path, target: Path) -> bool:
    try:
        temporary.replace(target)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def _write_in_place(target: Path, content: bytes) -> None:
    with target.open("r+b", buffering=0) as stream:
        before = stream.read()
        try:
            _overwrite(stream.fileno(), content)
        except OSError:
            with suppress(OSError):
                _overwrite(stream.fileno(), before)
            raise


def _overwrite(handle: int, content: bytes) -> None:
    done = 0
    while done < len(content):
        done += os.pwrite(handle, content[done:], done)
    os.ftruncate(handle, len(content))
    _sync(handle)


def _sync(handle: int) -> None:
    os.fsync(handle)


def _keep_owner(handle: int, before: os.stat_result) -> bool:
    """Give a new file the owner another one has; False when that is not allowed."""
    now = os.fstat(handle)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        try:
            os.fchown(handle, before.st_uid, before.st_gid)
        except PermissionError:
            return False
    return True


def _whose(path: str, error: OSError) -> str:
    """Say whose a file or directory is when that is why it cannot be used."""
    if error.errno not in (errno.EACCES, errno.EPERM):
        return ""
    for one in (Path(path), *Path(path).parents):
        with suppress(OSError):
            real = Path(os.path.realpath(one))
            owner = real.stat().st_uid
            if owner != os.geteuid():
                link = f", where {one} leads to," if real != one else ""
                whose = f"{real}{link} belongs to {_name(owner)}"
                return f" for the user {_name(os.geteuid())}: {whose}. Give it to them, or move it"
    return ""


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


# Identity


@dataclass(frozen=True)
class _Certificate:
    subject: bytes
    expires: str


def _text(value: Any) -> str:
    """Return a value as text; the ways to write nothing are empty."""
    if value is None or value == []:
        return ""
    return "" if isinstance(value, str) and value in _EMPTY else str(value)


def _same_server(cluster: dict[str, Any], server: str) -> bool:
    return str(cluster.get("server") or "").rstrip("/").lower() == server.rstrip("/").lower()


def _is_own_address(server: str) -> bool:
    """Tell whether a URL has an address of this machine in it."""
    found = re.match(r"https://(?:\[([0-9a-f:]+)\]|([0-9.]+))(?::\d+)?/?$", server.lower())
    if not found:
        return False
    family, address = (socket.AF_INET6, found.group(1)) if found.group(1) else (socket.AF_INET, found.group(2))
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Only an address of the machine can be bound.
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _der(data: str) -> bytes:
    """Return the certificate in Base64 of PEM; empty when it is none."""
    try:
        pem = base64.b64decode(data, validate=True).decode("ascii")
        body = re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END", pem, re.DOTALL)
        return base64.b64decode(body.group(1)) if body else pem.encode()
    except (ValueError, binascii.Error):
        return b""


def _certificate(data: str) -> Optional[_Certificate]:
    """Return who an X.509 certificate is for, and until when (RFC 5280, 4.1); None when it is none."""
    try:
        fields = _elements(_elements(_elements(_der(data))[0][1])[0][1])
        # The version is not always there; then come serial number, algorithm, issuer, validity, subject.
        _, _, _, validity, subject = fields[1:6] if fields[0][0] == 0xA0 else fields[:5]  # noqa: PLR2004 - its tag
        kind, expires = _elements(validity[1])[1]
    except (IndexError, ValueError):
        return None
    text = expires.decode("ascii", "replace")
    # UTCTime has two digits of the year.
    century = ("19" if text[:2] >= "50" else "20") if kind == 0x17 else ""  # noqa: PLR2004 - its tag
    return _Certificate(subject[1], century + text)


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each element of a DER sequence."""
    found, position = [], 0
    while position < len(data):
        tag, length, start = data[position], data[position + 1], position + 2
        if length & 0x80:
            size = length & 0x7F
            length, start = int.from_bytes(data[start : start + size], "big"), start + size
        if start + length > len(data):
            raise ValueError("cut off")
        found.append((tag, data[start : start + length]))
        position = start + length
    return found
