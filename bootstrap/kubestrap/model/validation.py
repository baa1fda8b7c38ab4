"""What makes an inventory impossible: every mistake at once, each with its place and its fix."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from typing import Any
from urllib.parse import quote

from kubestrap.model.cluster import CONTROL_PLANE_GROUP, MINIKUBE_GROUP, WORKERS_GROUP, Inventory
from kubestrap.model.variables import Declaration, is_template, name_problem, value_problem
from kubestrap.model.versions import version_problem

NODE_PREFIX = 24
"""Every node gets this share of the pods' network."""

MOST_PATIENCE = 20

_LAST_PORT = 65535
_LONG = 300
_POOL = "cluster_metallb_addresses"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
_REGISTRY = rf"{_HOST}(:[0-9]{{1,5}})?"
_URL = re.compile(rf"https?://({_HOST}|\[[0-9A-Fa-f:]+\])(?::(?P<port>[0-9]{{1,5}}))?(/[^\s\"'\\]*)?")
# The parts of an image's name as registries have them (the distribution specification of OCI).
_IMAGE_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_SYSCTL = re.compile(r"[a-z0-9_]+(\.[A-Za-z0-9_-]+)+")
_BOOLEANS = frozenset(("true", "false", "yes", "no", "on", "off"))
_DOCKER_LISTS = frozenset(("exec-opts", "registry-mirrors", "insecure-registries", "hosts"))
_GROUPS = (CONTROL_PLANE_GROUP, WORKERS_GROUP)
_VIRTUAL_ADDRESS = "cluster_api_virtual_address"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in an inventory."""

    text: str
    variable: str | None = None
    hosts: tuple[str, ...] = ()


def validate(inventory: Inventory, declaration: Declaration) -> tuple[Problem, ...]:
    """Return every mistake; an empty result means the inventory can be used."""
    return (
        *_group_problems(inventory),
        *_place_problems(inventory),
        *_variable_problems(inventory, declaration),
        *_network_problems(inventory, declaration),
        *_api_problems(inventory, declaration),
        *_load_balancer_problems(inventory, declaration),
    )


def validate_minikube(inventory: Inventory, declaration: Declaration) -> tuple[Problem, ...]:
    """Return every mistake of an inventory for minikube, which needs no other group than its own."""
    return (
        *_minikube_group_problems(inventory),
        *_variable_problems(inventory, declaration, (MINIKUBE_GROUP,)),
        *_minikube_image_problems(inventory, declaration),
    )


def _minikube_group_problems(inventory: Inventory) -> Iterator[Problem]:
    hosts = inventory.groups.get(MINIKUBE_GROUP, ())
    if not hosts:
        close = get_close_matches(MINIKUBE_GROUP, inventory.groups, n=1, cutoff=0.75)
        hint = f"; did you mean {MINIKUBE_GROUP} where it says {close[0]}?" if close else ""
        example = f"{MINIKUBE_GROUP}: {{hosts: {{localhost: {{ansible_connection: local}}}}}}"
        yield Problem(text=f"the group {MINIKUBE_GROUP} has no host; minikube needs one, such as {example}{hint}")
    if len(hosts) > 1:
        text = f"minikube runs on one machine; leave one of these in the group {MINIKUBE_GROUP}"
        yield Problem(text=text, hosts=tuple(hosts))


def _minikube_image_problems(inventory: Inventory, declaration: Declaration) -> Iterator[Problem]:
    for host in inventory.groups.get(MINIKUBE_GROUP, ()):
        values = inventory.variables.get(host, {})
        driver = values.get("cluster_minikube_driver", declaration.default("cluster_minikube_driver"))
        images = values.get("cluster_app_images", ())
        archives = [name for name in images if str(name).endswith(".tar")] if isinstance(images, list) else []
        if archives and driver == "docker":
            text = f"minikube with the driver docker takes images by name, not {archives[0]}; `docker load` it first"
            yield Problem(text=text, variable="cluster_app_images")


def _members(inventory: Inventory, groups: Sequence[str] = _GROUPS) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in inventory.groups.get(group, ())))


def _group_problems(inventory: Inventory) -> Iterator[Problem]:
    control_planes = inventory.groups.get(CONTROL_PLANE_GROUP, ())
    workers = inventory.groups.get(WORKERS_GROUP, ())
    if not inventory.variables and not control_planes and not workers:
        yield Problem(text="the inventory has no hosts; `kubestrap init` writes one to start from")
        return
    for group in inventory.groups:
        close = get_close_matches(group, _GROUPS, n=1, cutoff=0.75)
        if group not in _GROUPS and close and not inventory.groups.get(close[0]):
            yield Problem(text=f"the group {group} has no meaning here; did you mean {close[0]}?")
    if not control_planes:
        yield Problem(text=f"the group {CONTROL_PLANE_GROUP} has no host; a cluster needs one control plane")
    for name in sorted(set(control_planes) & set(workers)):
        yield Problem(
            text=f"is in {CONTROL_PLANE_GROUP} and in {WORKERS_GROUP}; a host belongs to one of them", hosts=(name,)
        )
    places = defaultdict(list)
    for name in _members(inventory):
        values = inventory.variables.get(name, {})
        if values.get("ansible_connection") == "local" or is_template(values.get("ansible_host", "")):
            continue
        places[str(values.get("ansible_host", name)), str(values.get("ansible_port", 22))].append(name)
    for (address, port), names in places.items():
        if len(names) > 1:
            text = f"are the same machine ({address}, port {port}); every host needs an ansible_host of its own"
            yield Problem(text=text, hosts=tuple(names))


def _place_problems(inventory: Inventory) -> Iterator[Problem]:
    """Where ssh is to go: it takes what begins with a dash for an option, which can be a command."""
    for host in _members(inventory):
        values = inventory.variables.get(host, {})
        if values.get("ansible_connection") == "local":
            continue
        for variable in ("ansible_host", "ansible_ssh_host", None):
            address = values.get(variable) if variable else host
            if not is_template(address) and re.match(r"-|\Z|.*[\s\x00-\x1f\x7f]", str(address), re.DOTALL):
                text = f"{variable or 'the name of the host'} is {address!r}, which is no name and no address"
                yield Problem(text=_short(_without_logins(text)), variable=variable, hosts=(host,))
        port = values.get("ansible_port")
        if port is not None and not is_template(port) and not _is_port(str(port)):
            text = f"ansible_port is {port!r}, but must be a number from 1 to {_LAST_PORT}"
            yield Problem(text=_short(_without_logins(text)), variable="ansible_port", hosts=(host,))


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and 0 < int(text) <= _LAST_PORT


def _variable_problems(
    inventory: Inventory, declaration: Declaration, groups: Sequence[str] = _GROUPS
) -> Iterator[Problem]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    everyone = _members(inventory, groups) or list(inventory.variables)
    for host in everyone:
        for name, value in inventory.variables.get(host, {}).items():
            if name in declaration.variables:
                variable = declaration.variables[name]
                problem = value_problem(value, variable)
                if problem is None and not is_template(value):
                    rule = _RULES.get(name)
                    problem = rule(value) if rule else _finding_problem(name, value, declaration)
                if problem:
                    found[name, f"{name} {problem}"].append(host)
            elif name in _ROLE_RULES:
                if not is_template(value) and (problem := _ROLE_RULES[name](value)):
                    found[name, f"{name} {problem}"].append(host)
            elif problem := name_problem(name, declaration):
                found[name, problem].append(host)
    for (name, text), hosts in found.items():
        yield Problem(
            text=_short(_without_logins(text)), variable=name, hosts=() if len(hosts) == len(everyone) else tuple(hosts)
        )


def _finding_problem(name: str, value: Any, declaration: Declaration) -> str | None:
    """Say that an accepted finding does not exist: nothing would be accepted by it."""
    if name == "cluster_accepted_findings":
        for index, item in enumerate(map(str, value)):
            if item not in declaration.findings:
                close = get_close_matches(item, declaration.findings, n=1)
                hint = f"did you mean {close[0]}?" if close else "docs/findings.md lists them"
                return f"item {index + 1} is {item!r}, which is no finding; {hint}"
    return None


def _without_logins(text: str) -> str:
    """Leave out user and password of an address that is shown: some are written where none belongs."""
    return re.sub(r"(?<=['\"])([A-Za-z0-9+.-]+://)[^'\"]*@", r"\1...@", text)


def _short(text: str) -> str:
    """Leave out the middle of what is too long to be read, such as a file that was pasted where a name belongs."""
    return text if len(text) <= 2 * _LONG else f"{text[:_LONG]} ... {text[-_LONG:]}"


def _networks(shared: Mapping[str, Any], declaration: Declaration) -> dict[str, IPv4Network]:
    """The networks of the cluster, as far as they are written and are some."""
    values = {
        name: shared.get(name, declaration.default(name)) for name in ("cluster_pod_cidr", "cluster_service_cidr")
    }
    return {
        name: IPv4Network(value)
        for name, value in values.items()
        if not is_template(value) and isinstance(value, str) and _cidr_problem(value) is None
    }


def _network_problems(inventory: Inventory, declaration: Declaration) -> Iterator[Problem]:
    members = _members(inventory)
    if not members:
        return
    shared = inventory.variables.get(members[0], {})
    networks = _networks(shared, declaration)
    pods, services = networks.get("cluster_pod_cidr"), networks.get("cluster_service_cidr")
    if pods and services and pods.overlaps(services):
        text = f"cluster_pod_cidr {pods} and cluster_service_cidr {services} overlap; choose two networks apart"
        yield Problem(
            text=text, variable="cluster_pod_cidr" if "cluster_pod_cidr" in shared else "cluster_service_cidr"
        )
    if pods and pods.prefixlen <= NODE_PREFIX and len(members) > 2 ** (NODE_PREFIX - pods.prefixlen):
        room = 2 ** (NODE_PREFIX - pods.prefixlen)
        text = f"cluster_pod_cidr {pods} has room for {room} nodes, not {len(members)}; take a larger network"
        yield Problem(text=text, variable="cluster_pod_cidr")
    for host in members:
        for address in _addresses(inventory, host):
            for name, network in networks.items():
                if address in network:
                    text = f"{name} {network} contains the host's address {address}; choose a network without hosts"
                    yield Problem(text=text, variable=name, hosts=(host,))


def _api_problems(inventory: Inventory, declaration: Declaration) -> Iterator[Problem]:
    """How the API is reached: one address for all, and it stays when a control plane is lost."""
    control_planes = inventory.groups.get(CONTROL_PLANE_GROUP, ())
    if not control_planes:
        return
    values = [inventory.variables.get(host, {}) for host in control_planes]
    virtual = {str(known.get(_VIRTUAL_ADDRESS) or "") for known in values}
    endpoint = {str(known.get("cluster_api_endpoint") or "") for known in values}
    for name, found in ((_VIRTUAL_ADDRESS, virtual), ("cluster_api_endpoint", endpoint)):
        if len(found) > 1:
            text = f"{name} differs between control planes ({', '.join(sorted(found))}); set it once, for all hosts"
            yield Problem(text=text, variable=name, hosts=tuple(control_planes))
            return
    if any(virtual) and any(endpoint):
        text = (
            f"{_VIRTUAL_ADDRESS} and cluster_api_endpoint are both set; keep the first to let keepalived hold an "
            "address, or the second when a load balancer of yours leads to the control planes"
        )
        yield Problem(text=text, variable=_VIRTUAL_ADDRESS)
    if len(control_planes) > 1 and not any(virtual) and not any(endpoint):
        text = (
            "several control planes need one address for the API that outlives each of them: set "
            f"{_VIRTUAL_ADDRESS} to a free address of their network, or cluster_api_endpoint to your load balancer"
        )
        yield Problem(text=text, hosts=tuple(control_planes))
    if address := _address(next(iter(virtual))):
        yield from _virtual_address_problems(inventory, declaration, address)


def _virtual_address_problems(inventory: Inventory, declaration: Declaration, address: Any) -> Iterator[Problem]:
    members = _members(inventory)
    for name, network in _networks(inventory.variables.get(members[0], {}), declaration).items():
        if address in network:
            text = f"{_VIRTUAL_ADDRESS} {address} is inside {name} {network}; take an address of the hosts' network"
            yield Problem(text=text, variable=_VIRTUAL_ADDRESS)
    for host in members:
        if address in _addresses(inventory, host):
            text = f"{_VIRTUAL_ADDRESS} {address} is the host's own address; take one that no host has"
            yield Problem(text=text, variable=_VIRTUAL_ADDRESS, hosts=(host,))


def _addresses(inventory: Inventory, host: str) -> Iterator[Any]:
    """The addresses a host is known to have."""
    values = inventory.variables.get(host, {})
    for value in (values.get("ansible_host", host), values.get("cluster_node_address", "")):
        address = _address(value)
        if address is not None:
            yield address


def _load_balancer_problems(inventory: Inventory, declaration: Declaration) -> Iterator[Problem]:
    members = _members(inventory)
    shared = inventory.variables.get(members[0], {}) if members else {}
    addons, ranges = shared.get("cluster_addons", []), shared.get(_POOL, [])
    if is_template(addons) or is_template(ranges) or not all(isinstance(one, list | tuple) for one in (addons, ranges)):
        return
    if "metallb" not in addons:
        return
    if not ranges:
        text = (
            f"cluster_addons has metallb, which needs {_POOL}: free addresses of the network the hosts share, such as "
            "[192.0.2.240-192.0.2.250]"
        )
        yield Problem(text=text, variable="cluster_addons")
    taken = [
        (name, shared.get(name, declaration.default(name))) for name in ("cluster_pod_cidr", "cluster_service_cidr")
    ]
    taken.append(("cluster_api_endpoint", str(shared.get("cluster_api_endpoint", "")).rpartition(":")[0]))
    taken.append((_VIRTUAL_ADDRESS, shared.get(_VIRTUAL_ADDRESS, "")))
    for host in members:
        values = inventory.variables.get(host, {})
        taken += [(host, values.get("ansible_host", host)), (host, values.get("cluster_node_address", ""))]
    for part in ranges:
        if _range_problem(part) is not None:
            continue
        low, high = _bounds(part)
        for name, value in taken:
            try:
                other = ip_network(str(value))
            except ValueError:
                continue
            if other.version == low.version and low <= other[-1] and other[0] <= high:
                whose = f"the host {name}" if name in members else name
                text = f"{_POOL} {part} overlaps {whose} ({value}); choose addresses that nothing else has"
                yield Problem(text=text, variable=_POOL)


def _bounds(value: str) -> tuple[IPv4Address, IPv4Address]:
    first, _, last = value.partition("-")
    if last:
        return IPv4Address(first.strip()), IPv4Address(last.strip())
    network = IPv4Network(value)
    return network[0], network[-1]


def _range_problem(value: Any) -> str | None:
    first, _, last = str(value).partition("-")
    if not last:
        return _cidr_problem(value)
    try:
        low, high = _bounds(str(value))
    except ValueError:
        return f"is {value!r}, but must be FIRST-LAST with two IPv4 addresses, or a network such as 192.0.2.240/28"
    return None if low <= high else f"is {value!r}, but {first.strip()} comes after {last.strip()}"


def _ranges_problem(value: Sequence[Any]) -> str | None:
    return next((f"item {n} {problem}" for n, part in enumerate(value, 1) if (problem := _range_problem(part))), None)


def _address(value: Any) -> Any:
    try:
        return ip_address(str(value))
    except ValueError:
        return None


def _cidr_problem(value: Any) -> str | None:
    try:
        network = ip_network(str(value))
    except ValueError as error:
        return f"is {value!r}: {_reason(str(value), error)}"
    if "/" not in str(value):
        return f"is {value!r}, but must be a network such as {value}/16"
    return None if network.version == 4 else f"is {value!r}, but IPv6 is not supported yet; write an IPv4 network"  # noqa: PLR2004


def _reason(value: str, error: ValueError) -> str:
    try:
        return f"the address has bits beyond the network; write {ip_network(value, strict=False)}"
    except ValueError:
        return f"no network ({error}); write one such as 10.244.0.0/16"


def _pod_cidr_problem(value: Any) -> str | None:
    if problem := _cidr_problem(value):
        return problem
    prefix = IPv4Network(str(value)).prefixlen
    return f"is {value!r}, too small: every node gets a /{NODE_PREFIX} of it" if prefix > NODE_PREFIX else None


def _service_cidr_problem(value: Any) -> str | None:
    if problem := _cidr_problem(value):
        return problem
    prefix = IPv4Network(str(value)).prefixlen
    return None if 12 <= prefix <= 28 else f"is {value!r}, but Kubernetes takes a prefix from /12 to /28"  # noqa: PLR2004


def _matches(pattern: str, what: str) -> Callable[[Any], str | None]:
    compiled = re.compile(pattern)
    return lambda value: None if compiled.fullmatch(str(value)) else f"is {value!r}, but must be {what}"


def _positive(value: Any) -> str | None:
    return None if int(value) > 0 else f"is {value!r}, but must be above 0"


def _patience_problem(value: Any) -> str | None:
    return None if 1 <= float(value) <= MOST_PATIENCE else f"is {value!r}, but must be 1 to {MOST_PATIENCE}"


def _virtual_address_problem(value: Any) -> str | None:
    if value == "":
        return None
    address = _address(value)
    if address is None:
        return f"is {value!r}, which is no IP address; the port is always 6443"
    return None if address.version == 4 else f"is {value!r}, but must be an IPv4 address"  # noqa: PLR2004


def _node_address_problem(value: Any) -> str | None:
    return None if value == "" or _address(value) is not None else f"is {value!r}, which is no IP address"


def _proxy_problem(value: Any) -> str | None:
    reason = _proxy_reason(str(value)) if value != "" else ""
    # The value is not shown: there may be a password in it, and where it is badly written, nobody knows where.
    shape = "must be the address of a proxy, http://name:port or http://user:password@name:port"
    return f"{shape}; {reason}" if reason else None


def _proxy_reason(value: str) -> str:
    """What to write otherwise; hosts take an address by the same rule (module_utils/proxy.py)."""
    scheme, mark, rest = value.partition("://")
    if re.search(r"\s", value):
        return "take out blanks and line breaks, or write %20 for a blank of the password"
    if not mark or scheme != "http":
        wrong = {
            "https": "it begins with https://, and hosts speak plain HTTP to a proxy",
            "HTTP": "write http in small",
        }
        return wrong.get(scheme, "it must begin with http://") if mark else "it must begin with http://"
    login, at, place = rest.rpartition("@")
    odd = dict.fromkeys(re.findall(r"[^A-Za-z0-9._~!$&()*+,;=:%-]|%(?![0-9A-Fa-f]{2})", login)) if at else {}
    if odd:
        told = " and ".join(f"{quote(one, safe='')} for {one}" for one in odd)
        return f"write {told} in user and password"
    return _place_reason(place.removesuffix("/"))


def _place_reason(place: str) -> str:
    if re.search(r"[/?#]", place):
        return "it must end after the port; in user and password write %2F for /, %3F for ? and %23 for #"
    found = re.fullmatch(r"(\[.*\]|[^:]*)(?::([^:]*))?", place)
    if not found:
        return "an IPv6 address needs brackets, [fd00::1]:3128, and user:password an @ behind it"
    name, port = found[1], "80" if found[2] is None else found[2]
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) and not _is_ipv6_in_brackets(name):
        return "it needs the name of a host, an IPv4 address, or an IPv6 address in brackets"
    if not _is_port(port):
        return "its port must be a number from 1 to 65535; user:password needs an @ behind it"
    return ""


def _is_ipv6_in_brackets(name: str) -> bool:
    address = _address(name[1:-1]) if name.startswith("[") and name.endswith("]") else None
    # With a zone it means something on one host only.
    return address is not None and address.version == 6 and "%" not in name  # noqa: PLR2004


def _mirrors_problem(value: Mapping[str, Any]) -> str | None:
    for registry, addresses in value.items():
        if not re.fullmatch(_REGISTRY, str(registry)):
            return f"has {registry!r}, which must be the name:port of a registry, without https:// and without a path"
        good = isinstance(addresses, list | tuple) and all(
            _is_url(str(address)) and "@" not in str(address) for address in addresses
        )
        if not good:
            return f"[{registry}] must be a list of addresses such as https://mirror.example.com:5000"
    return None


def _credentials_problem(value: Mapping[str, Any]) -> str | None:
    for registry, login in value.items():
        if not re.fullmatch(_REGISTRY, str(registry)):
            return f"has {registry!r}, which must be the name:port of a registry, without https:// and without a path"
        texts = login.values() if isinstance(login, Mapping) else ()
        good = all(one != "" and isinstance(one, str | int) and not isinstance(one, bool) for one in texts)
        if not isinstance(login, Mapping) or set(login) != {"username", "password"} or not good:
            # Not shown: there is a password in it.
            return f"[{registry}] must have a username and a password, and nothing else"
    return None


def _no_proxy_problem(value: Any) -> str | None:
    for entry in map(str, value):
        if reason := _no_proxy_reason(entry):
            return f"has {entry.rpartition('@')[2]!r}, {reason}"
    return None


def _no_proxy_reason(entry: str) -> str:
    """Why Go's programs (Docker, containerd) would make nothing of an entry: golang.org/x/net/http/httpproxy."""
    brackets = re.fullmatch(r"\[([^]]*)\](:\d{1,5})?", entry)
    ipv6 = brackets is not None and _is_ipv6_in_brackets(f"[{brackets[1]}]")
    name, colon, port = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
    good = (_address(entry) is not None and "%" not in entry) or entry == "*"
    is_name = re.fullmatch(r"(\*?\.)?[A-Za-z0-9_][A-Za-z0-9._-]*", name) is not None
    good = good or (is_name and (not colon or _is_port(port)))
    digits = re.fullmatch("[0-9.-]+", name) and _address(name) is None
    mistakes = (
        (re.search(r"[\s,\"'\\]", entry), "which is more than one name; make an item of the list of each"),
        ("://" in entry, "which is no name, domain, address or network; leave out what is before and after the name"),
        ("/" in entry and not _is_network(entry), "which is no network such as 10.0.0.0/8"),
        (digits, "which is no address and no network such as 10.0.0.0/8"),
        (colon and port.isdecimal() and not _is_port(port), "whose port is no number from 1 to 65535"),
        (ipv6 and brackets and not brackets[2], f"which matches nothing; write {entry.strip('[]')}, without brackets"),
        (
            entry.startswith("[") and not ipv6,
            "which is no address; write an IPv6 address such as fd00::1, or [fd00::1]:443 for one port",
        ),
        ("/" not in entry and not ipv6 and not good, "which is no name, domain (.example.com), address or network"),
    )
    return next((text for wrong, text in mistakes if wrong), "")


