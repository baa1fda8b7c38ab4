"""`kubestrap deploy`: the app alone, and why it does not answer when it does not."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Hosts, Program, Result
from tests.e2e.conftest import APP, IMAGE
from tests.e2e.verbs.test_up import get

# A program that is there at once; the example's image has a shell.
QUIET = ["sh", "-c", "exec sleep 600"]


class Wrong:
    """An app with one thing wrong, in a namespace of its own."""

    def __init__(self, name: str, *extra: dict[str, Any], timeout: int = 60, limit: str = "", **change: Any) -> None:
        """Change parts of the Deployment's pods, its container or the Service, or add objects."""
        self.name = name
        self.timeout = timeout
        self.limit = limit
        container = {
            "name": "web",
            "image": IMAGE,
            "imagePullPolicy": "Never",
            "command": QUIET,
            **change.pop("container", {}),
        }
        selector, target = change.pop("selector", {"app": name}), change.pop("target_port", 8080)
        spec = {"terminationGracePeriodSeconds": 0, "containers": [container], **change}
        template = {"metadata": {"labels": {"app": name}}, "spec": spec}
        self.objects: list[dict[str, Any]] = [
            *extra,
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name},
                "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name},
                "spec": {"type": "NodePort", "selector": selector, "ports": [{"port": 80, "targetPort": target}]},
            },
        ]

    def everywhere(self) -> "Wrong":
        """Run a pod on every node, control planes too."""
        workload = self.objects[-2]
        workload["kind"] = "DaemonSet"
        workload["spec"]["template"]["spec"]["tolerations"] = [{"operator": "Exists"}]
        return self

    def deploy(self, hosts: Hosts, program: Program, directory: Path, *, expect: int) -> Result:
        """Deploy it."""
        manifest = directory / f"{self.name}.yaml"
        manifest.write_text(yaml.safe_dump_all(self.objects))
        variables = {
            "cluster_app_manifests": [str(manifest)],
            "cluster_app_namespace": self.name,
            "cluster_app_timeout": self.timeout,
        }
        limit = ["--limit", ",".join(map(hosts.host, self.limit.split(",")))] if self.limit else []
        extra = ["-e", json.dumps(variables), *limit, "--output", "json"]
        return program.run("deploy", "-i", hosts.inventory, *extra, expect=expect)


def shell(script: str) -> dict[str, Any]:
    """A container that runs a script."""
    return {"command": ["sh", "-c", script]}


def pulled(image: str) -> dict[str, Any]:
    """A container whose image is meant to come from a registry."""
    return {"image": image, "imagePullPolicy": "IfNotPresent"}


def claim(name: str, storage_class: str) -> dict[str, Any]:
    """A claim for a volume."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {**spec, "storageClassName": storage_class},
    }


def mounting(name: str) -> list[dict[str, Any]]:
    """A pod's volumes: one claim."""
    return [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]


QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}, "spec": {"hard": {"pods": "0"}}}
TOO_MUCH = {"resources": {"requests": {"memory": "900Gi"}}}
UNREADY = {"exec": {"command": ["sh", "-c", "echo still warming up; exit 1"]}, "periodSeconds": 1}
READY = {"exec": {"command": ["true"]}, "periodSeconds": 1}
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


# What it proves, the app, and what the verdict says: the first of it in its first line.
CASES = [
    (
        "wrong image name",
        Wrong("no-such-image", container=pulled("{registry}/never-built:1")),
        ["The registry has no image", "/never-built:1"],
    ),
    (
        "wrong image name",
        Wrong("no-registry", container=pulled("registry.invalid/shop:1"), timeout=10),
        ["registry.invalid/shop:1 cannot be pulled on node", "worker1"],
    ),
    (
        "wrong image name",
        Wrong("no-name", container=pulled("Shop:1")),
        ["Shop:1 cannot be the name of an image", "lowercase"],
    ),
    (
        "crash loop",
        Wrong("crash", container=shell("echo boom-from-the-app; exit 3")),
        ["Container web of pod crash-", "exit code 3", "boom-from-the-app"],
    ),
    (
        "failing readiness probe",
        Wrong("unready", container={"readinessProbe": UNREADY}, timeout=12),
        ["its readiness probe fails: still warming up", "every 1 s"],
    ),
    (
        "no endpoints",
        Wrong("no-endpoints", selector={"app": "somebody-else"}),
        ["its selector app=somebody-else matches no pod", "the app's pods have app=no-endpoints"],
    ),
    (
        "port without a listener",
        Wrong("wrong-port", container={"readinessProbe": READY}, target_port=9999),
        ["Nothing listens on port 9999"],
    ),
    (
        "unschedulable",
        Wrong("too-big", container=TOO_MUCH),
        ["worker1 has ", "of memory", "the pod asks for 900Gi"],
    ),
    (
        "unschedulable",
        Wrong("tainted", nodeSelector={CONTROL_PLANE: ""}),
        [f"cp1 has the taint {CONTROL_PLANE}:NoSchedule", f"worker1 lacks the label {CONTROL_PLANE}="],
    ),
    (
        "pending volume",
        Wrong("no-claim", volumes=mounting("nobody-made-it")),
        ["waits for PersistentVolumeClaim nobody-made-it, and there is no such claim in namespace no-claim"],
    ),
    (
        "pending volume",
        Wrong("no-class", claim("data", "imaginary"), volumes=mounting("data")),
        ["waits for PersistentVolumeClaim data, whose StorageClass imaginary does not exist"],
    ),
    (
        "namespace quota",
        Wrong("no-quota", QUOTA, timeout=15),
        ["The quota tight of namespace no-quota allows no more pods of Deployment no-quota", "limited: pods=0"],
    ),
]


