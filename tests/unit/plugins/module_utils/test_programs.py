"""Programs of modules end, and what they say of that is told."""

import re
import subprocess
from typing import Any

from ansible_collections.kubestrap.cluster.plugins.module_utils import programs


class Module:
    """Runs programs as AnsibleModule does."""

    def run_command(self, words: list[str], **_: Any) -> tuple[int, str, str]:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
        return done.returncode, done.stdout, done.stderr


def execute(*words: str, seconds: int = 5) -> tuple[int, str, str]:
    return programs.execute(Module(), words, seconds=seconds)  # type: ignore[arg-type]


def test_answer() -> None:
    assert execute("sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")


def test_program_that_hangs_is_ended_and_named() -> None:
    code, stdout, stderr = execute("sh", "-c", "echo begun; exec sleep 30", seconds=1)
    assert (code, stdout) == (programs.TIMED_OUT, "begun\n")
    assert stderr == "sh did not end within 1 s"


def test_program_that_is_missing() -> None:
    code, _, stderr = execute("no-such-program")
    assert code == 127
    assert re.match("cannot run .no-such-program.", stderr)


def test_programs_answer_in_english_whatever_the_host_speaks() -> None:
    seen: dict[str, Any] = {}

    class Speaks:
        def run_command(self, _: list[str], **options: Any) -> tuple[int, str, str]:
            seen.update(options)
            return 0, "", ""

    programs.execute(Speaks(), ["apt-cache", "policy", "x"], environ_update={"HOME": "/x"})  # type: ignore[arg-type]
    assert seen["environ_update"] == {"LC_ALL": "C.UTF-8", "LANGUAGE": "", "HOME": "/x"}