def _is_network(entry: str) -> bool:
    try:
        ip_network(entry, strict=False)
    except ValueError:
        return False
    return entry.rpartition("/")[2].isdigit()


def _is_url(text: str) -> bool:
    found = _URL.fullmatch(text)
    return found is not None and (found["port"] is None or _is_port(found["port"]))


def _url_problem(value: Any) -> str | None:
    if _is_url(str(value)):
        return None
    if "@" in str(value):
        # Not shown: there may be a password in it.
        return "has an @ in it: an address must have no user and no password, because logs and files of hosts show it"
    return f"is {value!r}, but must be an address that hosts can download from, https://... or http://..."


def _optional_url_problem(value: Any) -> str | None:
    return _url_problem(value) if value != "" else None


def _url_of_a_kind_problem(value: Any) -> str | None:
    # Braces stand for what differs between hosts.
    return _url_problem(re.sub(r"\{[a-z_]+\}", "x", str(value)))


def _image_registry_problem(value: Any) -> str | None:
    if re.fullmatch(rf"{_REGISTRY}(/{_IMAGE_PATH})*", str(value)):
        return None
    if "@" in str(value):
        return "has an @ in it; write the name:port of the registry here, and its login in cluster_registry_credentials"
    return (
        f"is {value!r}, but must be the name:port of a registry, with a path or not, such as registry.example.com/k8s"
    )


