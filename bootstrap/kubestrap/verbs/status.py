"""`kubestrap status`: the nodes, their versions and the app's address; changes nothing."""

from kubestrap.model.verb import Verb

VERB = Verb(
    name="status",
    help="show nodes, versions and the app's address; changes nothing",
    examples="""\
examples:
  kubestrap status
  kubestrap status --output json | tail -n 1 | jq -r '.app_urls[]'""",
    judges_app=False,
    done="{ready} of {nodes} ready",
)
