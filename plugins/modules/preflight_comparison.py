#!/usr/bin/python
"""Documentation of the action of the same name, which runs on the operator's machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_comparison
short_description: Compare the hosts of a play with each other
description:
  - Finds what only shows in comparison of what M(kubestrap.cluster.preflight) found out. Two hosts with one name or one
    machine ID, a node of another cluster, an even number of control planes, a virtual address that is taken.
  - Compares a cluster that lives with the inventory, so that nothing is asked for that it has fixed otherwise.
  - Runs once for all hosts of the play.
version_added: 0.1.0
author: kubestrap contributors
options:
  api_endpoint:
    description: C(name:port) of the Kubernetes API, when the user gives one.
    type: str
    default: ""
  required_hosts:
    description: All control planes, by their names in the inventory.
    type: list
    elements: str
    default: []
  inventory:
    description:
      - What the inventory says of what a living cluster has fixed. C(pod_cidr), C(service_cidr), C(dns_domain),
        C(cluster_name), C(kubernetes_version), C(pod_network). Empty leaves the living cluster out.
    type: dict
    default: {}
attributes:
  diff_mode: {description: Shows what it changes., support: none}
  check_mode:
    description: It changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Compare the hosts
  kubestrap.cluster.preflight_comparison:
    required_hosts: "{{ groups['control_plane'] }}"
  register: comparison
"""

RETURN = r"""
by_host:
  description: Findings in the form of M(kubestrap.cluster.preflight), by host; hosts without one are left out.
  returned: always
  type: dict
"""
