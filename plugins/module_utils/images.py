"""Images: what their names are made of, when a name means two of them, and when two are the same by what is in them.

Runs on the hosts and on the operator's machine: standard library only, Python 3.9.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# What the configuration of an image may say about the containers made from it: OCI's image-spec (config.md), and what
# Docker adds (healthcheck, and the two that only a build reads). What else Docker shows there is left over from the
# container of the build, and some versions hide it.
SETTINGS = (
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "Healthcheck",
    "OnBuild",
    "Shell",
)
Content = dict[str, Any]
# What registries and runtimes say of an image that is not there.
NO_IMAGE = re.compile(r"manifest unknown|name unknown|not found|not known to registry", re.IGNORECASE)
# How many nodes and pods a finding names.
NAMED = 5


class Reference(NamedTuple):
    """What the name of an image is made of, as every runtime completes it.

    Attributes:
        registry: `docker.io` when the name has none.
        repository: Where it is in the registry.
        tag: Empty when the name has none.
        digest: `sha256:` and 64 digits; empty when the name has none.
    """

    registry: str
    repository: str
    tag: str
    digest: str

    def tagged(self) -> Reference:
        """Return what is asked for by tag: `latest` when neither tag nor digest is named."""
        return self if self.tag or self.digest else self._replace(tag="latest")

    def place(self) -> tuple[str, str]:
        """Return registry and repository."""
        return self.registry, self.repository


def reference(name: str) -> Reference:
    """Split the name of an image, by the rules of Docker and containerd (`distribution/reference`).

    The first part is a registry when it has a dot or a port, or is `localhost`; else the registry is Docker's, where
    names of one part are in `library`.
    """
    rest, _, digest = name.partition("@")
    path, slash, last = rest.rpartition("/")
    last, _, tag = last.partition(":")
    registry, inside, repository = f"{path}{slash}{last}".partition("/")
    if not inside or not ("." in registry or ":" in registry or registry == "localhost"):
        registry, repository = "docker.io", f"{path}{slash}{last}"
    if registry in ("docker.io", "index.docker.io"):
        registry, repository = "docker.io", repository if "/" in repository else f"library/{repository}"
    return Reference(registry, repository, tag, digest)


def with_tag(name: str) -> str:
    """Return the name with the tag that Docker takes when there is none; what is named by digest stays as it is."""
    asked = reference(name)
    return name if asked.tag or asked.digest else f"{name}:latest"


def suffix(asked: Reference) -> str:
    """Return what stands behind the repository in an image's name."""
    return f"{asked.tag and ':'}{asked.tag}{asked.digest and '@'}{asked.digest}"


def pinned(name: str, digests: Mapping[str, str]) -> str:
    """Return the name with the digest that is demanded of it; as it is when it has one or none is demanded.

    Args:
        name: Name of an image, with a tag.
        digests: Digest by name with tag.
    """
    asked = reference(name).tagged()
    demanded = {reference(key).tagged(): digest for key, digest in digests.items()}
    return f"{name}@{demanded[asked]}" if asked in demanded else name


def passed_over(names: Iterable[str], digests: Mapping[str, str]) -> list[Finding]:
    """Return findings about images that are not pinned, although another tag of theirs is."""
    pins = {reference(key).place(): key for key in digests}
    return [
        warning(
            "image-not-pinned",
            f"cluster_image_digests has a digest for {pins[asked.place()]}, but the image that is used is "
            f"{name}: whatever the registry has under that tag.",
            f"Put {name} into cluster_image_digests, with its digest, in place of {pins[asked.place()]}.",
        )
        for name in dict.fromkeys(names)
        for asked in [reference(name)]
        if not asked.digest and asked.place() in pins
    ]


def _digest(image_id: str, asked: Reference) -> str:
    """Return the digest under which a registry gave an image to a node, empty when its kubelet does not say.

    A kubelet tells the digest of the manifest with the repository it is from, or, of an image that came from no
    registry, that of the configuration alone (`sha256:…`). The two cannot be compared, and the digests under which two
    registries have an image may differ. cri-dockerd writes `docker-pullable://` and `docker://` before.
    """
    said = reference(image_id.rpartition("://")[2])
    return said.digest if said.place() == asked.place() else ""


