#!/usr/bin/python
"""Documentation of the action of the same name, which runs on the operator's machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_report
short_description: Say what was found on all hosts of a play, and fail when anything of it blocks
description:
  - Reads what the role preflight has registered on every host. What several hosts have is said once, with the count.
  - Runs once for all hosts of the play, and takes no options.
version_added: 0.1.0
author: kubestrap contributors
options: {}
attributes:
  diff_mode: {description: Shows what it changes., support: none}
  check_mode:
    description: It changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Say what stands in the way
  kubestrap.cluster.preflight_report:
"""

RETURN = r"""
msg:
  description: The findings with their fixes, and how many of them block.
  returned: always
  type: str
"""
