"""Docker's settings: read as dockerd reads them, what is made of them, what is refused, what is taken back."""

import codecs
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes import docker

UNIT = ["/usr/sbin/dockerd", "-H", "fd://", "--containerd=/run/containerd/containerd.sock"]


def test_fresh_host_gets_what_kubernetes_needs() -> None:
    assert docker.merged({}, {}) == {
        "exec-opts": ["native.cgroupdriver=systemd"],
        "log-driver": "json-file",
        "log-opts": {"max-size": "100m", "max-file": "3"},
    }


def test_settings_of_the_host_stay() -> None:
    present = {
        "exec-opts": ["isolation=default"],
        "log-driver": "json-file",
        "log-opts": {"max-size": "5m"},
        "dns": ["1"],
    }
    settings = docker.merged(present, {})
    assert settings["exec-opts"] == ["isolation=default", "native.cgroupdriver=systemd"]
    assert settings["log-opts"] == {"max-size": "5m", "max-file": "3"}
    assert settings["dns"] == ["1"]


def test_node_made_by_hand_keeps_its_settings_but_for_what_is_asked() -> None:
    for present in ({}, {"exec-opts": ["native.cgroupdriver=cgroupfs"], "log-driver": "journald"}):
        assert docker.merged(present, {}, made_by_hand=True) == present
        assert docker.merged(present, {"mtu": 1400}, made_by_hand=True) == {**present, "mtu": 1400}


def test_what_breaks_kubernetes_is_replaced() -> None:
    present = {
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "log-driver": "syslog",
        "log-opts": {"syslog-address": "x"},
    }
    settings = docker.merged(present, {})
    assert settings["exec-opts"] == ["native.cgroupdriver=systemd"]
    assert settings["log-driver"] == "json-file"
    assert "syslog-address" not in settings["log-opts"]


def test_user_has_the_last_word_and_lists_are_replaced() -> None:
    settings = docker.merged({"mtu": 1500}, {"mtu": 1400, "log-opts": {"max-file": "9"}, "exec-opts": ["a=b"]})
    assert settings["mtu"] == 1400
    assert settings["log-opts"] == {"max-size": "100m", "max-file": "9"}
    assert settings["exec-opts"] == ["a=b"]


def test_mirrors_come_before_those_of_others() -> None:
    present = {"registry-mirrors": ["https://theirs.example"]}
    wanted = {"registry-mirrors": ["https://mirror.example"]}
    once = docker.merged(present, wanted)
    assert once["registry-mirrors"] == ["https://mirror.example", "https://theirs.example"]
    assert docker.merged(once, wanted) == once
    back = docker.merged(docker.without_withdrawn(once, wanted, {}), {})
    assert back["registry-mirrors"] == ["https://theirs.example"]


def test_merging_again_changes_nothing() -> None:
    wanted = {"registry-mirrors": ["https://mirror.example"], "runtimes": {"x": {"path": "/x"}}}
    once = docker.merged({"log-driver": "local", "runtimes": {"y": {"path": "/y"}}}, wanted)
    assert docker.merged(once, wanted) == once
    assert set(once["runtimes"]) == {"x", "y"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"registry-mirrors": ["m"]}, True),
        ({"debug": True}, {}, True),
        ({}, {"registry-mirrors": ["m"], "mtu": 1400}, False),
        ({"a": 1}, {"a": 1}, False),
    ],
)
def test_reload_is_enough_for_some_settings_only(
    before: dict[str, object], after: dict[str, object], *, expected: bool
) -> None:
    assert docker.only_reload(before, after) is expected


def test_logopts() -> None:
    # Without a driver they are those of json-file.
    present = {"log-opts": {"max-size": "10m", "max-file": "5", "labels": "app"}, "live-restore": True}
    settings = docker.merged(present, {})
    assert settings["log-opts"] == present["log-opts"]
    assert settings["live-restore"] is True


