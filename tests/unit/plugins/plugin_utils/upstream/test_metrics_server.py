"""metrics-server's manifest fitted to a cluster."""

from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.manifest import Wishes
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.metrics_server import fit

from tests.unit.plugins.plugin_utils.upstream.objects import workload


def test_kustomizations_are_followed() -> None:
    service = {"kind": "Service", "metadata": {"name": "main"}, "spec": {"ports": []}}
    kustomizations = [
        {"kind": "Kustomization", "commonLabels": {"k8s-app": "metrics-server"}},
        {
            "kind": "Component",
            "images": [{"name": "staging.example/m", "newName": "registry.k8s.io/ms/m", "newTag": "v9"}],
        },
    ]
    objects = [workload("Deployment", "staging.example/m:master"), service, *kustomizations]
    deployment, service = fit(objects, Wishes("mirror.example:5000", {}))
    assert deployment["spec"]["selector"]["matchLabels"] == {"k8s-app": "metrics-server"}
    assert deployment["spec"]["template"]["metadata"]["labels"] == {"k8s-app": "metrics-server"}
    assert service["spec"]["selector"] == {"k8s-app": "metrics-server"}
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "mirror.example:5000/ms/m:v9"
    assert container["args"] == ["--port=1", "--kubelet-insecure-tls"]
