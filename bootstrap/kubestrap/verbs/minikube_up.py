"""`kubestrap minikube up`: a cluster that minikube keeps on one machine, with the app of the inventory."""

from kubestrap.model.verb import Verb

VERB = Verb(
    name="minikube up",
    help="install and start minikube, deploy the app; a second run changes nothing",
    examples="""\
examples:
  kubestrap minikube up                  on the host of the group minikube
  kubestrap minikube up -e cluster_minikube_driver=none""",
    manifests=True,
    images=True,
    minikube=True,
    lock=True,
    next_step="Look around, on the host as the user minikube runs as: minikube status",
    app_again="minikube up",
)
