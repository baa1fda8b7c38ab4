"""`kubestrap deploy`: the app alone, and why it does not answer when it does not."""

import json
from pathlib import Path

import pytest
import yaml

from tests.conftest import Hosts, Program
from tests.e2e.conftest import APP, IMAGE

DEPLOYMENT = yaml.safe_load((APP / "k8s/deployment.yaml").read_text())
SERVICE = yaml.safe_load((APP / "k8s/service.yaml").read_text())


def variant(
    directory: Path,
    name: str,
    *,
    image: str = IMAGE,
    target_port: int = 8080,
    selector: str | None = None,
    command: list[str] | None = None,
) -> Path:
    """Variables file for an app like the example's with one thing wrong."""
    deployment = yaml.safe_load(yaml.safe_dump(DEPLOYMENT))
    deployment["metadata"]["name"] = name
    deployment["spec"]["replicas"] = 1
    deployment["spec"]["selector"]["matchLabels"] = {"app": name}
    deployment["spec"]["template"]["metadata"]["labels"] = {"app": name}
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["image"] = image
    if command:
        container["command"] = command
    service = yaml.safe_load(yaml.safe_dump(SERVICE))
    service["metadata"]["name"] = name
    service["spec"]["selector"] = {"app": selector or name}
    service["spec"]["ports"][0]["targetPort"] = target_port
    manifest = directory / f"{name}.yaml"
    manifest.write_text(yaml.safe_dump_all([deployment, service]))
    variables = directory / f"{name}-variables.yml"
    variables.write_text(
        yaml.safe_dump(
            {
                "cluster_app_manifests": [str(manifest)],
                "cluster_app_images": [],
                "cluster_app_namespace": name,
                "cluster_app_timeout": 60,
            }
        )
    )
    return variables


@pytest.mark.parametrize(
    ("name", "wrong", "cause"),
    [
        ("missing-image", {"image": "never-built:1"}, "never-built:1"),
        ("crash", {"command": ["sh", "-c", "echo boom-from-the-app; exit 3"]}, "boom-from-the-app"),
        ("no-endpoints", {"selector": "somebody-else"}, "somebody-else"),
        ("wrong-port", {"target_port": 9999}, "9999"),
    ],
)
def test_cause_is_named(
    cluster: Hosts, program: Program, tmp_path: Path, name: str, wrong: dict[str, object], cause: str
) -> None:
    variables = variant(tmp_path, name, **wrong)  # type: ignore[arg-type]
    try:
        result = program.run("deploy", "-i", cluster.inventory, "-e", f"@{variables}", expect=7)
    finally:
        cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")
    assert cause in result.stdout + result.stderr


def test_bad_manifests_are_told_with_their_lines_and_change_nothing(
    cluster: Hosts, program: Program, tmp_path: Path
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


def test_second_deploy_changes_nothing(cluster: Hosts, program: Program) -> None:
    summary = program.run("deploy", "-i", cluster.inventory, "--output", "json").summary
    assert (summary["changed"], summary["failed"]) == (0, 0)
    assert summary["app_urls"]