@pytest.fixture(scope="module")
def registry(cluster: Hosts) -> str:
    """A registry that answers, and does not hold the app."""
    of_kubeadm = cluster.kubectl("get", "configmap", "kubeadm-config", "-n", "kube-system", "-o", "yaml")
    return str(yaml.safe_load(yaml.safe_load(of_kubeadm)["data"]["ClusterConfiguration"])["imageRepository"])


@pytest.mark.parametrize(("claimed", "wrong", "causes"), CASES, ids=[wrong.name for _, wrong, _ in CASES])
def test_cause_is_named_first(
    cluster: Hosts,
    program: Program,
    tmp_path: Path,
    measured: Callable[[str, str], None],
    registry: str,
    claimed: str,
    wrong: Wrong,
    causes: list[str],
) -> None:
    container = wrong.objects[-2]["spec"]["template"]["spec"]["containers"][0]
    container["image"] = container["image"].format(registry=registry)
    try:
        result = wrong.deploy(cluster, program, tmp_path, expect=7)
    finally:
        cluster.kubectl("delete", "namespace", wrong.name, "--ignore-not-found", "--wait=false")
    verdict = result.summary["app"]
    assert all(cause in verdict["cause"] for cause in causes[:1]), verdict
    assert all(cause in "\n".join([verdict["cause"], *verdict["evidence"]]) for cause in causes), verdict
    measured(claimed, f"{verdict['cause']} ({result.seconds:.0f} s)")


def test_image_that_one_node_lacks_is_told_with_the_node(
    cluster: Hosts, program: Program, tmp_path: Path, measured: Callable[[str, str], None]
) -> None:
    name = "kubestrap-e2e-lacking:1"
    # As when a node was out of reach while the others got the image.
    wrong = Wrong("lacking", container={"image": name}, limit="cp1").everywhere()
    subprocess.run(["docker", "tag", IMAGE, name], check=True)
    try:
        result = wrong.deploy(cluster, program, tmp_path, expect=7)
    finally:
        cluster.kubectl("delete", "namespace", wrong.name, "--ignore-not-found", "--wait=false")
        subprocess.run(["docker", "rmi", name], check=True, stdout=subprocess.DEVNULL)
        cluster.sh("cp1", f"docker rmi -f {name}")
    cause = result.summary["app"]["cause"]
    assert cause == f"Image {name} is not on node {cluster.host('worker1')}, and its imagePullPolicy is Never."
    measured("image missing on one node", f"{cause} ({result.seconds:.0f} s)")


def test_version_before_serves_while_the_new_one_crashes(cluster: Hosts, program: Program, tmp_path: Path) -> None:
    deployment = yaml.safe_load((APP / "k8s/deployment.yaml").read_text())
    deployment["spec"]["template"]["spec"]["containers"][0].update(shell("echo boom; exit 3"))
    (tmp_path / "deployment.yaml").write_text(yaml.safe_dump(deployment))
    (tmp_path / "service.yaml").write_text((APP / "k8s/service.yaml").read_text())
    broken = ("-e", json.dumps({"cluster_app_manifests": [str(tmp_path)]}))
    try:
        verdict = program.run("deploy", "-i", cluster.inventory, *broken, "--output", "json", expect=7).summary
        answers = [get(url) for url in verdict["app_urls"]]
    finally:
        # Pods of the broken version that are still there say nothing about this one.
        program.run("deploy", "-i", cluster.inventory)
    assert answers
    assert set(answers) == {200}
    assert "exit code 3" in verdict["app"]["cause"]
    assert (
        "The version before still serves: Deployment springboot-kotlin-app, 2 of 2 replicas."
        in (verdict["app"]["evidence"])
    )


def test_bad_manifests_are_told_with_their_lines_and_change_nothing(
    cluster: Hosts, program: Program, tmp_path: Path, measured: Callable[[str, str], None]
) -> None:
    (tmp_path / "good.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n")
    (tmp_path / "web.yaml").write_text("""\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: many
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: web:1
          env: [{name: A, value: a}]
          imagePullPolice: Always
""")
    (tmp_path / "claim.yaml").write_text("""\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources:
    requests:
      storage: 12Mb
""")
    variables = {"cluster_app_manifests": [str(tmp_path)], "cluster_app_namespace": "bad"}
    result = program.run("deploy", "-i", cluster.inventory, "-e", json.dumps(variables), "--output", "json", expect=7)
    told = [result.summary["app"]["cause"], *result.summary["app"]["evidence"]]
    assert [line.partition(f"{tmp_path}/")[2].split(": ")[:2] for line in told[:3]] == [
        ["claim.yaml:8", "spec.resources.requests.storage"],
        ["web.yaml:5", "spec.replicas"],
        ["web.yaml:14", "spec.template.spec.containers[0].imagePullPolice"],
    ]
    assert "bad" not in cluster.kubectl("get", "namespaces", "-o", "name").replace("/", " ").split()
    measured("bad manifest", f"{told[1].partition(f'{tmp_path}/')[2]} ({result.seconds:.0f} s, nothing applied)")


def test_second_deploy_changes_nothing(cluster: Hosts, program: Program) -> None:
    summary = program.run("deploy", "-i", cluster.inventory, "--output", "json").summary
    assert (summary["changed"], summary["failed"]) == (0, 0)
    assert summary["app_urls"]
