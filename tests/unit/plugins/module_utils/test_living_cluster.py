"""What a host says of the cluster it is in."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import living_cluster
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes import docker

# As kubeadm 1.36 writes it.
CLUSTER_CONFIGURATION = """\
apiServer:
  certSANs:
  - 10.0.0.11
apiVersion: kubeadm.k8s.io/v1beta4
clusterName: kubernetes
controlPlaneEndpoint: 10.0.0.11:6443
dns: {}
kind: ClusterConfiguration
kubernetesVersion: v1.36.4
networking:
  dnsDomain: cluster.local
  podSubnet: 10.244.0.0/16,fd00:10:244::/56
  serviceSubnet: "10.96.0.0/12"
"""
API_SERVER = """\
  annotations:
    kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: 10.0.0.11:6443
    - --advertise-address=10.0.0.11
    - --secure-port=6444
    - --service-cluster-ip-range=10.96.0.0/12
"""
CONTROLLER_MANAGER = "    - --cluster-cidr=10.244.0.0/16\n    - --cluster-name=kubernetes\n"


def test_what_kubeadm_has_fixed() -> None:
    found = living_cluster.fixed([{"data": {"ClusterConfiguration": CLUSTER_CONFIGURATION}}])
    assert found == {
        "pod_cidr": "10.244.0.0/16,fd00:10:244::/56",
        "service_cidr": "10.96.0.0/12",
        "dns_domain": "cluster.local",
        "cluster_name": "kubernetes",
        "endpoint": "10.0.0.11:6443",
        "version": "1.36.4",
    }
    assert living_cluster.fixed([]) == living_cluster.fixed([{"metadata": {}}]) == {}


def daemonset(namespace: str, name: str, path: str) -> dict[str, Any]:
    pod = {"spec": {"volumes": [{"name": "x", "hostPath": {"path": path}}, {"name": "y", "emptyDir": {}}]}}
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"template": pod}}


def test_who_connects_pods_is_known_by_what_it_does() -> None:
    ours = daemonset("kube-flannel", "kube-flannel-ds", "/etc/cni/net.d")
    ours["spec"]["template"]["spec"]["containers"] = [{"args": [living_cluster.OUR_ARGUMENT]}]
    assert living_cluster.networks([], [ours])["flannel_is_ours"]
    calico = daemonset("kube-system", "calico-node", "/etc/cni/net.d")
    proxy = daemonset("kube-system", "kube-proxy", "/lib/modules")
    assert living_cluster.networks([], [proxy, calico]) == {"networks": ["kube-system/calico-node"]}
    assert living_cluster.networks([], [proxy]) == {"networks": []}


def test_flannels_network_and_backend() -> None:
    flannel = daemonset("kube-flannel", "kube-flannel-ds", "/etc/cni/net.d")
    text = json.dumps({"Network": "10.50.0.0/16", "Backend": {"Type": "host-gw"}})
    found = living_cluster.networks([{"data": {"net-conf.json": text}}], [flannel])
    assert (found["flannel_cidr"], found["flannel_backend"]) == ("10.50.0.0/16", "host-gw")
    broken = living_cluster.networks([{"data": {"net-conf.json": "{"}}], [flannel])
    assert broken == {"networks": ["kube-flannel/kube-flannel-ds"]}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        *("KUBELET_CONF", "KUBELET_SETTINGS", "KUBELET_INSTANCE", "KUBELET_FLAGS"),
        *("MANIFESTS", "OURS"),
    ):
        monkeypatch.setattr(living_cluster, name, str(tmp_path / name.lower()))
    monkeypatch.setattr(docker, "CRI_DOCKERD_UNIT", str(tmp_path / "cri_dockerd_unit"))
    return tmp_path


def certificate(directory: Path, subject: str) -> bytes:
    path = directory / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        [*command, "-subj", subject, "-keyout", directory / "key.pem", "-out", path], check=True, capture_output=True
    )
    return path.read_bytes()


def test_name_of_the_node_is_that_of_its_certificate(files: Path) -> None:
    text = certificate(files, "/O=system:nodes/CN=system:node:worker1")
    rotating = files / "kubelet-client-current.pem"
    rotating.write_bytes(text + (files / "key.pem").read_bytes())
    conf = files / "kubelet_conf"
    conf.write_text(f"users:\n- user:\n    client-certificate: {rotating}\n    client-key: {rotating}\n")
    assert living_cluster.node_name() == "worker1"
    # kubeadm writes it so at first, and people keep it so.
    conf.write_text(f"    client-certificate-data: {base64.b64encode(text).decode()}\n")
    assert living_cluster.node_name() == "worker1"
    for nothing in ("", "client-certificate: /nowhere.pem\n", "client-certificate-data: AAAA\n"):
        conf.write_text(nothing)
        assert living_cluster.node_name() == ""


def test_files_of_a_control_plane(files: Path) -> None:
    (files / "manifests").mkdir()
    (files / "manifests/kube-apiserver.yaml").write_text(API_SERVER)
    (files / "manifests/kube-controller-manager.yaml").write_text(CONTROLLER_MANAGER)
    (files / "kubelet_settings").write_text("clusterDNS:\n- 10.96.0.10\nclusterDomain: cluster.local\n")
    (files / "kubelet_flags").write_text('KUBELET_KUBEADM_ARGS="--node-ip=10.0.0.11,fd00::1 --v=1"\n')
    found = living_cluster.look(is_control_plane=True, api_ready=False)
    assert found is not None
    assert found.pop("unanswered")
    assert found == {
        "answered": False,
        "made_by_hand": True,
        "own_cri_dockerd": False,
        "advertised": "10.0.0.11",
        "node_addresses": ["10.0.0.11", "fd00::1"],
        "port": 6444,
        "pod_cidr": "10.244.0.0/16",
        "service_cidr": "10.96.0.0/12",
        "cluster_name": "kubernetes",
        "dns_domain": "cluster.local",
    }


def test_bare_host_is_in_no_cluster_and_a_worker_says_what_it_knows(files: Path) -> None:
    assert living_cluster.look(is_control_plane=False, api_ready=False) is None
    (files / "kubelet_conf").write_text("")
    (files / "kubelet_flags").write_text('KUBELET_KUBEADM_ARGS="--node-ip=0.0.0.0 --hostname-override=blue"\n')
    (files / "ours").mkdir()
    found = living_cluster.look(is_control_plane=False, api_ready=False)
    assert found == {"name_flag": "blue", "made_by_hand": False, "own_cri_dockerd": False}


def test_cri_dockerd_of_the_persons_own(files: Path) -> None:
    (files / "kubelet_conf").write_text("")
    (files / "kubelet_instance").write_text("containerRuntimeEndpoint: unix:///run/cri-dockerd.sock\n")
    for unit, own in (
        (None, True),
        ("ExecStart=/usr/local/bin/cri-dockerd\n", True),
        ("/usr/local/lib/cri-dockerd/1", False),
    ):
        if unit:
            (files / "cri_dockerd_unit").write_text(unit)
        found = living_cluster.look(is_control_plane=False, api_ready=False)
        assert found is not None
        assert found["own_cri_dockerd"] is own


def test_init_that_did_not_get_to_its_end_has_fixed_nothing(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (files / "kubelet_conf").write_text("")
    monkeypatch.setattr(living_cluster.unfinished, "MARK", str(files / "mark"))
    living_cluster.unfinished.write(living_cluster.unfinished.Mark(what="init", node="cp1", address="10.0.0.11"))
    assert living_cluster.look(is_control_plane=False, api_ready=False) is None
