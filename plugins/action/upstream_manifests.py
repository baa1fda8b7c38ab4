"""Action plugin upstream_manifests: what others publish for a cluster, checked, and fitted to this one as data."""

from __future__ import annotations

import concurrent.futures
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream import (
    flannel,
    local_path,
    metallb,
    metrics_server,
)
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.manifest import (
    Objects,
    Wishes,
    fetch,
    not_pinned,
)

FITTERS = {
    "flannel": flannel.fit,
    "local-path": local_path.fit,
    "metallb": metallb.fit,
    "metrics-server": metrics_server.fit,
}


class ActionModule(ActionBase):
    """Download on the operator's machine; nothing runs on the host."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "projects": {"type": "list", "elements": "str", "choices": sorted(FITTERS), "required": True},
                # Of each: manifest_url, with {file} in it when there are several, manifest_sha256 by file, and the
                # image_registry of its images.
                "sources": {"type": "dict", "required": True},
                "image_digests": {"type": "dict", "default": {}},
                "pod_cidr": {"type": "str", "default": ""},
                "api_endpoint": {"type": "str", "default": ""},
                "metallb_addresses": {"type": "list", "elements": "str", "default": []},
            }
        )
        sources = {project: arguments["sources"][project] for project in dict.fromkeys(arguments["projects"])}
        addresses = arguments["metallb_addresses"] if "metallb" in sources else []
        if "metallb" in sources and not addresses:
            raise AnsibleActionFail("metallb needs addresses to hand out: set cluster_metallb_addresses.")
        wanted = [
            (project, source["manifest_url"].replace("{file}", file), sha256)
            for project, source in sources.items()
            for file, sha256 in source["manifest_sha256"].items()
        ]
        with concurrent.futures.ThreadPoolExecutor(8) as pool_of_threads:
            fetched = list(pool_of_threads.map(lambda one: _fetch(*one), wanted))
        objects = []
        for project, source in sources.items():
            own = [obj for (name, _, _), found in zip(wanted, fetched, strict=True) if name == project for obj in found]
            wishes = Wishes(
                image_registry=source["image_registry"],
                image_digests=arguments["image_digests"],
                pod_cidr=arguments["pod_cidr"],
                api_endpoint=arguments["api_endpoint"],
            )
            objects += FITTERS[project](own, wishes)
        result = {"changed": False, "objects": objects, "pool": metallb.pool(addresses) if addresses else []}
        return {**result, **not_pinned(objects, arguments["image_digests"])}


def _fetch(project: str, url: str, sha256: str) -> Objects:
    return fetch(url, sha256, what=project, variable=f"cluster_{project.replace('-', '_')}_manifest_url")
