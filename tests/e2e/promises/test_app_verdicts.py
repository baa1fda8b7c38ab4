"""What `deploy` says of apps that are not what they seem: true in the good direction and in the bad one."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Hosts, Program
from tests.e2e.conftest import IMAGE

CLAIM = "verdicts that are true"


def template(name: str, script: str = "exec sleep 600", **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", script]}
    container.update(spec.pop("container", {}))
    pod = {"terminationGracePeriodSeconds": 0, "containers": [container], **spec}
    return {"metadata": {"labels": {"app": name}}, "spec": pod}


def workload(kind: str, name: str, script: str = "exec sleep 600", **spec: Any) -> dict[str, Any]:
    own = {"replicas": spec.pop("replicas")} if "replicas" in spec else {}
    made = {"selector": {"matchLabels": {"app": name}}, "template": template(name, script, **spec), **own}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": made}


def job(name: str, command: list[str]) -> dict[str, Any]:
    pod = template(name, restartPolicy="Never", container={"command": command})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": pod},
    }


def service(name: str, ports: list[dict[str, Any]], selector: dict[str, str] | None = None) -> dict[str, Any]:
    spec = {"type": "NodePort", "ports": ports, **({"selector": selector} if selector else {})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "closed"},
    "spec": {"podSelector": {}},
}
INGRESS = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "Ingress",
    "metadata": {"name": "door"},
    "spec": {"defaultBackend": {"service": {"name": "door", "port": {"number": 80}}}},
}
SETTINGS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}}

CASES = {
    "job-without-its-command": (
        [job("load", ["/no/such/program"])],
        7,
        ["of pod load-", "cannot start", "/no/such/program"],
    ),
    "job-that-fails": (
        [job("load", ["sh", "-c", "echo no rows to load; exit 3"])],
        7,
        ["Job load failed", "ended with exit code 3", "no rows to load"],
    ),
    "job-that-ends-well": ([job("load", ["true"])], 0, ["App  running"]),
    "daemonset-no-node-matches": (
        [workload("DaemonSet", "agent", nodeSelector={"disk": "ssd"})],
        7,
        ["DaemonSet agent runs nowhere: no node matches disk=ssd"],
    ),
    "replicas-zero": (
        [workload("Deployment", "zero", replicas=0), service("zero", [{"port": 80}], {"app": "zero"})],
        7,
        ["Deployment zero asks for 0 replicas"],
    ),
    "policy-and-ingress": (
        [POLICY, INGRESS],
        0,
        ["flannel enforces no NetworkPolicy", "nothing in this cluster serves Ingress"],
    ),
    "run-as-non-root": (
        [workload("Deployment", "nonroot", securityContext={"runAsNonRoot": True, "runAsUser": 0})],
        7,
        ["container's runAsUser breaks non-root policy"],
    ),
    "only-a-config-map": ([SETTINGS], 0, ["App  applied; nothing in it runs"]),
}


@pytest.fixture
def deploy(cluster: Hosts, program: Program, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Deploy objects into a namespace that is gone afterwards; return what was said."""

    def run(objects: list[dict[str, Any]], *, expect: int, timeout: int = 60) -> str:
        manifest = tmp_path / "app.yaml"
        manifest.write_text(yaml.safe_dump_all(objects))
        said = {
            "cluster_app_manifests": [str(manifest)],
            "cluster_app_namespace": "verdicts",
            "cluster_app_timeout": timeout,
        }
        return program.run("deploy", "-i", cluster.inventory, "-e", json.dumps(said), expect=expect).stdout

    yield run
    cluster.kubectl("delete", "namespace", "verdicts", "--ignore-not-found", "--wait=true")


@pytest.mark.parametrize(("objects", "code", "told"), CASES.values(), ids=CASES)
def test_verdict(
    deploy: Callable[..., str],
    objects: list[dict[str, Any]],
    code: int,
    told: list[str],
    measured: Callable[[str, str], None],
) -> None:
    said = deploy(objects, expect=code)
    for text in told:
        assert text in said, said
    measured(CLAIM, told[0])


REDIRECTS = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", "http://192.0.2.1:9999/login")
        self.end_headers()
http.server.HTTPServer(("", 9080), Handler).serve_forever()
"""
ACCEPTS = "import socket, time; s = socket.create_server(('', 9081)); time.sleep(300)"


@pytest.mark.proof
def test_redirect_and_port_without_http_are_answers(
    cluster: Hosts, deploy: Callable[..., str], measured: Callable[[str, str], None]
) -> None:
    where = "jsonpath={.status.addresses[?(@.type=='InternalIP')].address}"
    address = cluster.kubectl("get", "node", cluster.host("worker1"), "-o", where)
    objects = []
    for name, port, script in (("login", 9080, REDIRECTS), ("queue", 9081, ACCEPTS)):
        cluster.sh(
            "worker1", f"cat > /root/{name}.py <<'END'\n{script}\nEND\nsetsid python3 /root/{name}.py >/dev/null 2>&1 &"
        )
        ends = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address]}],
            "ports": [{"port": port}],
        }
        objects += [service(name, [{"port": 80}]), ends]
    try:
        said = deploy(objects, expect=0)
    finally:
        cluster.sh("worker1", "pkill -f /root/login.py; pkill -f /root/queue.py; rm /root/login.py /root/queue.py")
    assert "answers with HTTP 302 → http://192.0.2.1:9999/login" in said
    assert "accepts connections on TCP, but speaks no HTTP" in said
    measured(CLAIM, "a redirect and a port without HTTP are answers")


@pytest.mark.proof
def test_init_container_that_waits_for_ever_is_named_before_the_deadline(
    deploy: Callable[..., str], measured: Callable[[str, str], None]
) -> None:
    init = {
        "name": "wait-for-db",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", "while true; do echo no db yet; sleep 2; done"],
    }
    said = deploy([workload("Deployment", "shop", initContainers=[init])], expect=7, timeout=300)
    assert "waits for its init container wait-for-db" in said, said
    assert "no db yet" in said, said
    measured(CLAIM, "an init container that waits for ever, after 2 minutes of 5")
