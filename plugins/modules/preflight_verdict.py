#!/usr/bin/python
"""Documentation of the action of the same name, which runs on the operator's machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_verdict
short_description: Stop a host that cannot become a node
description:
  - Adds what only shows in comparison, as M(kubestrap.cluster.preflight_comparison) tells it, to the findings of
    M(kubestrap.cluster.preflight), and fails when anything blocks.
version_added: 0.1.0
author: kubestrap contributors
options:
  findings:
    description: What M(kubestrap.cluster.preflight) found on this host.
    type: list
    elements: dict
    required: true
  compared:
    description: What M(kubestrap.cluster.preflight_comparison) found on this host.
    type: list
    elements: dict
    default: []
  load_balancer_addresses:
    description: Ranges (FIRST-LAST) and networks that are to be handed out, which no host may have.
    type: list
    elements: str
    default: []
  accepted_findings:
    description: IDs of blockers the user accepts; they become warnings.
    type: list
    elements: str
    default: []
  stop:
    description: Whether to fail when anything blocks.
    type: bool
    default: true
attributes:
  diff_mode: {description: Shows what it changes., support: none}
  check_mode:
    description: It changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Stop here if anything blocks
  kubestrap.cluster.preflight_verdict:
    findings: "{{ look.findings }}"
"""

RETURN = r"""
findings:
  description: What the comparison adds, in the form of M(kubestrap.cluster.preflight).
  returned: always
  type: list
  elements: dict
"""