def test_options_that_the_new_log_driver_knows_stay() -> None:
    present = {"log-driver": "journald", "log-opts": {"tag": "{{.Name}}", "labels": "app", "x-of-journald": "1"}}
    assert docker.merged(present, {})["log-opts"] == {**docker.LOG_LIMITS, "tag": "{{.Name}}", "labels": "app"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "holds a list, and Docker takes an object only"),
        ('"x"', "holds a text"),
        ("3", "holds a number"),
        ("true", "holds true or false"),
        ('{"exec-opts": "native.cgroupdriver=systemd"}', 'has a text as "exec-opts", and Docker takes a list there'),
        ('{"exec-opts": [1]}', r'has a number in "exec-opts" \(1\), and Docker takes texts there, such as "1"'),
        ('{"log-opts": {"max-file": 3}}', r'has a number in "log-opts" \(max-file\).* such as "3"'),
        ('{"log-opts": ["max-size=10m"]}', 'has a list as "log-opts", and Docker takes an object there'),
        ('{"log-driver": {}}', 'has an object as "log-driver", and Docker takes a text there'),
        ('{"live-restore": "true"}', 'has a text as "live-restore", and Docker takes true or false there'),
        ('{"registry-mirrors": [null]}', 'has null in "registry-mirrors"'),
        ('{"debug": true, "debug": false}', "debug is there twice"),
        ('{"log-opts": {"a": "1", "a": "2"}}', "a is there twice"),
        ('{"mtu": NaN}', "NaN is no JSON"),
        ('{"a": 1,}', "is not valid JSON.*line 1 column"),
        ("// mine\n{}", "is not valid JSON"),
        ("[" * 100000, "has too many levels"),
    ],
    ids=lambda value: value[:24],
)
def test_list(content: str, told: str) -> None:
    with pytest.raises(docker.SettingsError, match=told):
        docker.parse(content.encode())


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        (b"", {}),
        (b" \n\t", {}),
        (b"null", {}),
        (b'{"exec-opts": null, "debug": true}', {"debug": True}),
        (codecs.BOM_UTF8 + b'{"data-root": "/srv/\xc3\xa4"}', {"data-root": "/srv/\u00e4"}),
        (codecs.BOM_UTF16_LE + '{"debug": true}'.encode("utf-16-le"), {"debug": True}),
        (codecs.BOM_UTF16_BE + '{"debug": true}'.encode("utf-16-be"), {"debug": True}),
        (b'{"mtu": 1450, "max-concurrent-downloads": 3}', {"mtu": 1450, "max-concurrent-downloads": 3}),
    ],
)
def test_settings_are_read_as_dockerd_reads_them(content: bytes, settings: dict[str, Any]) -> None:
    assert docker.parse(content) == settings


def test_what_is_no_text_is_told() -> None:
    with pytest.raises(docker.SettingsError, match=r"is no UTF-8 text \(byte 8\)"):
        docker.parse(b'{"a": "\xe4"}')


