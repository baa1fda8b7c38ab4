"""Kubeconfigs of people: ours comes in, everything else stays to the byte. kubectl is the judge where there is one."""

import base64
import datetime as dt
import json
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kubestrap.cluster.plugins.action.kubeconfig import command, files_for, read
from ansible_collections.kubestrap.cluster.plugins.module_utils import homes, kubeconfig
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeconfig import Admin, Converged, KubeconfigError
from ansible_collections.kubestrap.cluster.plugins.modules import kubeconfig as module
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SERVER = "https://192.0.2.11:6443"
KEY = ec.generate_private_key(ec.SECP256R1())
NOBODY = pwd.getpwnam("nobody")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
with_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs a kubectl")

# What a person has when another kubeadm made a cluster: cases of the same names.
OTHER_KUBEADM = """\
apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster:
    certificate-authority-data: T0xE
    server: https://198.51.100.7:6443
contexts:
- name: kubernetes-admin@kubernetes
  context: {cluster: kubernetes, user: kubernetes-admin, namespace: billing}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: T0xEQ0VSVA==
    client-key-data: T0xES0VZ
current-context: kubernetes-admin@kubernetes
"""
HEX = """\
apiVersion: v1
kind: Config
clusters:
- name: lab
  cluster: {server: "https://127.0.0.1:40001"}
contexts:
- name: lab
  context: {cluster: lab, user: lab, namespace: "18371e12"}
users:
- name: lab
  user: {token: "7e12345"}
current-context: lab
"""
GCP = """\
apiVersion: v1
kind: Config
clusters: []
contexts: []
users:
- name: old
  user:
    auth-provider:
      name: oidc
      config:
        expiry: 2018-03-13T13:15:17Z
        clock: 12:30:10
"""
FOREIGN = """\
# mine
apiVersion: v1
kind: Config
clusters:
  # work
  - cluster:
      certificate-authority: ../certs/ca.crt   # relative
      server: https://work:6443
      octal: 0o17
    name: work
contexts: null   # none yet
users:
  - name: work
    user:
      exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login, interactiveMode: Never}
extensions:
- name: other-program
  extension: {a: 010, b: yes}
x-unknown: 12:30:10
"""


