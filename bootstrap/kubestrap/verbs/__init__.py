"""The verbs of the command line: one file each, and the list of them."""

from kubestrap.verbs import (
    check,
    deploy,
    image_push,
    init,
    lab,
    minikube_down,
    minikube_up,
    status,
    up,
)

ALL = (
    init.VERB,
    check.VERB,
    up.VERB,
    deploy.VERB,
    image_push.VERB,
    status.VERB,
    minikube_up.VERB,
    minikube_down.VERB,
    *lab.VERBS,
)
"""In the order of `kubestrap --help`."""

GROUPS = {
    "image": "work with images that no registry holds",
    "minikube": "a cluster that minikube keeps on one machine",
    "lab": "throw-away hosts on this machine",
}
"""What the first word of verbs of two words is about."""
