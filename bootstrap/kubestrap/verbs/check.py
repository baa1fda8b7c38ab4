"""`kubestrap check`: every precondition on every host at once; changes nothing."""

from kubestrap.model.verb import Verb

VERB = Verb(
    name="check",
    help="say what stands in the way of `up`, on all hosts at once; changes nothing",
    examples="""\
examples:
  kubestrap check
  kubestrap check -i prod.yml --limit workers
  kubestrap check --output json | tail -n 1 | jq .findings""",
    manifests=True,
    images=True,
    needs_control_plane=False,
    judges_hosts=True,
    variables=lambda _: {"__cluster_findings_are_shown": True},
    done="No blocker{warnings}: `kubestrap up` can start",
)