def moved(pods: Iterable[dict[str, Any]]) -> Iterator[Finding]:
    """Yield a finding for each image that pods name by tag, and that is not the same in all of them.

    Args:
        pods: Pods of the whole cluster.
    """
    seen: dict[Reference, dict[str, list[str]]] = {}
    names: dict[Reference, str] = {}
    for pod in pods:
        status = pod.get("status") or {}
        if status.get("phase") != "Running" or "deletionTimestamp" in pod["metadata"]:
            continue
        spec = pod["spec"]
        asked_for = {one["name"]: one for one in [*(spec.get("initContainers") or []), *spec["containers"]]}
        for one in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            container = asked_for.get(one["name"]) or {"image": "", "imagePullPolicy": "Never"}
            asked = reference(container["image"]).tagged()
            digest = _digest(one.get("imageID") or "", asked)
            # No registry is meant for those that are never pulled, and the runtime itself keeps to a digest.
            if digest and not asked.digest and container.get("imagePullPolicy") != "Never":
                pod_name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                seen.setdefault(asked, {}).setdefault(digest, []).append(f"{spec.get('nodeName')} ({pod_name})")
                names.setdefault(asked, container["image"])
    for asked, places in seen.items():
        if len(places) > 1:
            told = "; ".join(f"{digest} on {_listed(sorted(set(where)))}" for digest, where in sorted(places.items()))
            yield warning(
                "image-tag-moved",
                f"{names[asked]} is not one image in this cluster: {told}. Under this tag the registry, or "
                "a mirror, gave one image to some nodes and another to others.",
                f"Find out which is meant, and name it by digest: `image: {names[asked]}@sha256:…` in your "
                "manifest; for the images of flannel and of add-ons, an entry in cluster_image_digests. Or give the "
                "newer one a tag of its own. Then the pods that run the other are replaced.",
            )


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def unserved(pod: dict[str, Any], said: str) -> str:
    """Return what to do about a digest that the registry does not have, empty when it is not that.

    Args:
        pod: A pod that does not start.
        said: What its kubelet says about it.
    """
    status, spec = pod.get("status") or {}, pod["spec"]
    images = {one["name"]: one["image"] for one in [*(spec.get("initContainers") or []), *spec["containers"]]}
    for one in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (one.get("state") or {}).get("waiting") or {}
        image = images.get(one["name"], "")
        text = f"{waiting.get('message', '')} {said}".replace(image, "")
        if waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff") and NO_IMAGE.search(text):
            return unserved_digest(image) if reference(image).digest else ""
    return ""


def unserved_digest(image: str) -> str:
    """Return what it means that a registry does not have an image which is named by digest."""
    asked = reference(image)
    return (
        f"It is asked for by its digest, and {asked.registry} has no image with this one: the tag was moved and the "
        "image taken away, or the registry has another build. Find out why before you take another digest into "
        "cluster_image_digests or your manifest."
    )


def content(description: dict[str, Any]) -> Content:
    """Return what makes two images the same.

    IDs do not: that of one image differs between Docker's two stores of images.

    Args:
        description: What `docker image inspect` says of an image, or the image's own configuration.
    """
    config = description.get("Config") or description.get("config") or {}
    health = config.get("Healthcheck") or {}
    settings = {**config, "Healthcheck": {key: value for key, value in health.items() if value}}
    layers = (description.get("RootFS") or {}).get("Layers") or (description.get("rootfs") or {}).get("diff_ids")
    return {
        "created": _moment(description.get("Created") or description.get("created") or ""),
        # Docker fills in an operating system that the image does not name.
        "platform": [
            description.get("Os") or description.get("os") or "linux",
            description.get("Architecture") or description.get("architecture") or "",
            description.get("Variant") or description.get("variant") or "",
        ],
        "layers": layers or [],
        # Programs differ in how they write that there is nothing: left out, null, empty.
        "config": {key: settings[key] for key in SETTINGS if settings.get(key)},
    }


def differences(one: Content, other: Content) -> list[str]:
    """Return the names of what differs between two contents."""
    names = [key for key in one if key != "config" and one[key] != other[key]]
    return names + [key for key in SETTINGS if one["config"].get(key) != other["config"].get(key)]


def _moment(text: str) -> str:
    """Return a time as Go prints it: no zeros at the end of its fraction; nothing for the year one."""
    moment = re.sub(r"(\.\d*?)0+(?=\D|$)", r"\1", text).replace(".Z", "Z").replace(".+", "+").replace(".-", "-")
    return "" if moment == "0001-01-01T00:00:00Z" else moment
