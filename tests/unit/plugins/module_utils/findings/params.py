"""What the module preflight is asked with, as far as a test does not ask otherwise."""

from typing import Any

PARAMS: dict[str, Any] = {
    "control_plane": False,
    "node_address": "",
    "control_plane_address": "",
    "pod_cidr": "10.244.0.0/16",
    "service_cidr": "10.96.0.0/12",
    "api_endpoint": "",
    "virtual_address": "",
    "systems": {"debian": ["12", "13"]},
    "sysctls": {"net.ipv4.ip_forward": 1},
    "pod_network": "flannel",
    "reference_time": 0,
}
