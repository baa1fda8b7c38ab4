#!/usr/bin/python
"""Documentation of the action of the same name, which runs on the operator's machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: upstream_manifests
short_description: Fit what others publish for a cluster to this one
description:
  - Downloads the manifests of projects on the operator's machine, checks them by SHA-256, and returns their objects
    with the addresses, images and networks of this cluster. Nothing runs on the host.
version_added: 0.1.0
author: kubestrap contributors
options:
  projects:
    description: The projects whose objects are wanted.
    type: list
    elements: str
    choices: [flannel, local-path, metallb, metrics-server]
    required: true
  sources:
    description: For each project, C(manifest_url) with C({file}) where there are several files, C(manifest_sha256) by
      file, and C(image_registry) for its images.
    type: dict
    required: true
  image_digests:
    description: SHA-256 that images have, by the name they are pulled by.
    type: dict
    default: {}
  pod_cidr: {description: Network of the pods., type: str, default: ""}
  api_endpoint: {description: "C(host:port) of the API; empty means its Service.", type: str, default: ""}
  metallb_addresses:
    description: Addresses that MetalLB hands out.
    type: list
    elements: str
    default: []
attributes:
  check_mode: {description: Changes nothing., support: full}
  diff_mode: {description: Changes nothing., support: none}
"""

EXAMPLES = r"""
- name: Have the objects of flannel
  kubestrap.cluster.upstream_manifests:
    projects: [flannel]
    sources:
      flannel:
        manifest_url: https://mirror.example.com/kube-flannel.yml
        manifest_sha256: {kube-flannel.yml: 0bd380eb4954227c903bdea96dc9254650badd2d45ebe31978a47c3ffe2e9727}
        image_registry: ""
    pod_cidr: 10.244.0.0/16
  register: flannel
"""

RETURN = r"""
objects: {description: The objects in the order they are applied., type: list, elements: dict, returned: always}
pool: {description: Objects that make MetalLB hand out its addresses., type: list, elements: dict, returned: always}
"""
