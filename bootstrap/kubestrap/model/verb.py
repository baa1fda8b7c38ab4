"""What a verb of the command line is, as a value."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubestrap.model.cluster import Cluster
from kubestrap.model.run import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One verb. `kubestrap image push` is the verb `image push`, its playbook image_push.yml.

    Everything that differs between verbs is said here; nothing else knows a verb by name.
    """

    name: str
    help: str
    examples: str
    arguments: Callable[[argparse.ArgumentParser], None] | None = None
    """Adds flags of its own."""
    run: Callable[..., int] | None = None
    """Of a verb that works on no cluster: gets the flags, and a function that makes the adapters."""
    manifests: bool = False
    """Whether the app's manifests must be good before anything starts."""
    images: bool = False
    """Whether the app's images, or those named on the command line, must be there before anything starts."""
    minikube: bool = False
    """Whether it works on the one machine of the group minikube."""
    lock: bool = False
    """Whether it keeps other runs away from the cluster."""
    asks_control_planes: bool = False
    """Whether, limited to workers, it asks the control planes, which it leaves alone otherwise."""
    needs_control_plane: bool = True
    """Whether its work makes no sense without a control plane that can be reached."""
    judges_hosts: bool = False
    """Whether it only says what stands in the way: a lost host or a blocker is its result."""
    judges_app: bool = True
    """Whether an app that does not answer makes it fail."""
    refuse: Callable[[Request, Cluster, Callable[[], Mapping[str, str]]], str] | None = None
    """Says why there is nothing to do; empty when there is something. It may ask for the images in the manifests."""
    variables: Callable[[Request], Mapping[str, Any]] = field(default=lambda _: {})
    """What it tells its playbook."""
    done: str = ""
    """The sentence of a success; {warnings}, {ready} and {nodes} are filled in. Empty: what was changed."""
    next_step: str = ""
    """What a person does after success; {where} and {kubectl} are filled in."""
    app_again: str = "deploy"
    """The verb that brings the app when the cluster is up and the app is not."""

    @property
    def playbook(self) -> str:
        """Name of its playbook in the collection."""
        return self.name.replace(" ", "_")
