"""The real ansible-runner against this machine: events, variables, secrets, an interruption."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from kubestrap.adapters.ansible import AnsiblePlaybookRunner
from kubestrap.model.events import PlaybookFinished, TaskFinished
from kubestrap.model.run import Playbook

HOSTS = """\
control_plane: {hosts: {here: {}}}
all: {vars: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}}
"""


@pytest.fixture
def run(tmp_path):
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(HOSTS)

    def run_tasks(tasks, **more):
        path = tmp_path / "playbook.yml"
        path.write_text(json.dumps([{"name": "Try", "hosts": "all", "gather_facts": False, "tasks": tasks}]))
        events, notes = [], []
        playbook = Playbook(name=str(path), inventories=(inventory,), **more)
        before = dict(os.environ)
        outcome = AnsiblePlaybookRunner(tmp_path / "state").run(
            playbook, log=tmp_path / "log", handle=events.append, notify=notes.append
        )
        assert dict(os.environ) == before
        assert not (tmp_path / "state").exists()
        return outcome, events, notes, (tmp_path / "log").read_text()

    return run_tasks


def finished(events):
    return [event for event in events if isinstance(event, TaskFinished)]


def test_events_arrive_typed_and_the_log_is_kept(run):
    outcome, events, _, log = run(
        [
            {"name": "Change", "ansible.builtin.command": "echo hello"},
            {"name": "Ignore", "ansible.builtin.command": "false", "ignore_errors": True},
            {"name": "Fail", "ansible.builtin.fail": {"msg": "boom"}},
        ]
    )
    assert [event.outcome for event in finished(events)] == ["changed", "ignored", "failed"]
    assert finished(events)[-1].message == "boom"
    assert isinstance(events[-1], PlaybookFinished)
    assert (outcome.code, outcome.interrupted) == (2, False)
    assert "TASK [Fail]" in log


def test_our_values_are_literal_and_the_persons_are_templates(run):
    _, events, _, _ = run(
        [{"name": "Show", "ansible.builtin.fail": {"msg": "{{ ours }} {{ theirs }} {{ plain }} {{ many }}"}}],
        variables={"ours": "{{ 1 + 1 }}"},
        extra_vars=('{"theirs": "{{ 2 + 2 }}", "many": [1, 2]}', "plain=x"),
    )
    assert finished(events)[0].message == "{{ 1 + 1 }} 4 x [1, 2]"


def test_secrets_are_on_no_command_line(run):
    look = "cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'hush-[h]ush'"
    _, events, _, log = run(
        [
            {"name": "Look", "ansible.builtin.shell": f"{look} || true", "register": "seen"},
            {"name": "Show", "ansible.builtin.fail": {"msg": "{{ seen.stdout }}"}},
        ],
        extra_vars=("token=hush-hush",),
    )
    assert finished(events)[-1].message == "0"
    assert "hush-hush" not in log


@pytest.mark.parametrize("value", ["hush{{hush", "hush-{{ nowhere }}-hush"])
@pytest.mark.parametrize("given", ["file", "option"])
def test_a_password_that_ansible_takes_for_a_template_is_not_quoted(run, tmp_path, value, given):
    told = {"before": "hush-hush", "password": value}
    path = tmp_path / "secrets.yml"
    path.write_text("\n".join(f"{name}: {json.dumps(text)}" for name, text in told.items()))
    outcome, events, _, log = run(
        [{"name": "Use", "ansible.builtin.debug": {"msg": "{{ password | length }}"}}],
        extra_vars=(f"@{path}" if given == "file" else json.dumps(told),),
    )
    assert outcome.code == 2
    assert ("Syntax error in template" if value.endswith("{{hush") else "'nowhere' is undefined") in log
    assert (f"{path}:2" in log) == (given == "file")
    assert "hush" not in log + str(events)


def test_lookup(run, monkeypatch, tmp_path):
    """`lookup('env', ...)` gives what plain Ansible gives, and no file of the run keeps the environment."""
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("SITE_SUDO_PASSWORD", "hush-hush")
    monkeypatch.setenv("PATH", f"{tmp_path}/mine:{os.environ['PATH']}")
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "minimal")
    look = f"grep -rc hush-hush {tmp_path}/state --include=command || true; echo $PATH"
    _, events, _, log = run(
        [
            {"name": "Look", "ansible.builtin.shell": look, "register": "seen"},
            {"name": "Show", "ansible.builtin.fail": {"msg": "{{ lookup('env', 'SITE_SUDO_PASSWORD') | length }} "
                                                             "{{ seen.stdout_lines | to_json }}"}},
        ],
    )  # fmt: skip
    length, _, seen = finished(events)[-1].message.partition(" ")
    assert length == "9"
    (path,) = json.loads(seen)
    # Theirs first: scripts of theirs mean their programs.
    assert path.startswith(f"{tmp_path}/mine:")
    assert "hush-hush" not in log


def test_first_interrupt_ends_it_cleanly(run, tmp_path):
    started = tmp_path / "started"
    script = f"touch {started}; exec sleep 61"

    def interrupt():
        while not started.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    began = time.monotonic()
    outcome, _, notes, _ = run([{"name": "Wait", "ansible.builtin.shell": script}])
    thread.join()
    assert outcome.interrupted
    assert time.monotonic() - began < 30
    assert any("'Wait' may go on" in note for note in notes)
    assert not playbooks_running(tmp_path)


def test_second_interrupt_kills(run, tmp_path):
    started = tmp_path / "started"

    def interrupt():
        while not started.exists():
            time.sleep(0.05)
        # It must not end by itself: a signal after its end would be for these tests.
        for process in playbooks_running(tmp_path):
            os.kill(process, signal.SIGSTOP)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)

    thread = threading.Thread(target=interrupt)
    thread.start()
    outcome, _, _, _ = run([{"name": "Wait", "ansible.builtin.shell": f"touch {started}; exec sleep 62"}])
    thread.join()
    assert outcome.interrupted
    assert not playbooks_running(tmp_path)


def test_lost_terminal_is_an_interruption(run, tmp_path):
    started = tmp_path / "started"

    def hang_up():
        while not started.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGHUP)

    thread = threading.Thread(target=hang_up)
    thread.start()
    outcome, _, _, _ = run([{"name": "Wait", "ansible.builtin.shell": f"touch {started}; exec sleep 63"}])
    thread.join()
    assert outcome.interrupted
    assert not playbooks_running(tmp_path)


RUN = """
import sys
from pathlib import Path
from kubestrap.adapters.ansible import AnsiblePlaybookRunner
from kubestrap.model.run import Playbook
directory = Path(sys.argv[1])
playbook = Playbook(name=str(directory / "playbook.yml"), inventories=(directory / "inventory.yml",))
AnsiblePlaybookRunner(directory / "state").run(playbook, log=directory / "log", handle=print, notify=print)
"""


def test_playbook_and_its_workers_end_when_the_program_is_killed(tmp_path):
    started = tmp_path / "started"
    (tmp_path / "inventory.yml").write_text(HOSTS)
    task = {"name": "Wait", "ansible.builtin.shell": f"touch {started}; exec sleep 64"}
    (tmp_path / "playbook.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    with subprocess.Popen([sys.executable, "-c", RUN, tmp_path], stdout=subprocess.DEVNULL) as program:
        while not started.exists():
            time.sleep(0.05)
        assert len(playbooks_running(tmp_path)) >= 2
        program.kill()
    deadline = time.monotonic() + 10
    while playbooks_running(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not playbooks_running(tmp_path)


def playbooks_running(directory):
    def command(path):
        try:
            return path.read_bytes().decode(errors="replace")
        except OSError:
            return ""

    lines = {int(path.parent.name): command(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
    return [process for process, line in lines.items() if str(directory) in line and "ansible-playbook" in line]