@pytest.mark.parametrize(
    ("settings", "command", "names"),
    [
        ({"userns-remap": "default"}, UNIT, ["docker-userns-remap"]),
        ({"userns-remap": ""}, UNIT, []),
        ({}, [*UNIT, "--userns-remap=default"], ["docker-userns-remap"]),
        ({"hosts": ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375"]}, UNIT, ["docker-settings-twice"]),
        ({"hosts": ["fd://"]}, ["dockerd", "--host=fd://"], ["docker-settings-twice"]),
        ({"hosts": ["fd://"]}, ["dockerd", "-Hfd://"], ["docker-settings-twice"]),
        ({"hosts": ["fd://"]}, ["dockerd"], []),
        ({"log-driver": "json-file"}, [*UNIT, "--log-driver", "journald"], ["docker-settings-twice"]),
        ({"exec-opts": []}, [*UNIT, "--exec-opt", "native.cgroupdriver=cgroupfs"], ["docker-settings-twice"]),
        ({"runtimes": {}}, [*UNIT, "--add-runtime=x=/x"], []),
        ({"data-root": "/srv"}, UNIT, []),
    ],
)
def test_settings_with_which_kubernetes_or_docker_does_not_work(
    settings: dict[str, Any], command: list[str], names: list[str]
) -> None:
    found = docker.refusals(settings, command)
    assert [one.id for one in found] == names
    for one in found:
        assert next(iter(settings), "userns-remap") in one.evidence


def test_values_of_flags_are_not_shown() -> None:
    (found,) = docker.refusals({"log-opts": {}}, [*UNIT, "--log-opt=splunk-token=secret"])
    assert "--log-opt in ExecStart" in found.evidence
    assert "secret" not in str(found)


class Module:
    """A host by what its programs print; `asked` are their command lines."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []

    def run_command(self, command: list[str], **_: Any) -> tuple[int, str, str]:
        self.asked.append(command)
        words = command[3:]  # behind `timeout`
        answer = self.answers.get(words[1])
        return (1, "", "no") if answer is None else (0, answer, "")


def test_the_command_line_of_the_unit_has_its_variables(tmp_path: Path) -> None:
    defaults = tmp_path / "docker"
    defaults.write_text('# mine\nDOCKER_OPTS="--log-driver=local --debug"\n')
    module = Module(
        show="ExecStart={ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS ${X} $NONE ; "
        "ignore_errors=no ; pid=0 }\n"
        f"Environment=X=y A=b\nEnvironmentFiles={defaults} (ignore_errors=yes)\n"
    )
    command = docker.command_line(module)  # type: ignore[arg-type]
    assert command == ["/usr/sbin/dockerd", "-H", "fd://", "--log-driver=local", "--debug", "y"]
    assert docker.command_line(Module(show="ExecStart=\n")) == docker.USUAL_COMMAND  # type: ignore[arg-type]


def test_containers_of_others_are_those_that_are_no_pods() -> None:
    module = Module(
        ps="c\nb\na\n",
        inspect="a\t/web\tnginx:1\tfalse\t\nb\t/k8s_POD\tpause\tfalse\tdns\nc\t/try\tbusybox\ttrue\t<no value>\n",
    )
    assert docker.own_containers(module) == [  # type: ignore[arg-type]
        docker.Container("a", "web", "nginx:1", removed=False),
        docker.Container("c", "try", "busybox", removed=True),
    ]
    assert module.asked[1][-3:] == ["a", "b", "c"]
    assert docker.own_containers(Module()) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("present", "before", "asked", "left"),
    [
        # Mirrors of ours go, the person's stay.
        ({"registry-mirrors": ["us", "them"]}, {"registry-mirrors": ["us"]}, {}, {"registry-mirrors": ["them"]}),
        ({"registry-mirrors": ["us"], "mtu": 1}, {"registry-mirrors": ["us"]}, {}, {"mtu": 1}),
        ({"m": ["a", "b"]}, {"m": ["a", "b"]}, {"m": ["b"]}, {"m": ["b"]}),
        ({"debug": True}, {"debug": True}, {}, {}),
        # Somebody decided otherwise since.
        ({"debug": False}, {"debug": True}, {}, {"debug": False}),
        ({"log-opts": {"tag": "x", "env": "y"}}, {"log-opts": {"tag": "x"}}, {}, {"log-opts": {"env": "y"}}),
        ({"log-opts": {"tag": "x"}}, {"log-opts": {"tag": "x"}}, {}, {}),
        ({"debug": True}, {"debug": True}, {"debug": True}, {"debug": True}),
        ({}, {"debug": True}, {}, {}),
    ],
)
def test_what_left_the_inventory_is_taken_back(
    present: dict[str, Any], before: dict[str, Any], asked: dict[str, Any], left: dict[str, Any]
) -> None:
    assert docker.without_withdrawn(present, before, asked) == left


def test_no_record_of_what_was_asked_is_no_reason_to_take_anything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker, "LAST_ASKED", str(tmp_path / "asked"))
    assert docker.last_asked() == {}
    (tmp_path / "asked").write_text("{")
    assert docker.last_asked() == {}
    (tmp_path / "asked").write_text(json.dumps({"debug": True}))
    assert docker.last_asked() == {"debug": True}
