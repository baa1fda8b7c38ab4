"""What a host is by its files, its mark and its API, and what may be thrown away: nothing without proof."""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import (
    control_plane,
    credentials,
    kubeadm,
    traces,
    unfinished,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.judgement import (
    COULD_NOT_LOOK,
    DOES_NOT,
    HOLDS,
    NOT_YET,
    UndecidedError,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeadm import KubeadmError
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import KubectlError

PARAMS: dict[str, Any] = {
    "node_name": "cp1",
    "node_address": "10.0.0.11",
    "api_endpoint": "10.0.0.11:6443",
    "cri_socket": "unix:///x.sock",
    "timeout": 0,
    "schedulable": False,
    "move_aside": "",
}
SILENT = "The connection to the server 10.0.0.11:6443 was refused - did you specify the right host or port?"
FORBIDDEN = 'Error from server (Forbidden): forbidden: User "kubernetes-admin" cannot get path "/readyz"'
STARTING = 'an error on the server ("[+]ping ok\\n[-]etcd failed: reason withheld\\nreadyz check failed") has prevented'
ELSEWHERE = "tls: failed to verify certificate: x509: certificate is valid for 10.96.0.1, 172.17.0.1, not 10.0.0.11"
ROTATED = "client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem"
EMBEDDED = "client-certificate-data: eHl6"


def pem(text: str) -> str:
    """A certificate, as far as its fingerprint goes."""
    return f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"


class Api:
    """kubectl on the host: what /readyz says, and what there is in kube-system."""

    kubeconfig = "/etc/kubernetes/admin.conf"

    def __init__(self, *said: str, objects: str = "") -> None:
        self.said, self.objects = list(said), objects

    def usable(self) -> bool:
        return traces.at("etc/kubernetes/admin.conf").exists()

    def run(self, *arguments: str, **_: Any) -> str:
        answer = self.objects
        if "/readyz" in arguments:
            answer = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if answer != "ok" and "/" not in answer[:20]:
            raise KubectlError(answer)
        return answer


class Host:
    """Files of a host below a directory of the test."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str = "x", *, age: float = 0) -> Path:
        """Write a file; its age is in seconds."""
        there = self.root / path
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text)
        moment = there.stat().st_mtime - age
        os.utime(there, (moment, moment))
        return there

    def data(self, *, age: float = 0) -> None:
        self.write("var/lib/etcd/member/wal/0.wal", age=age)

    def whole(self, kubelet: str = ROTATED, *, age: float = 0) -> None:
        """All of a control plane."""
        self.write("etc/kubernetes/pki/ca.crt", pem("AAAA"), age=age)
        self.write("etc/kubernetes/pki/ca.key", age=age)
        self.write("etc/kubernetes/pki/apiserver.crt", age=age)
        for name in ("admin.conf", "controller-manager.conf", "scheduler.conf"):
            self.write(f"etc/kubernetes/{name}", "    server: https://10.0.0.11:6443\n", age=age)
        if kubelet:
            self.write("etc/kubernetes/kubelet.conf", kubelet, age=age)
        for part in kubeadm.CONTROL_PLANE_PARTS:
            self.write(f"etc/kubernetes/manifests/{part}.yaml", age=age)
        self.data(age=age)

    def mark(self, what: str = "init", *, age: float = 60, **changed: Any) -> None:
        """The mark of something that was begun, a minute ago if nothing else is said."""
        unfinished.write(unfinished.Mark(**{"what": what, "node": "cp1", "address": "10.0.0.11", **changed}))
        moment = Path(unfinished.MARK).stat().st_mtime - age
        os.utime(unfinished.MARK, (moment, moment))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(traces, "ROOT", tmp_path)
    monkeypatch.setattr(unfinished, "MARK", str(tmp_path / "etc/kubernetes/kubestrap/unfinished.json"))
    monkeypatch.setattr(kubeadm, "kubelet_error", lambda: "")
    monkeypatch.setattr(kubeadm, "crashed", lambda _: [])
    monkeypatch.setattr(control_plane, "kubelet_on_manifests", lambda: "")
    monkeypatch.setattr(control_plane, "KUBELET_STARTS_PODS_WITHIN", 0)
    monkeypatch.setattr(control_plane.LocalControlPlane, "does_not_start", lambda _: True)
    (tmp_path / "etc/kubernetes/manifests").mkdir(parents=True)  # the package kubelet makes it
    return Host(tmp_path)


def plane(*said: str, objects: str = "", **changed: Any) -> control_plane.LocalControlPlane:
    """The control plane of the host; what its API says, first to last."""
    changes = Changes(SimpleNamespace(check_mode=False))  # type: ignore[arg-type]
    api = Api(*(said or (SILENT,)), objects=objects)
    return control_plane.LocalControlPlane({**PARAMS, **changed}, changes, api)  # type: ignore[arg-type]


def state(*said: str, **changed: Any) -> str:
    return control_plane.find_state(plane(*said, **changed))


def refusal(*said: str, **changed: Any) -> str:
    with pytest.raises(KubeadmError) as raised:
        state(*said, **changed)
    return str(raised.value)


def test_a_bare_host_is_absent(host: Host) -> None:
    assert state() == "absent"
    host.mark()  # power was cut between mark and init
    assert state() == "absent"


def test_a_lone_ca_is_absent_with_a_ca(host: Host) -> None:
    host.write("etc/kubernetes/pki/ca.crt", pem("AAAA"))
    host.write("etc/kubernetes/pki/ca.key")
    host.write("etc/kubernetes/pki/etcd/ca.crt", pem("BBBB"))
    host.write("etc/kubernetes/pki/front-proxy-ca.crt", pem("CCCC"))
    assert state() == "absent"


def test_a_ready_api_is_running_and_with_our_mark_unfinished(host: Host) -> None:
    host.whole()
    assert state("ok") == "running"
    host.mark()
    assert state("ok") == "unfinished"


@pytest.mark.parametrize("kubelet", [ROTATED, EMBEDDED, ""])
def test_a_finished_control_plane_that_is_silent_is_down_whatever_its_kubelet_conf(host: Host, kubelet: str) -> None:
    host.whole(kubelet)
    assert state() == "down"


def test_an_init_that_was_cut_is_half(host: Host) -> None:
    host.mark()
    host.whole(EMBEDDED)
    assert state() == "half"
    (host.root / "etc/kubernetes/manifests/kube-scheduler.yaml").unlink()
    assert state() == "half"


def test_a_mark_that_was_left_on_a_finished_cluster_proves_nothing(host: Host) -> None:
    host.mark()
    host.whole(ROTATED)
    assert state() == "down"
    host.whole(EMBEDDED)
    host.write("var/lib/kubelet/pods/0b7e3f8e-33a5-4d2a-9d5e-6a2c5f3f0c11/etc-hosts")
    assert state() == "down"


@pytest.mark.parametrize("older", ["var/lib/etcd/member/wal/0.wal", "etc/kubernetes/pki/ca.crt"])
def test_what_is_older_than_the_mark_is_never_ours(host: Host, older: str) -> None:
    host.mark()
    host.whole(EMBEDDED)
    host.write(older, age=3600)
    assert "older than the mark" in refusal()


def test_a_clock_that_was_set_back_after_the_mark_is_doubt(host: Host) -> None:
    host.mark(age=-600)
    host.whole(EMBEDDED)
    assert "clock was set back" in refusal()


def test_the_mark_of_another_host_is_none(host: Host) -> None:
    host.mark(address="10.0.0.99")
    host.whole(EMBEDDED)
    assert "10.0.0.99" in refusal()


def test_a_mark_that_cannot_be_read_is_none(host: Host) -> None:
    host.whole(EMBEDDED)
    host.write("etc/kubernetes/kubestrap/unfinished.json", "")
    assert state() == "down"
    (host.root / "etc/kubernetes/admin.conf").unlink()
    assert "no mark" in refusal()


@pytest.mark.parametrize("marked", [False, True])
def test_a_restored_backup_is_refused(host: Host, marked: bool) -> None:
    if marked:
        host.mark()
    host.write("etc/kubernetes/pki/ca.crt", pem("AAAA"))
    host.write("etc/kubernetes/pki/apiserver.crt")
    host.data()
    said = refusal()
    assert "data of etcd" in said
    assert "left alone" in said
    assert "Nothing is deleted" in said


@pytest.mark.parametrize("path", ["pki/apiserver.crt", "pki/etcd/server.crt", "manifests/etcd.yaml", "admin.conf"])
def test_parts_alone_are_refused(host: Host, path: str) -> None:
    host.write(f"etc/kubernetes/{path}")
    assert "left alone" in refusal()


def test_data_of_etcd_alone_is_refused(host: Host) -> None:
    host.data()
    assert "/var/lib/etcd/member" in refusal()


def test_a_parked_manifest_is_named(host: Host) -> None:
    host.whole()
    (host.root / "etc/kubernetes/manifests/kube-scheduler.yaml").unlink()
    said = refusal("ok")
    assert "kube-scheduler.yaml is missing" in said
    assert "cluster_move_aside" not in said


def test_an_etcd_elsewhere_is_not_missing(host: Host) -> None:
    host.whole()
    (host.root / "etc/kubernetes/manifests/etcd.yaml").unlink()
    assert "etcd.yaml is missing" in refusal("ok")
    host.write("etc/kubernetes/manifests/kube-apiserver.yaml", "    - --etcd-servers=https://10.0.0.50:2379\n")
    assert state("ok") == "running"


def test_an_admin_conf_that_was_taken_away_is_named_with_the_command_that_makes_it(host: Host) -> None:
    host.whole()
    host.write("etc/kubernetes/kubelet.conf", f"{ROTATED}\n    server: https://10.0.0.11:6443\n")
    manifest = "    - --advertise-address=10.0.0.11\n"
    host.write("etc/kubernetes/manifests/kube-apiserver.yaml", manifest)
    (host.root / "etc/kubernetes/admin.conf").unlink()
    # kubelet.conf of a control plane names its own API server.
    advice = "--apiserver-advertise-address 10.0.0.11 --control-plane-endpoint api.example:6443`"
    assert f"`kubeadm init phase kubeconfig admin {advice}" in refusal(api_endpoint="api.example:6443")


def test_a_worker_is_not_made_a_control_plane(host: Host) -> None:
    host.write("etc/kubernetes/kubelet.conf", ROTATED)
    assert "is a worker" in refusal()


@pytest.mark.parametrize(("said", "seen"), [(FORBIDDEN, "Forbidden"), (STARTING, "etcd")])
def test_an_api_that_still_starts_is_waited_for_and_never_half(host: Host, said: str, seen: str) -> None:
    host.mark()
    host.whole(EMBEDDED)
    assert seen in refusal(said)
    assert state(said, "ok", timeout=5) == "unfinished"


def test_a_certificate_for_another_address_leads_to_no_action(host: Host) -> None:
    host.whole()
    assert "172.17.0.1, not for 10.0.0.11" in refusal(ELSEWHERE)


def test_a_cluster_that_advertises_another_address_of_its_host(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.whole()
    host.write("etc/kubernetes/manifests/kube-apiserver.yaml", "    - --advertise-address=127.0.0.1\n")
    said = refusal("ok")
    assert "cluster_node_address of this host to 127.0.0.1" in said
    monkeypatch.setattr(control_plane, "is_here", lambda _: False)
    assert "copy of another host" in refusal("ok")


def test_another_clusters_ca_is_refused_before_all(host: Host) -> None:
    host.mark()
    host.whole(EMBEDDED)
    local = plane()
    with pytest.raises(KubeadmError, match="another CA"):
        control_plane.find_state(local, authority=pem("ZZZZ"))
    assert control_plane.find_state(local, authority=pem("AAAA")) == "half"


@pytest.mark.parametrize("said", [SILENT, STARTING])
def test_whether_a_cut_join_can_be_made_anew_is_asked_of_the_cluster(host: Host, said: str) -> None:
    host.mark("join")
    host.whole()
    assert state(said) == "down"


def test_kubectl_that_fails_could_not_look() -> None:
    found = control_plane.is_complete(Api("ok", objects="Unable to connect to the server: i/o timeout"))  # type: ignore[arg-type]
    assert found.answer == COULD_NOT_LOOK
    with pytest.raises(UndecidedError, match="i/o timeout"):
        found.decided()


def test_a_cluster_is_whole_by_its_objects() -> None:
    role = "clusterrolebinding.rbac.authorization.k8s.io/kubeadm:node-proxier"
    names = f"configmap/kubeadm-config\nservice/kube-dns\n{role}\n"
    assert control_plane.is_complete(Api("ok", objects=names)).answer == HOLDS  # type: ignore[arg-type]
    some = control_plane.is_complete(Api("ok", objects="configmap/kubeadm-config\n"))  # type: ignore[arg-type]
    assert (some.answer, "kube-dns" in some.why) == (DOES_NOT, True)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (SILENT, DOES_NOT),
        ('Get "https://x:6443/readyz": dial tcp 10.0.0.11:6443: connect: connection refused', DOES_NOT),
        (FORBIDDEN, NOT_YET),
        (STARTING, NOT_YET),
        ("net/http: TLS handshake timeout", NOT_YET),
        (ELSEWHERE, COULD_NOT_LOOK),
        ("x509: certificate signed by unknown authority", COULD_NOT_LOOK),
        ("error: You must be logged in to the server (Unauthorized)", COULD_NOT_LOOK),
    ],
)  # fmt: skip
def test_errors_of_kubectl_are_told_apart(said: str, answer: str) -> None:
    assert control_plane.not_ready(said).answer == answer


def test_the_typo_is_the_reason(host: Host) -> None:
    host.whole()
    host.write(
        "etc/kubernetes/manifests/etcd.yaml",
        "    - --listen-client-urls=https://127.0.0.1:2379,https://10.0.0.11:2379\n",
    )
    manifest = "    - --etcd-servers=https://127.0.0.1:2378\n    - --tls-cert-file=/etc/kubernetes/pki/apiserver.crt\n"
    host.write("etc/kubernetes/manifests/kube-apiserver.yaml", manifest)
    with pytest.raises(KubeadmError, match=r"--etcd-servers=https://127\.0\.0\.1:2378, but etcd listens on"):
        plane().revive()
    host.write(
        "etc/kubernetes/manifests/kube-apiserver.yaml", "    - --tls-cert-file=/etc/kubernetes/pki/apiservr.crt\n"
    )
    with pytest.raises(KubeadmError, match=r"names a file that does not exist: --tls-cert-file=\S+apiservr\.crt"):
        plane().revive()


def test_a_flag_of_a_manifest_is_not_blamed_on_the_kubelet() -> None:
    said = control_plane.unknown_flag(["kube-apiserver ended: Error: unknown flag: --advertise-addres"])
    assert said.startswith("/etc/kubernetes/manifests/kube-apiserver.yaml has --advertise-addres")


def test_a_manifest_the_kubelet_cannot_read_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    line = (
        'E1127 19:00:00.0  123 file_linux.go:61] "Unable to process watch event" err="can\'t process manifest file '
        '\\"/etc/kubernetes/manifests/kube-apiserver.yaml\\": couldn\'t parse as pod(yaml: line 9)"'
    )
    done = subprocess.CompletedProcess([], 0, f"I1127 x\n{line}\nI1127 y\n", "")
    monkeypatch.setattr(kubeadm, "run", lambda *_, **__: done)
    assert "kube-apiserver.yaml" in control_plane.kubelet_on_manifests()


@pytest.mark.parametrize(
    ("unit", "containers", "restarted"),
    [("active", '[{"metadata": {"attempt": 0}}]', False), ("inactive", "[]", True), ("active", "[]", True)],
)
def test_the_kubelet_is_restarted_only_when_it_does_not_do_its_work(
    host: Host, monkeypatch: pytest.MonkeyPatch, unit: str, containers: str, restarted: bool
) -> None:
    host.whole()
    calls = []

    def run(*command: str, **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        out = unit if "is-active" in command else f'{{"containers": {containers}}}'
        return subprocess.CompletedProcess(command, 0, out, "")

    monkeypatch.setattr(kubeadm, "run", run)
    local = plane()
    with pytest.raises(KubeadmError, match="nothing listens there"):
        local.revive()
    assert bool(local.changes) is restarted
    assert (("systemctl", "restart", "kubelet") in calls) is restarted


def test_a_runtime_that_hangs_does_not_say_that_nothing_was_started(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*command: str, **_: Any) -> subprocess.CompletedProcess[str]:
        if command[0] == "crictl":
            raise KubeadmError("crictl did not end within 30 s on this host.")
        return subprocess.CompletedProcess(command, 0, "active", "")

    monkeypatch.setattr(kubeadm, "run", run)
    host.whole()
    local = plane()
    with pytest.raises(KubeadmError, match="nothing listens there"):
        local.revive()
    assert not local.changes


def test_only_what_the_person_named_is_moved_aside(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.data()
    moved = []
    monkeypatch.setattr(traces, "move_aside", moved.append)
    local = plane()
    look: Callable[[], str] = lambda: control_plane.find_state(local)  # noqa: E731
    for name in ("", "0123456789ab"):
        with pytest.raises(control_plane.LeftAloneError, match=traces.identity()):
            control_plane.settle(look, local.changes, {**PARAMS, "move_aside": name})
    assert control_plane.settle(look, local.changes, {**PARAMS, "move_aside": traces.identity()}) == "absent"
    assert len(moved) == 1


def test_the_logins_of_registries_outlive_the_reset_after_moving_aside(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins = host.write("var/lib/kubelet/config.json", "logins")
    monkeypatch.setattr(credentials, "KUBELET", str(logins))

    def run(*command: str, **_: Any) -> subprocess.CompletedProcess[str]:
        if command[:2] == ("kubeadm", "reset"):
            # It empties the directory of the kubelet.
            logins.unlink(missing_ok=True)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(kubeadm, "run", run)
    host.data()
    traces.move_aside({"cri_socket": "unix:///x"})
    assert logins.read_text() == "logins"


@pytest.mark.parametrize("failing", ["ps", "stop", "kubelet"])
def test_what_may_still_run_is_not_moved_aside(host: Host, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    def run(*command: str, **_: Any) -> subprocess.CompletedProcess[str]:
        crictl = command[0] == "crictl"
        code = int(crictl and failing in command)
        said = "abc\n" if crictl and failing == "stop" and "--quiet" in command else ""
        if failing == "kubelet" and "is-active" in command:
            said = "active\n"
        return subprocess.CompletedProcess(command, code, said, "no runtime" if code else "")

    monkeypatch.setattr(kubeadm, "run", run)
    monkeypatch.setattr(credentials, "KUBELET", str(host.root / "var/lib/kubelet/config.json"))
    host.data()
    with pytest.raises(KubeadmError, match="cannot be moved aside"):
        traces.move_aside({"cri_socket": "unix:///x"})
    assert traces.look().data


def test_what_is_moved_aside_is_roots_alone(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.whole(EMBEDDED)
    host.data()
    monkeypatch.setattr(credentials, "KUBELET", str(traces.at("var/lib/kubelet/config.json")))
    monkeypatch.setattr(kubeadm, "run", lambda *command, **_: subprocess.CompletedProcess(command, 0, "", ""))
    monkeypatch.setattr(traces, "clear_pod_network", lambda: None)
    aside = Path(traces.move_aside({"cri_socket": "unix:///x"}))
    assert (aside / "var/lib/etcd/member").is_dir()
    assert stat.S_IMODE(aside.stat().st_mode) == 0o700


def test_a_reset_takes_every_trace_and_leaves_what_the_person_had(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    own = host.write("etc/kubernetes/pki/ca.crt", pem("AAAA"))
    static = host.write("etc/kubernetes/manifests/mine.yaml", "mine")
    logins = host.write("var/lib/kubelet/config.json", "logins")
    monkeypatch.setattr(credentials, "KUBELET", str(logins))
    traces.mark("init", PARAMS)
    host.whole(EMBEDDED)
    own.write_text(pem("AAAA"))
    others = ("etc/cni/net.d/9-mine", "var/lib/cni/networks/podman/10.88.0.2")
    ours = ("var/lib/cni/networks/cbr0/10.244.0.2", "var/lib/cni/results/cbr0-x-eth0", "var/lib/cni/flannel/x")
    for path in ("run/flannel/subnet.env", "etc/cni/net.d/10-flannel.conflist", *others, *ours):
        host.write(path)
    for link in ("cni0", "flannel.1"):
        host.write(f"sys/class/net/{link}/address")
    calls = []

    def run(*command: str, **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(" ".join(command))
        if "reset" in command:
            files = [
                *(host.root / "etc/kubernetes").glob("*.conf"),
                *(host.root / "etc/kubernetes/manifests").iterdir(),
            ]
            for path in [*files, logins]:
                path.unlink()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(kubeadm, "run", run)
    traces.reset(PARAMS)
    assert (own.read_text(), static.read_text(), logins.read_text()) == (pem("AAAA"), "mine", "logins")
    assert traces.look().bare
    assert [path for path in others if not traces.at(path).exists()] == []
    assert [path for path in (*ours, "run/flannel", traces.FLANNEL_CONFIGURATION) if traces.at(path).exists()] == []
    assert {"ip link delete cni0", "ip link delete flannel.1"} <= set(calls)
    # On a clone, kubeadm would remove the original's member.
    assert "--skip-phases=remove-etcd-member" in calls[0]


def test_a_ca_that_was_cut_off_is_nobodys_and_no_crash(host: Host) -> None:
    host.write("etc/kubernetes/pki/ca.crt", pem("AAA"))
    assert traces.of_another_cluster(traces.fingerprints(pem("AAAA"))) == "/etc/kubernetes/pki/ca.crt"


def test_a_link_in_the_place_of_a_directory_of_the_pod_network_stays(host: Host) -> None:
    host.write("data/cni/results/cbr0-x-eth0")
    (host.root / "var/lib").mkdir(parents=True)
    (host.root / "var/lib/cni").symlink_to(host.root / "data/cni")
    traces.clear_pod_network()
    assert (host.root / "var/lib/cni").is_symlink()
    assert not (host.root / "data/cni/results").exists()


def test_what_was_put_back_after_a_cut_reset_is_not_ours(host: Host) -> None:
    host.mark("init", age=60)
    host.data(age=30)
    for _ in range(2):
        traces.mark("reset", PARAMS)
        assert traces.ours(PARAMS).answer == HOLDS
    host.data(age=3600)
    assert traces.ours(PARAMS).answer == DOES_NOT


def test_the_mark_goes_with_kubeadms_last_phase_even_when_nobody_waits(host: Host) -> None:
    host.mark()
    assert unfinished.run("false", timeout=10).returncode == 1
    assert unfinished.read() is not None
    assert unfinished.run("sh", "-c", "kill -9 $$", timeout=10).returncode == -9
    assert unfinished.run("true", timeout=10).returncode == 0
    with pytest.raises(KubeadmError, match=r"sleep 5 did not end within 0\.1 s"):
        unfinished.run("sleep", "5", timeout=0.1)  # type: ignore[arg-type] - seconds are short here
    assert unfinished.read() is None