def certificate(common_name: str = "kubernetes-admin", expires: int = 2030) -> str:
    """PEM in Base64, as kubeconfig files have it."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "kubeadm:cluster-admins"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    # As kubeadm does it: issued when the CA was.
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(dt.datetime(expires, 1, 1, tzinfo=dt.UTC))
        .sign(KEY, hashes.SHA256())
    )
    return base64.b64encode(built.public_bytes(serialization.Encoding.PEM)).decode()


CA, OTHER_CA, CERTIFICATE = certificate("kubernetes"), certificate("kubernetes"), certificate()
ADMIN = Admin(server=SERVER, authority=CA, certificate=CERTIFICATE, key="a2V5", host="0123456789abcdef")


def renewed(admin: Admin = ADMIN) -> Admin:
    return replace(admin, certificate=certificate(expires=2060), key="bmV3")


def converge(path: Path | list[Path], name: str = "kubernetes", admin: Admin = ADMIN, **options: Any) -> Converged:
    files = [str(one) for one in (path if isinstance(path, list) else [path])]
    return kubeconfig.converge(files, name, admin, read, **options)


def data_of(path: Path) -> Any:
    return read(path.read_text(), str(path))


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def kubectl(*arguments: str, files: str) -> str:
    environment = {**os.environ, "KUBECONFIG": files}
    # Of a name that is empty, kubectl makes the lock in the current directory.
    with tempfile.TemporaryDirectory() as here:
        done = subprocess.run(
            ["kubectl", *arguments], cwd=here, env=environment, check=False, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def seen_by_kubectl(path: Path, context: str) -> Any:
    minified = kubectl("config", "view", "--minify", "--raw", f"--context={context}", "-o", "json", files=str(path))
    return json.loads(minified)


def test_a_new_file_is_for_its_owner_only_and_the_context_is_current(tmp_path: Path) -> None:
    path = tmp_path / "new/config"
    done = converge(path)
    assert (done.context, done.changed) == ("kubernetes", True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert data_of(path)["current-context"] == "kubernetes"
    assert [one.name for one in path.parent.iterdir()] == ["config"]
    assert not converge(path).changed


@pytest.mark.parametrize("text", [OTHER_KUBEADM, HEX, GCP, FOREIGN, "", "\n", '{"apiVersion": "v1", "users": []}\n'])
def test_the_second_time_nothing_differs(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "config", text)
    first = converge(path)
    before = path.read_bytes(), path.stat().st_mtime_ns, sorted(tmp_path.iterdir())
    assert first.changed
    assert converge(path) == replace(first, changed=False)
    assert (path.read_bytes(), path.stat().st_mtime_ns, sorted(tmp_path.iterdir())) == before


@with_kubectl
def test_other_kubeadm(tmp_path: Path) -> None:
    path = written(tmp_path / "config", OTHER_KUBEADM)
    before = seen_by_kubectl(path, "kubernetes-admin@kubernetes")
    context = converge(path).context
    assert context.startswith("kubernetes-")
    assert context != "kubernetes-admin@kubernetes"
    assert data_of(path)["current-context"] == "kubernetes-admin@kubernetes"
    assert seen_by_kubectl(path, "kubernetes-admin@kubernetes") == before
    ours = seen_by_kubectl(path, context)
    assert ours["clusters"][0]["cluster"]["certificate-authority-data"] == CA
    assert ours["users"][0]["user"] == {"client-certificate-data": CERTIFICATE, "client-key-data": "a2V5"}


@with_kubectl
@pytest.mark.parametrize("text", [HEX, GCP, FOREIGN, OTHER_KUBEADM], ids=["hex", "gcp", "foreign", "other-kubeadm"])
def test_what_is_there_stays_as_kubectl_reads_it_and_to_the_byte(tmp_path: Path, text: str) -> None:
    """Cases `hex` and `gcp`: values that look like numbers, dates and times of day."""
    path = written(tmp_path / "config", text)
    view = ("config", "view", "--raw", "-o", "json")
    before = json.loads(kubectl(*view, files=str(path)))
    converge(path, "blue")
    after = json.loads(kubectl(*view, files=str(path)))
    for kind in kubeconfig.KINDS:
        assert [one for one in before[kind] or [] if one not in after[kind]] == []
        assert len(after[kind]) == len(before[kind] or []) + 1
    lines = path.read_text().splitlines()
    kept = [line for line in text.splitlines() if line not in lines]
    assert all(line.startswith(("clusters: []", "contexts:")) for line in kept)


@with_kubectl
@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "Config", "apiVersion": "v1", "users": [{"name": "a", "user": {"token": "7e1"}}]}',
        "clusters: [{name: a, cluster: {server: https://a}}]\nusers: [ ]\ncurrent-context:\n",
        "users:\n    - name: a\n      user:\n        token: x\ncurrent-context: a # gone\n",
        FOREIGN.replace("\n", "\r\n"),
        "---\nkind: Config",
        '"users":\n- {name: a, user: {}}\n',
        "# mine, empty\n",
        "\ufeffapiVersion: v1\nkind: Config\nusers: null\n",
    ],
    ids=["json", "flow", "indented", "crlf", "no-newline", "quoted-key", "comment", "bom"],
)
def test_forms_of_writing(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "config", text)
    assert converge(path, "blue").changed
    assert seen_by_kubectl(path, "blue")["clusters"][0]["cluster"]["server"] == SERVER
    module_sees = kubeconfig.View.of(module.as_kubectl_reads(path.read_text(), "x"), "x")
    assert set(module_sees.contexts) == {"blue"}
    assert not converge(path, "blue").changed


@pytest.mark.parametrize("text", ["clusters: &a []\nusers: *a\n", "{users: []}\n", "  kind: Config\n  users: []\n"])
def test_an_unusual_form_is_refused_with_words(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "config", text)
    with pytest.raises(KubeconfigError, match="left alone"):
        converge(path)
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["[1, 2", "- a list", "clusters: 7", "kind: Secret", "users: [{user: {}}]"])
def test_a_file_that_is_no_kubeconfig_is_left_alone(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "config", text)
    with pytest.raises(KubeconfigError, match="left alone"):
        converge(path)
    assert path.read_text() == text


def test_the_file_as_it_was_is_kept_once(tmp_path: Path) -> None:
    path = written(tmp_path / "config", HEX)
    converge(path)
    copies = [one for one in tmp_path.iterdir() if one != path]
    assert [(one.read_text(), stat.S_IMODE(one.stat().st_mode)) for one in copies] == [(HEX, 0o600)]
    converge(path, admin=renewed())
    converge(path, admin=replace(ADMIN, server="https://192.0.2.12:6443"))
    assert [one for one in tmp_path.iterdir() if one != path] == copies


def test_newer_credentials_replace_older_ones_and_never_the_other_way_round(tmp_path: Path) -> None:
    path = tmp_path / "config"
    converge(path)
    assert not converge(path, admin=renewed(), keep=True).changed
    assert converge(path, admin=renewed()).changed
    assert data_of(path)["users"][0]["user"]["client-key-data"] == "bmV3"
    # Those of another control plane, issued before: two that take turns would change the file at every run.
    assert not converge(path).changed
    assert len(data_of(path)["users"]) == 1


def test_what_a_person_chose_for_our_context_stays(tmp_path: Path) -> None:
    path = tmp_path / "config"
    converge(path)
    text = path.read_text().replace("  context:\n", "  context:\n    namespace: shop\n")
    text = text.replace("    server:", "    proxy-url: socks5://127.0.0.1:1080\n    server:")
    path.write_text(text)
    assert not converge(path).changed
    converge(path, admin=renewed())
    assert data_of(path)["contexts"][0]["context"]["namespace"] == "shop"
    assert data_of(path)["clusters"][0]["cluster"]["proxy-url"] == "socks5://127.0.0.1:1080"


def test_a_renamed_context_is_known_again(tmp_path: Path) -> None:
    path = tmp_path / "config"
    converge(path)
    path.write_text(path.read_text().replace("- name: kubernetes\n  context", "- name: prod\n  context"))
    assert converge(path) == Converged(str(path), "prod", changed=False)
    # The cluster got another name in the inventory: no second context.
    assert converge(path, "other-name") == Converged(str(path), "prod", changed=False)


@pytest.mark.parametrize("user", [{"token": "mine"}, {"exec": {"command": "login"}}, None])
def test_another_way_to_log_in_that_a_person_chose_stays(tmp_path: Path, user: dict[str, Any] | None) -> None:
    path = tmp_path / "config"
    converge(path)
    data = data_of(path)
    data["users"][0]["user"] = user or {"client-certificate-data": certificate("jane"), "client-key-data": "a2V5"}
    path.write_text(json.dumps(data))
    assert converge(path, admin=renewed()) == Converged(str(path), "kubernetes", changed=False)


def test_credentials_that_are_missing_are_put_back(tmp_path: Path) -> None:
    path = written(tmp_path / "config", "")
    converge(path)
    data = data_of(path)
    path.write_text(json.dumps({**data, "users": []}))
    assert converge(path) == Converged(str(path), "kubernetes", changed=True)
    assert data_of(path)["users"] == data["users"]


def entries(name: str, admin: Admin, **more: str) -> str:
    """A kubeconfig as some program wrote it: without our mark."""
    return yaml.safe_dump(
        {
            "clusters": [{"name": name, "cluster": {**replace(admin, host="").cluster(), **more}}],
            "users": [{"name": f"{name}-admin", "user": admin.user()}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": f"{name}-admin"}}],
            "current-context": name,
        }
    )


@pytest.mark.parametrize(
    "there",
    [
        entries("kubernetes", replace(ADMIN, authority=OTHER_CA)),
        entries("kubernetes", replace(ADMIN, server="https://192.0.2.99:6443")),
        "contexts:\n- name: mine\n  context: {cluster: kubernetes, user: x}\n",
        "contexts:\n- name: mine\n  context: {cluster: x, user: kubernetes-admin}\n",
        "users:\n- name: kubernetes-admin\n  user: {token: mine}\n",
        "contexts:\n- name: kubernetes\n  context: {cluster: gone, user: gone}\n",
    ],
    ids=["other-ca", "other-server", "leads-nowhere", "user-nowhere", "user-of-others", "context-of-others"],
)
def test_names_of_others_are_not_taken(tmp_path: Path, there: str) -> None:
    path = written(tmp_path / "config", there)
    before = data_of(path)
    context = converge(path).context
    assert context.startswith("kubernetes-")
    after = data_of(path)
    for kind in kubeconfig.KINDS:
        assert [one for one in before.get(kind, []) if one not in after[kind]] == []
    assert after["current-context"] == before.get("current-context", context)
    assert converge(path) == Converged(str(path), context, changed=False)


def test_credentials_another_cluster_uses_too_are_not_changed(tmp_path: Path) -> None:
    path = written(tmp_path / "config", entries("kubernetes", ADMIN))
    data = data_of(path)
    data["clusters"].append({"name": "b", "cluster": {"server": "https://b"}})
    data["contexts"].append({"name": "b", "context": {"cluster": "b", "user": "kubernetes-admin"}})
    path.write_text(json.dumps(data))
    done = converge(path, admin=renewed())
    assert done.context != "kubernetes"
    assert data_of(path)["users"][0] == data["users"][0]
    assert not converge(path, admin=renewed()).changed


def anew() -> Admin:
    return replace(renewed(), authority=OTHER_CA)


def test_a_cluster_made_anew_on_the_same_machine_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "config"
    converge(path)
    before = path.read_text()
    assert converge(path, admin=anew()).context == "kubernetes"
    assert [one["cluster"]["certificate-authority-data"] for one in data_of(path)["clusters"]] == [OTHER_CA]
    # The only credentials of the one before.
    assert [one.read_text() for one in tmp_path.iterdir() if one != path] == [before]
    assert not converge(path, admin=anew()).changed


@pytest.mark.parametrize(
    "there",
    [
        entries("kubernetes", ADMIN),
        entries("kubernetes", ADMIN, **{"proxy-url": "socks5://127.0.0.1:1080"}),
    ],
    ids=["another network may have the same address", "behind a proxy"],
)
def test_another_ca_behind_the_same_address_is_another_cluster(tmp_path: Path, there: str) -> None:
    path = written(tmp_path / "config", there)
    context = converge(path, admin=anew()).context
    assert context != "kubernetes"
    assert data_of(path)["current-context"] == "kubernetes"
    assert data_of(path)["clusters"][-1] == read(there, "")["clusters"][0]


def test_at_an_address_of_this_machine_only_one_cluster_can_be(tmp_path: Path) -> None:
    here = replace(ADMIN, server="https://127.0.0.1:6443", host="")
    path = written(tmp_path / "config", entries("kubernetes", here))
    assert converge(path, admin=replace(anew(), server=here.server, host="")).context == "kubernetes"
    assert len(data_of(path)["clusters"]) == 1


def test_a_second_context_keeps_the_cluster_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "config"
    converge(path)
    path.write_text(path.read_text().replace("contexts:\n", "contexts:\n- {name: b, context: {cluster: kubernetes}}\n"))
    assert converge(path, admin=anew()).context != "kubernetes"
    assert CA in path.read_text()


# $KUBECONFIG


@with_kubectl
@pytest.mark.parametrize("existing", [[], ["a"], ["b"], ["a", "b"], ["c"]])
def test_the_file_kubectl_writes_to(tmp_path: Path, existing: list[str]) -> None:
    environment = {"KUBECONFIG": ":".join(["", *(str(tmp_path / one) for one in "aabc")])}
    for one in existing:
        (tmp_path / one).write_text("kind: Config\napiVersion: v1\n")
    files, target = files_for("~/.kube/config", environment)
    kubectl("config", "set-cluster", "x", "--server=https://x", files=environment["KUBECONFIG"])
    changed = [str(one) for one in tmp_path.iterdir() if "https://x" in one.read_text()]
    assert changed == [files[target]]


def test_a_name_in_another_file_of_the_list_is_taken_and_its_current_context_stays(tmp_path: Path) -> None:
    first, second = tmp_path / "a", written(tmp_path / "b", OTHER_KUBEADM.replace("-admin@kubernetes", ""))
    first.write_text("")
    context = converge([first, second]).context
    assert context != "kubernetes"
    assert "current-context" not in data_of(first)
    assert not converge([first, second]).changed


def test_newer_credentials_go_where_the_older_ones_are(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a", HEX), tmp_path / "b"
    converge(second)
    assert converge([first, second], admin=renewed()).path == str(second)
    assert first.read_text() == HEX


def test_another_path_stands_for_itself_and_the_line_that_is_printed_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    usual, other = str(tmp_path / ".kube/config"), str(tmp_path / "my file")
    assert files_for("~/.kube/config", {}) == ([usual], 0)
    assert files_for("~/my file", {}) == ([other], 0)
    assert files_for("~/.kube/config", {"KUBECONFIG": other}) == ([other], 0)
    assert command(usual, "blue", {}) == "kubectl --context blue"
    assert command(other, "a b", {}) == f"kubectl --kubeconfig '{other}' --context 'a b'"
    assert command(other, "blue", {"KUBECONFIG": f"{usual}:{other}"}) == "kubectl --context blue"
    assert command(usual, "blue", {"KUBECONFIG": other}) == f"kubectl --kubeconfig {usual} --context blue"


@as_root
def test_with_sudo_the_line_says_whose_file_it_is(tmp_path: Path) -> None:
    path = written(tmp_path / "config", "")
    environment = {"SUDO_UID": str(NOBODY.pw_uid), "KUBECONFIG": str(path)}
    assert command(str(path), "blue", environment) == f"sudo kubectl --kubeconfig {path} --context blue"
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    assert command(str(path), "blue", environment) == f"kubectl --kubeconfig {path} --context blue"


# The file keeps what it was


def test_mode_and_link_stay(tmp_path: Path) -> None:
    real, link = written(tmp_path / "real", ""), tmp_path / "config"
    real.chmod(0o640)
    link.symlink_to("real")
    converge(link)
    assert link.readlink() == Path("real")
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert "kubernetes" in real.read_text()


@as_root
def test_owner_stays_when_root_writes(tmp_path: Path) -> None:
    path = written(tmp_path / "config", HEX)
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    converge(path)
    assert {(one.stat().st_uid, one.stat().st_gid) for one in tmp_path.iterdir()} == {(NOBODY.pw_uid, NOBODY.pw_gid)}


@as_root
def test_a_file_of_its_own_mount_is_written_in_place(tmp_path: Path) -> None:
    path, there = written(tmp_path / "config", HEX), written(tmp_path / "there", HEX)
    if subprocess.run(["mount", "--bind", there, path], check=False).returncode != 0:
        pytest.skip("may not mount")
    try:
        converge(path)
        assert not converge(path).changed
    finally:
        subprocess.run(["umount", path], check=True)
    assert "18371e12" in there.read_text()
    assert SERVER in there.read_text()
    assert path.read_text() == HEX


def test_the_lock_of_kubectl_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "config", HEX)
    lock = written(tmp_path / "config.lock", "")
    threading.Timer(0.3, lock.unlink).start()
    assert converge(path).changed
    assert not lock.exists()
    lock.touch()
    before = path.read_text()
    monkeypatch.setattr(kubeconfig, "SECONDS_FOR_THE_LOCK", 0.2)
    with pytest.raises(KubeconfigError, match=r"config\.lock is there.*remove it"):
        converge(path, "other", anew())
    assert path.read_text() == before
    assert lock.exists()


def test_two_runs_at_once_lose_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "config", HEX)
    admins = [replace(ADMIN, server=f"https://192.0.2.{number}:6443") for number in range(8)]
    threads = [threading.Thread(target=converge, args=(path, "kubernetes", admin)) for admin in admins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one["cluster"]["server"] for one in data_of(path)["clusters"]} > {admin.server for admin in admins}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("step", ["_sync", "_takes_its_place"])
def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = written(tmp_path / "config", HEX)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kubeconfig, "_back_up", lambda *_, **__: None)
    monkeypatch.setattr(kubeconfig, step, full)
    with pytest.raises(KubeconfigError, match="No space left"):
        converge(path)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == HEX


def test_check_mode_only_looks(tmp_path: Path) -> None:
    assert converge(tmp_path / "new/config", check=True).changed
    assert list(tmp_path.iterdir()) == []


# In somebody's home


def home_of_nobody(tmp_path: Path) -> pwd.struct_passwd:
    # pytest's directories are for their owner only.
    for one in (tmp_path, *list(tmp_path.parents)[:3]):
        if one.stat().st_uid == os.geteuid() and one != Path("/tmp"):  # noqa: S108 - pytest's own place
            one.chmod(0o711)
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    os.chown(home, NOBODY.pw_uid, NOBODY.pw_gid)
    return pwd.struct_passwd((NOBODY.pw_name, "x", NOBODY.pw_uid, NOBODY.pw_gid, "", str(home), "/bin/sh"))


def give(path: Path) -> Path:
    os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid, follow_symlinks=False)
    return path


def on_host(user: pwd.struct_passwd, admin: Admin = ADMIN) -> bool:
    return module.converge_user(user, "kubernetes", admin, "a copy of admin.conf\n", check=False)[1]


@as_root
@with_kubectl
def test_a_user_of_a_node_keeps_a_config_of_their_own(tmp_path: Path) -> None:
    user = home_of_nobody(tmp_path)
    assert on_host(user)
    assert not on_host(user)
    path = Path(user.pw_dir, ".kube/config")
    assert (path.stat().st_uid, path.parent.stat().st_uid) == (NOBODY.pw_uid, NOBODY.pw_uid)
    path.write_text(FOREIGN)
    assert on_host(user)
    assert not on_host(user)
    assert "../certs/ca.crt   # relative" in path.read_text()
    assert len(list(path.parent.iterdir())) == 2
    path.write_text("a copy of admin.conf\n")
    assert not on_host(user)


@as_root
@with_kubectl
def test_host_and_operator_are_one_writer(tmp_path: Path) -> None:
    user = home_of_nobody(tmp_path)
    path = Path(user.pw_dir, ".kube/config")
    path.parent.mkdir()
    give(path.parent)
    give(written(path, OTHER_KUBEADM))
    assert on_host(user)
    assert not converge(path).changed
    assert converge(path, admin=renewed()).changed
    assert not on_host(user)
    assert len(list(path.parent.iterdir())) == 2


def _linked_directory(kube: Path, outside: Path) -> None:
    kube.symlink_to(outside)
    give(kube)


def _linked_file(kube: Path, outside: Path) -> None:
    kube.mkdir()
    give(kube)
    (kube / "config").symlink_to(outside / "secret")


def _hard_link(kube: Path, outside: Path) -> None:
    kube.mkdir()
    give(kube)
    (kube / "config").hardlink_to(outside / "secret")


def _fifo(kube: Path, _outside: Path) -> None:
    kube.mkdir()
    give(kube)
    os.mkfifo(kube / "config")
    give(kube / "config")


def _of_root(kube: Path, _outside: Path) -> None:
    kube.mkdir(mode=0o755)


def _file(kube: Path, _outside: Path) -> None:
    give(written(kube, "a file"))


@as_root
@pytest.mark.parametrize("trap", [_linked_directory, _linked_file, _hard_link, _fifo, _of_root, _file])
def test_nothing_is_followed_out_of_a_home(tmp_path: Path, trap: Callable[[Path, Path], None]) -> None:
    user = home_of_nobody(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    written(outside / "secret", "root:secret").chmod(0o600)
    trap(Path(user.pw_dir, ".kube"), outside)
    before = [(one, one.lstat().st_mtime_ns) for one in (outside, outside / "secret")]
    with pytest.raises(homes.HomeError, match=r"\.kube") as told:
        on_host(user)
    assert "root:secret" not in str(told.value)
    if trap is _of_root:
        assert "belongs to root" in str(told.value)
    assert [(one, one.lstat().st_mtime_ns) for one in (outside, outside / "secret")] == before
    # Nor when root is the operator, with the home of somebody else.
    owner = homes.owner_of(f"{user.pw_dir}/.kube/config")
    assert owner is not None
    assert owner.pw_uid == NOBODY.pw_uid
    with pytest.raises(homes.HomeError):
        homes.as_user(owner, lambda: converge(Path(user.pw_dir, ".kube/config")).changed)
    assert [(one, one.lstat().st_mtime_ns) for one in (outside, outside / "secret")] == before


@as_root
def test_root_with_another_persons_home_writes_as_that_person(tmp_path: Path) -> None:
    path = Path(home_of_nobody(tmp_path).pw_dir, ".kube/config")
    owner = homes.owner_of(str(path))
    assert owner is not None
    assert homes.as_user(owner, lambda: converge(path).changed)
    assert {one.stat().st_uid for one in (path, path.parent)} == {NOBODY.pw_uid}
    assert homes.as_user(owner, lambda: converge(path).changed) is False


def test_a_path_of_root_only_is_written_as_root() -> None:
    assert homes.owner_of("/etc/kubernetes/somewhere/config") is None


@as_root
def test_as_user_gives_back_values_and_errors() -> None:
    assert homes.as_user(NOBODY, lambda: [os.geteuid(), os.getgroups() == [NOBODY.pw_gid]]) == [NOBODY.pw_uid, True]
    with pytest.raises(homes.HomeError, match="Permission denied"):
        homes.as_user(NOBODY, lambda: Path("/etc/shadow").read_text())


def test_admin_conf_as_kubeadm_writes_it() -> None:
    conf = yaml.safe_dump(
        {
            "clusters": [{"cluster": {"certificate-authority-data": CA, "server": SERVER}, "name": "kubernetes"}],
            "users": [{"name": "kubernetes-admin", "user": ADMIN.user()}],
        },
        width=100000,
    )
    assert kubeconfig.admin_of(conf, ADMIN.host) == ADMIN
    assert kubeconfig.admin_of(conf.replace("client-key-data", "client-key")) is None
