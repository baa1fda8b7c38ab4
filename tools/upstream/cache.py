"""The cache: what was made once is not made again as long as its recipe is the same."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator

from tools.upstream.tools import say, timing

_SECONDS_BETWEEN_SIGNS_OF_LIFE = 30
# Recipes contain code of this package, which had this name once: what was made then need not be made again.
_FIRST_PACKAGE = "tests.upstream"


class Cache:
    """A directory outside the repository.

    Attributes:
        root: The directory.
    """

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root

    @classmethod
    def of_user(cls) -> "Cache":
        """The cache at the place the XDG base directories name."""
        base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
        return cls(pathlib.Path(base) / "kubestrap")

    def directory(self, name: str) -> pathlib.Path:
        """A directory of the cache, made if missing."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other runs out; wait for one that is already in."""
        with (self.directory(".") / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another run to end")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def product(self, name: str, recipe: object, make: Callable[[pathlib.Path], None]) -> pathlib.Path:
        """The directory that holds a product, made now if its recipe was never followed to the end.

        Args:
            name: What it is called in messages.
            recipe: All that decides what comes out, as JSON has it.
            make: Fills the directory it is given. What it leaves behind when it fails is thrown away.
        """
        text = json.dumps(recipe, sort_keys=True, default=str).replace(__package__, _FIRST_PACKAGE)
        digest = hashlib.sha256(text.encode()).hexdigest()[:20]
        slug = name.replace(" ", "-")
        place = self.directory("products") / f"{slug}-{digest}"
        if place.exists():
            return place
        unfinished = place.with_name(f".{place.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        record = self.directory("seconds") / slug
        last_time = timing(float(record.read_text())) if record.exists() else ""
        say(f"{name}: making it" + (f"; last time it took {last_time}" if last_time else ""))
        started = time.monotonic()
        with _signs_of_life(name, last_time):
            make(unfinished)
        unfinished.rename(place)
        seconds = time.monotonic() - started
        record.write_text(f"{seconds:.1f}")
        say(f"{name}: done in {timing(seconds)}")
        return place


@contextlib.contextmanager
def _signs_of_life(name: str, last_time: str) -> Iterator[None]:
    """Say now and then that something long still goes on."""
    ended = threading.Event()

    def tell() -> None:
        started = time.monotonic()
        while not ended.wait(_SECONDS_BETWEEN_SIGNS_OF_LIFE):
            so_far = timing(time.monotonic() - started)
            say(f"{name}: {so_far} so far" + (f", {last_time} last time" if last_time else ""))

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
