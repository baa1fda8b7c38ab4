#!/usr/bin/python
"""Ansible module manifests."""

from __future__ import annotations

DOCUMENTATION = r"""
module: manifests
short_description: Read Kubernetes manifests
description:
  - Reads files and directories on the operator's machine. Changes nothing.
author: kubestrap contributors
options:
  paths:
    description: Files, or directories whose C(*.yaml) and C(*.yml) are read in the order of their names.
    type: list
    elements: str
    required: true
  base:
    description: Directory at which relative paths start.
    type: str
    default: "."
requirements: [PyYAML, which ansible-core brings along]
"""

EXAMPLES = r"""
- name: Read the manifests
  kubestrap.cluster.manifests:
    paths: [k8s]
    base: "{{ inventory_dir }}"
  delegate_to: localhost
"""

RETURN = r"""
objects:
  description: The objects, in the order in which they were read.
  returned: success
  type: list
  elements: dict
sources:
  description: For each object, its C(file) and the C(lines) of its fields by their paths.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils.manifests import ManifestError, files, read


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "str", "required": True},
            "base": {"type": "str", "default": "."},
        },
        supports_check_mode=True,
    )
    try:
        found = [one for path in files(module.params["paths"], module.params["base"]) for one in read(path)]
    except ManifestError as error:
        module.fail_json(msg=str(error))
    if not found:
        module.fail_json(msg=f"The manifests hold no Kubernetes object: {', '.join(module.params['paths'])}.")
    module.exit_json(changed=False, objects=[one.obj for one in found], sources=[one.source for one in found])


if __name__ == "__main__":
    main()
