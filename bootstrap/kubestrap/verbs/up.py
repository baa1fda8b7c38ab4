"""`kubestrap up`: from the hosts as they are to the cluster and the app of the inventory."""

from kubestrap.model.verb import Verb

VERB = Verb(
    name="up",
    help="make or complete the cluster and deploy the app; a second run changes nothing",
    examples="""\
examples:
  kubestrap up
  kubestrap up -i prod.yml -e cluster_kubernetes_version=1.36.4
  kubestrap up -i prod.yml --limit worker9        one new worker; asks the control plane, looks at no other host
  kubestrap up -i prod.yml -e @mirror.yml --output json | tail -n 1 | jq .changed""",
    manifests=True,
    images=True,
    lock=True,
    asks_control_planes=True,
    next_step="Look around{where}: {kubectl} get nodes",
)
