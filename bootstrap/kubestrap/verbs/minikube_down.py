"""`kubestrap minikube down`: delete the cluster; what was on the machine before stays."""

from kubestrap.model.verb import Verb

VERB = Verb(
    name="minikube down",
    help="delete minikube's cluster; Docker, images and packages stay",
    examples="""\
examples:
  kubestrap minikube down""",
    minikube=True,
    lock=True,
)