def _authorities_problem(value: Mapping[str, Any]) -> str | None:
    for registry, certificate in value.items():
        if "PRIVATE KEY" in str(certificate):
            return f"[{registry}] holds a private key; leave the certificate alone there"
        # Hosts have a directory of that name.
        if not re.fullmatch(_REGISTRY, str(registry)):
            return f"has {registry!r}, which must be the name:port of a registry, without https:// and without a path"
        if not is_template(certificate) and "-----BEGIN CERTIFICATE-----" not in str(certificate):
            return f"[{registry}] must be the text of a certificate, -----BEGIN CERTIFICATE-----..."
    return None


def _docker_settings_problem(value: Mapping[str, Any]) -> str | None:
    for key, setting in value.items():
        if key in _DOCKER_LISTS and not isinstance(setting, list | tuple | None):
            return f"[{key}] must be a list"
        if isinstance(setting, str) and setting.lower() in _BOOLEANS:
            return f"[{key}] is the text {setting!r}, which dockerd does not take; write true or false without quotes"
    return None


def _sysctls_problem(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return "must be a mapping of names to values, such as {net.core.somaxconn: 1024}"
    for key, setting in value.items():
        if not _SYSCTL.fullmatch(str(key)):
            dotted = str(key).strip("/").removeprefix("proc/sys/").replace("/", ".")
            example = dotted if _SYSCTL.fullmatch(dotted) else "net.core.somaxconn"
            return f"has {key!r}; write the name with dots, such as {example}"
        if isinstance(setting, bool):
            return f"[{key}] is {str(setting).lower()}, but the kernel takes numbers; write {int(setting)}"
        if isinstance(setting, str) and setting.lower() in _BOOLEANS:
            return f"[{key}] is the text {setting!r}, but the kernel takes numbers; write 1 or 0"
        if not isinstance(setting, str | int | float) or setting == "" or "\n" in str(setting):
            return f"[{key}] must be a number, or a text of one line"
    return None


_SHA256 = _matches(r"[0-9a-fA-F]{64}", "a SHA-256 (64 hexadecimal digits)")


def _digests_problem(value: Mapping[str, Any]) -> str | None:
    return next((f"[{key}] {problem}" for key, digest in value.items() if (problem := _SHA256(digest))), None)


def _image_digests_problem(value: Mapping[str, Any]) -> str | None:
    for name, digest in value.items():
        if not re.fullmatch(rf"({_REGISTRY}/)?{_IMAGE_PATH}(/{_IMAGE_PATH})*:{_TAG}", str(name)):
            return f"has {str(name)!r}, but must name images with their tag, such as quay.io/metallb/speaker:v0.15.2"
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", str(digest)):
            return f"[{name}] is {digest!r}, but must be sha256: and 64 digits 0-9 a-f"
    return None


_ROLE_RULES: dict[str, Callable[[Any], str | None]] = {"node_base_sysctls": _sysctls_problem}
"""Inputs of roles that people set in an inventory, although they are no variables of the cluster."""

_RULES: dict[str, Callable[[Any], str | None]] = {
    "cluster_name": _matches(
        r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", "letters, digits, dots and dashes (at most 63)"
    ),
    "cluster_kubernetes_version": lambda value: version_problem(str(value)),
    "cluster_pod_cidr": _pod_cidr_problem,
    "cluster_service_cidr": _service_cidr_problem,
    "cluster_api_endpoint": _matches(r"|[A-Za-z0-9.-]+:\d{1,5}", "name:port or address:port, or empty"),
    "cluster_api_virtual_address": _virtual_address_problem,
    "cluster_node_address": _node_address_problem,
    "cluster_dns_domain": _matches(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*", "a DNS domain such as cluster.local"),
    "cluster_registry_mirrors": _mirrors_problem,
    "cluster_registry_ca_certificates": _authorities_problem,
    "cluster_registry_credentials": _credentials_problem,
    "cluster_http_proxy": _proxy_problem,
    "cluster_https_proxy": _proxy_problem,
    "cluster_no_proxy": _no_proxy_problem,
    "cluster_app_namespace": _matches(_LABEL.pattern, "lower-case letters, digits and dashes (at most 63)"),
    "cluster_app_timeout": _positive,
    "cluster_patience": _patience_problem,
    "cluster_flannel_manifest_sha256": _SHA256,
    "cluster_cri_dockerd_sha256": _digests_problem,
    "cluster_minikube_sha256": _digests_problem,
    "cluster_metrics_server_manifest_sha256": _digests_problem,
    "cluster_local_path_manifest_sha256": _digests_problem,
    "cluster_metallb_manifest_sha256": _digests_problem,
    "cluster_image_digests": _image_digests_problem,
    "cluster_metallb_addresses": _ranges_problem,
    "cluster_docker_settings": _docker_settings_problem,
    "cluster_kubernetes_repository": _url_of_a_kind_problem,
    "cluster_cri_dockerd_url": _url_of_a_kind_problem,
    "cluster_flannel_manifest_url": _url_of_a_kind_problem,
    "cluster_metrics_server_manifest_url": _url_of_a_kind_problem,
    "cluster_local_path_manifest_url": _url_of_a_kind_problem,
    "cluster_metallb_manifest_url": _url_of_a_kind_problem,
    "cluster_minikube_url": _url_of_a_kind_problem,
    "cluster_minikube_binary_mirror": _optional_url_problem,
    "cluster_image_registry": _image_registry_problem,
    "cluster_flannel_image_registry": _image_registry_problem,
    "cluster_metrics_server_image_registry": _image_registry_problem,
    "cluster_local_path_image_registry": _image_registry_problem,
    "cluster_metallb_image_registry": _image_registry_problem,
    "cluster_kubernetes_repository_key_fingerprint": _matches(
        r"[0-9a-fA-F ]{40,50}", "a fingerprint of 40 hexadecimal digits"
    ),
}
