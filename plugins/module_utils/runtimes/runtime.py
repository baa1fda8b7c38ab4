"""Container runtimes: a row for each, with what the rest has to know of it. Its own settings are in its own module.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes import containerd, docker


class Runtime(NamedTuple):
    """A container runtime.

    Attributes:
        socket: Where kubelet, kubeadm and crictl find it on a host.
        units: Units of systemd that run it, for a person who looks why it does not answer.
        oldest: The first version that works.
        describe: Command that describes an image, C({name}), as JSON.
        load: Command that takes an archive of images from its standard input.
        bare_address: Whether it names the place where `kubectl exec` goes without a scheme.
    """

    socket: str
    units: str
    oldest: tuple[int, ...]
    describe: str
    load: str
    bare_address: bool = False

    @property
    def socket_file(self) -> str:
        """Return the name of the socket, by which it is known in settings and in what programs say."""
        return self.socket.rpartition("/")[2]


DEFAULT = "docker"
RUNTIMES = {
    "docker": Runtime(
        socket=docker.SOCKET,
        units="cri-docker.socket docker",
        oldest=docker.OLDEST,
        describe="docker image inspect {name}",
        load="docker load --quiet",
        bare_address=True,
    ),
    # kubelet sees what is in this namespace; crictl completes a name as kubelet does. What crictl itself says of the
    # configuration has no healthcheck. An ID is the digest of the configuration there.
    "containerd": Runtime(
        socket=containerd.SOCKET,
        units="containerd",
        oldest=containerd.OLDEST,
        describe=(
            "id=$(crictl inspecti --output go-template --template '{{{{.status.id}}}}' {name}) && "
            'ctr --namespace k8s.io content get "$id"'
        ),
        load="ctr --namespace k8s.io images import -",
    ),
}
ARGUMENT = {"type": "str", "default": DEFAULT, "choices": list(RUNTIMES)}
