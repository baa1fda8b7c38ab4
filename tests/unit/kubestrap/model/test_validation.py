"""Every mistake an inventory can hold is named, with the fix, and all of them at once."""

import re

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import address as address_on_hosts
from kubestrap.adapters.declaration import load_declaration
from kubestrap.model.cluster import Inventory
from kubestrap.model.validation import validate, validate_minikube

DECLARATION = load_declaration()


def inventory(control_plane=("cp",), workers=("w1",), groups=None, hosts=None, **shared):
    names = dict.fromkeys((*control_plane, *workers))
    addresses = {name: {"ansible_host": f"192.0.2.{index}"} for index, name in enumerate(names, start=1)}
    return Inventory(
        groups={"control_plane": control_plane, "workers": workers, **(groups or {})},
        variables={name: {**addresses[name], **shared, **(hosts or {}).get(name, {})} for name in names},
    )


def texts(subject):
    return [problem.text for problem in validate(subject, DECLARATION)]


def only(subject):
    (text,) = texts(subject)
    return text


def test_good_inventory_has_no_problem():
    assert texts(inventory()) == []


def test_single_host_is_enough():
    assert texts(inventory(workers=())) == []


def test_empty_inventory():
    assert "kubestrap init" in only(inventory(control_plane=(), workers=()))


def test_no_control_plane():
    assert "control_plane has no host" in only(inventory(control_plane=()))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("__cluster_proxy", "set cluster_http_proxy or cluster_https_proxy instead"),
        ("__cluster_mine", "give yours another name"),
        ("docker_settings", "set cluster_docker_settings instead"),
        ("worker_node_name", "give yours another name"),
    ],
)
def test_names_that_are_ours(name, told):
    text = only(inventory(hosts={"w1": {name: "x"}}))
    assert text.startswith(f"{name} is set by kubestrap itself; {told}")


def test_names_that_were_ours_are_free():
    assert texts(inventory(proxy="http://p", node_address="x", api_endpoint="y", no_proxy="z", pause_image="i")) == []


def test_several_control_planes_need_one_address():
    text = only(inventory(control_plane=("a", "b", "c")))
    assert "cluster_api_virtual_address" in text
    assert "cluster_api_endpoint" in text


@pytest.mark.parametrize(
    "given", [{"cluster_api_virtual_address": "192.0.2.200"}, {"cluster_api_endpoint": "api.example:6443"}]
)
def test_several_control_planes_with_one_address(given):
    assert texts(inventory(control_plane=("a", "b", "c"), **given)) == []


def test_two_ways_to_the_api_are_one_too_many():
    given = {"cluster_api_virtual_address": "192.0.2.200", "cluster_api_endpoint": "api.example:6443"}
    assert "both set" in only(inventory(**given))


def test_control_planes_that_disagree_about_the_address():
    hosts = {"a": {"cluster_api_virtual_address": "192.0.2.200"}, "b": {"cluster_api_virtual_address": "192.0.2.201"}}
    assert "differs" in only(inventory(control_plane=("a", "b"), hosts=hosts))


@pytest.mark.parametrize(
    ("hosts", "named"),
    [({}, "w1"), ({"w1": {"ansible_host": "198.51.100.9", "cluster_node_address": "192.0.2.2"}}, "w1")],
)
def test_virtual_address_that_a_host_has(hosts, named):
    (problem,) = validate(inventory(hosts=hosts, cluster_api_virtual_address="192.0.2.2"), DECLARATION)
    assert problem.hosts == (named,)
    assert "own address" in problem.text


def test_host_in_both_groups():
    assert "belongs to one" in only(inventory(control_plane=("a",), workers=("a",)))


def test_same_machine_under_two_names():
    subject = inventory(hosts={"w1": {"ansible_host": "192.0.2.1"}})
    (problem,) = validate(subject, DECLARATION)
    assert problem.hosts == ("cp", "w1")
    assert "same machine" in problem.text


def test_same_address_with_another_port_is_another_machine():
    assert texts(inventory(hosts={"w1": {"ansible_host": "192.0.2.1", "ansible_port": 2222}})) == []


def test_mistyped_group():
    found = texts(inventory(workers=(), groups={"worker": ("w1",)}))
    assert found == ["the group worker has no meaning here; did you mean workers?"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("cluster_pod_cdir", "10.0.0.0/16", "did you mean cluster_pod_cidr?"),
        ("cluster_qqq_www_jjjj", 1, "docs/variables.md"),
        ("cluser_pod_cidr", "10.0.0.0/16", "did you mean cluster_pod_cidr?"),
        ("cluster_container_runtime", "dokcer", "did you mean docker?"),
        ("cluster_kubernetes_version", "1.34.1", "1.35 to 1.37"),
        ("cluster_kubernetes_version", "1.38", "1.35 to 1.37"),
        ("cluster_kubernetes_version", "latest", "no Kubernetes version"),
        ("cluster_kubernetes_version", True, "quotes"),
        ("cluster_app_manifests", "a.yml", "must be a list"),
        ("cluster_app_manifests", [1, {"a": 1}], "item 2 is a mapping"),
        (
            "cluster_accepted_findings",
            ["disk-low", "memory-lwo"],
            "no finding; did you mean memory-low?",
        ),
        ("cluster_accepted_findings", ["all"], "docs/findings.md lists them"),
        ("cluster_app_timeout", "soon", "whole number"),
        ("cluster_app_timeout", 0, "above 0"),
        ("cluster_patience", "much", "must be a number"),
        ("cluster_patience", 0.5, "must be 1 to 20"),
        ("cluster_patience", True, "must be a number"),
        ("cluster_docker_settings", "x", "must be a mapping"),
        ("cluster_docker_settings", {"live-restore": "yes"}, "without quotes"),
        ("cluster_check_timeout", 3, "docs/variables.md"),
        ("cluster_kube_version", "1.36.4", "did you mean cluster_kubernetes_version?"),
        ("cluster_podcidr", "10.0.0.0/16", "did you mean cluster_pod_cidr?"),
        ("cluster_app_manifest", "a", "did you mean cluster_app_manifests?"),
        ("cluster_image_registry", "https://registry.example.com", "name:port of a registry"),
        ("cluster_image_registry", "registry..example.com", "name:port of a registry"),
        ("cluster_image_registry", "registry.example.com/../k8s", "name:port of a registry"),
        ("cluster_image_registry", "registry.example.com/K8s", "name:port of a registry"),
        ("cluster_registry_mirrors", {"docker..io": ["https://m"]}, "name:port of a registry"),
        ("cluster_registry_mirrors", {"docker.io": ["file:///srv"]}, "must be a list of addresses"),
        ("cluster_registry_mirrors", {"docker.io": ["https://m..example.com"]}, "must be a list of addresses"),
        ("cluster_kubernetes_repository", "file:///srv/repo", "hosts can download from"),
        ("cluster_flannel_manifest_url", "kube-flannel.yml", "hosts can download from"),
        ("cluster_minikube_binary_mirror", "ftp://x", "hosts can download from"),
        ("node_base_sysctls", {"net/ipv4/ip_forward": 1}, "such as net.ipv4.ip_forward"),
        ("node_base_sysctls", {"../../etc/passwd": 1}, "with dots"),
        ("node_base_sysctls", {"net.ipv4.ip_forward": True}, "write 1"),
        ("node_base_sysctls", ["net.ipv4.ip_forward=1"], "mapping of names"),
        ("cluster_name", "a b", "letters, digits"),
        ("cluster_name", None, "empty"),
        ("cluster_pod_cidr", "10.244.0.0", "10.244.0.0/16"),
        ("cluster_pod_cidr", "10.244.1.0/16", "write 10.244.0.0/16"),
        ("cluster_pod_cidr", "ten", "no network"),
        ("cluster_pod_cidr", "fd00::/48", "IPv6"),
        ("cluster_pod_cidr", "10.244.0.0/25", "too small"),
        ("cluster_pod_cidr", "10.244.0.0/24", "not 2"),
        ("cluster_service_cidr", "11.0.0.0/8", "/12 to /28"),
        ("cluster_service_cidr", "10.244.0.0/17", "overlap"),
        ("cluster_pod_cidr", "10.96.0.0/16", "overlap"),
        ("cluster_api_endpoint", "api", "name:port"),
        ("cluster_node_address", "300.1.1.1", "no IP address"),
        ("cluster_api_virtual_address", "192.0.2.200:6443", "no IP address"),
        ("cluster_api_virtual_address", "fd00::1", "IPv4"),
        ("cluster_api_virtual_address", "10.244.3.4", "cluster_pod_cidr"),
        ("cluster_api_virtual_address", "10.97.0.1", "cluster_service_cidr"),
        ("cluster_dns_domain", "Cluster_Local", "DNS domain"),
        ("cluster_app_namespace", "My", "lower-case"),
        ("cluster_cri_dockerd_sha256", {"amd64": "abc"}, "[amd64]"),
    ],
)
def test_wrong_variable(name, value, expected):
    (problem,) = validate(inventory(**{name: value}), DECLARATION)
    assert expected in problem.text
    assert name in problem.text
    # It holds for every host, so none is named.
    assert problem.hosts == () or "address" in problem.text


@pytest.mark.parametrize("version", ["1.35", "1.36", "1.36.4", "v1.37.1", 1.36])
def test_supported_versions(version):
    assert texts(inventory(cluster_kubernetes_version=version)) == []


@pytest.mark.parametrize("name", ["cluster_pod_cidr", "cluster_service_cidr"])
def test_host_inside_a_network_of_the_cluster(name):
    (problem,) = validate(inventory(**{name: "192.0.2.0/24"}, workers=()), DECLARATION)
    assert problem.hosts == ("cp",)
    assert "192.0.2.1" in problem.text


def test_variable_of_one_host_names_it():
    (problem,) = validate(inventory(hosts={"w1": {"cluster_node_address": "x"}}), DECLARATION)
    assert (problem.variable, problem.hosts) == ("cluster_node_address", ("w1",))


def test_templates_and_vault_are_left_to_ansible():
    values = {
        "cluster_pod_cidr": "{{ pods }}",
        "cluster_app_timeout": "{{ n }}",
        "cluster_name": {"__ansible_vault": "x"},
    }
    assert texts(inventory(**values)) == []


def test_all_mistakes_at_once():
    subject = inventory(
        control_plane=(), cluster_pod_cdir="x", cluster_kubernetes_version="1.2", cluster_app_timeout="x"
    )
    assert len(texts(subject)) == 4


def minikube(*hosts, group="minikube", **variables):
    return Inventory(groups={group: hosts}, variables=dict.fromkeys(hosts, variables))


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (minikube("mk", ansible_connection="local"), []),
        (minikube("mk", group="minikub"), ["did you mean minikube where it says minikub?"]),
        (minikube("a", "b"), ["runs on one machine"]),
        (minikube("mk", cluster_minikube_driver="podman"), ["must be one of: docker, none"]),
        (minikube("mk", cluster_minikube_sha256={"amd64": "short"}), ["[amd64] is 'short'"]),
        (minikube("mk", cluster_minikube_drivr="none"), ["did you mean cluster_minikube_driver?"]),
        (minikube("mk", cluster_app_images=["app.tar"]), ["by name, not app.tar"]),
        (minikube("mk", cluster_app_images=["app.tar"], cluster_minikube_driver="none"), []),
    ],
)
def test_minikube_needs_one_host_and_no_other_group(subject, expected):
    found = [problem.text for problem in validate_minikube(subject, DECLARATION)]
    assert len(found) == len(expected)
    assert all(part in text for part, text in zip(expected, found, strict=True))


def test_hosts_of_minikube_are_left_alone_by_other_verbs():
    assert texts(inventory(groups={"minikube": ("mk",)})) == []


PROXIES = [
    "",
    "http://proxy:3128",
    "http://10.0.0.1:3128/",
    "http://me:p%40ss:w@proxy.example",
    "http://[fd00::1]:80",
    "http://[::ffff:10.0.0.1]",
    "http://me@proxy_1",
    "http://me:a!b$c&d(e)*f+g,h;i=j~k@proxy",
]
NO_PROXIES = {
    # The case of a password with a # in it: half of it was shown as a port that is no number.
    "http://svc:secretpart#rest@proxy:3128": "write %23 for # in user and password",
    "http://me:secret@x@proxy": "write %40 for @",
    "http://me:sec/ret@proxy:3128": "write %2F for /",
    "http://me:secret?#@proxy": "write %3F for ? and %23 for #",
    "http://me:secret%@proxy": "write %25 for %",
    "http://me:secret%2@proxy": "write %25 for %",
    "http://me:sec[ret]@proxy": "write %5B for [ and %5D for ]",
    'http://me:secret"@proxy': "write %22 for ",
    "http://me:secret\u00e4@proxy": "write %C3%A4 for ",
    "http://me:sec ret@proxy": "take out blanks",
    "http://proxy:3128\n": "take out blanks and line breaks",
    "proxy:3128": "must begin with http://",
    "me:secret@proxy:3128": "must begin with http://",
    "https://me:secret@proxy:3128": "hosts speak plain HTTP to a proxy",
    "socks5://proxy:1080": "must begin with http://",
    "HTTP://proxy:3128": "write http in small",
    "http://me:secret@proxy:x": "port must be a number from 1 to 65535",
    "http://me:secret": "needs an @ behind it",
    "http://proxy:0": "from 1 to 65535",
    "http://proxy:65536": "from 1 to 65535",
    "http://proxy:": "from 1 to 65535",
    "http://": "needs the name of a host",
    "http://:3128": "needs the name of a host",
    "http://fd00::1:3128": "[fd00::1]:3128",
    "http://[fd00::1": "IPv6 address",
    "http://[10.0.0.1]:80": "an IPv6 address in brackets",
    "http://proxy:3128/path": "must end after the port",
    "http://me:secret#proxy:3128": "%23 for #",
    "http://proxy:3128?secret": "must end after the port",
}


@pytest.mark.parametrize("value", PROXIES)
def test_addresses_of_a_proxy(value):
    assert texts(inventory(cluster_http_proxy=value)) == []
    assert address_on_hosts(value) == value


@pytest.mark.parametrize(("value", "told"), NO_PROXIES.items(), ids=NO_PROXIES.keys())
def test_no_address_of_a_proxy_is_told_what_to_write_and_no_part_of_it_is_shown(value, told):
    text = only(inventory(cluster_https_proxy=value))
    assert "must be the address of a proxy" in text
    assert told in text
    assert not re.search(r"sec|ret\b|part|rest|svc", text.replace("user:password", ""))
    # Who runs plain Ansible is refused on the hosts, as silently.
    with pytest.raises(ValueError, match="it must be http://name:port") as refused:
        address_on_hosts(value)
    assert not re.search(r"secret|svc|rest", str(refused.value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cluster_flannel_manifest_url", "https://me:sec#ret/@mirror.example/flannel.yml"),
        ("cluster_image_registry", "https://me:secret@registry.example"),
        ("cluster_api_endpoint", "https://me:secret@api.example:6443"),
        ("cluster_registry_mirrors", {"https://me:secret@registry.example": []}),
        ("cluster_registry_mirrors", {"docker.io": ["https://me:secret@mirror.example"]}),
    ],
)
def test_a_login_where_none_belongs_is_not_shown(name, value):
    text = only(inventory(**{name: value}))
    assert name in text
    assert not re.search("sec|ret\\b", text)


def test_what_goes_around_the_proxy_are_names_domains_addresses_and_networks():
    good = [
        "mirror", "mirror.example", ".example", "*.example", "10.0.0.1", "10.0.0.0/8", "10.1.2.3/8", "fd00::/8", "::1",
        "*", "mirror.example:5000", ".example:443", "10.0.0.1:80", "[::1]:80",
    ]  # fmt: skip
    assert texts(inventory(cluster_no_proxy=good)) == []


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("http://mirror", "leave out what is before"),
        ("http://me:secret@mirror", "'mirror'"),
        ("a, b", "make an item of the list of each"),
        ("10.0.0.0/33", "no network"),
        ("10.0.0.0/255.0.0.0", "no network"),
        ("mirror/path", "no network"),
        ("[::1]", "write ::1, without brackets"),
        ("[mirror]:80", "write an IPv6 address"),
        ("mirror:port", "no name, domain"),
        ("", "is empty"),
        ("*", None),
        ("*mirror.example", "no name, domain"),
    ],
)
def test_what_docker_and_containerd_would_make_nothing_of_is_told(entry, told):
    if told is None:
        assert texts(inventory(cluster_no_proxy=[entry])) == []
    else:
        text = only(inventory(cluster_no_proxy=["mirror", entry]))
        assert told in text
        assert "secret" not in text


@pytest.mark.parametrize(
    "value",
    [
        {"https://registry.example": {"username": "me", "password": "secret"}},
        {"registry.example:5000": {"username": "me", "pasword": "secret"}},
        {"registry.example:5000": "me:secret"},
    ],
)
def test_logins_at_registries_that_are_none_are_not_shown(value):
    text = only(inventory(cluster_registry_credentials=value))
    assert "registry.example" in text
    assert "secret" not in text


def test_login_in_place_of_a_mapping_is_not_shown():
    text = only(inventory(cluster_registry_credentials="me:secret"))
    assert "is text, but must be a mapping" in text
    assert "secret" not in text


def test_login_at_a_registry():
    good = {
        "registry.example:5000": {"username": "me", "password": "secret"},
        "localhost": {"username": 1, "password": 2},
    }
    assert texts(inventory(cluster_registry_credentials=good)) == []


def test_mirrors_are_lists_of_addresses_by_registry():
    assert texts(inventory(cluster_registry_mirrors={"docker.io": ["https://mirror.example:5000/hub"]})) == []
    assert "'https://docker.io'" in only(inventory(cluster_registry_mirrors={"https://docker.io": []}))
    assert "[docker.io]" in only(inventory(cluster_registry_mirrors={"docker.io": "https://mirror.example"}))
    assert "[docker.io]" in only(inventory(cluster_registry_mirrors={"docker.io": ["mirror.example"]}))


def metallb(*addresses, **shared):
    return inventory(cluster_addons=["metallb"], cluster_metallb_addresses=list(addresses), **shared)


def test_addresses_for_load_balancers_that_nobody_has():
    assert texts(metallb("192.0.2.200-192.0.2.210", "198.51.100.0/28")) == []


def test_mistyped_addon():
    assert "did you mean metrics-server?" in only(inventory(cluster_addons=["metric-server"]))


def test_metallb_needs_addresses():
    assert "cluster_metallb_addresses" in only(metallb())


@pytest.mark.parametrize(
    ("address", "shared", "whose"),
    [
        ("192.0.2.1-192.0.2.1", {}, "the host cp"),
        ("192.0.2.0/30", {"cluster_pod_cidr": "10.1.0.0/16"}, "the host cp"),
        ("10.244.3.0/24", {}, "cluster_pod_cidr"),
        ("10.96.0.0-10.96.0.9", {}, "cluster_service_cidr"),
        ("192.0.2.200-192.0.2.210", {"cluster_api_endpoint": "192.0.2.205:6443"}, "cluster_api_endpoint"),
        ("192.0.2.200/30", {"cluster_api_virtual_address": "192.0.2.201"}, "cluster_api_virtual_address"),
        ("198.51.100.7/32", {"hosts": {"w1": {"cluster_node_address": "198.51.100.7"}}}, "the host w1"),
    ],
)
def test_addresses_for_load_balancers_that_something_has(address, shared, whose):
    assert any(f"overlaps {whose}" in text for text in texts(metallb(address, **shared)))


@pytest.mark.parametrize(
    ("address", "expected"),
    [("192.0.2.9-192.0.2.1", "comes after"), ("192.0.2.9", "network such as"), ("a-b", "FIRST-LAST")],
)
def test_addresses_for_load_balancers_that_are_none(address, expected):
    assert expected in only(metallb(address))


def test_digest_of_a_manifest():
    assert "SHA-256" in only(inventory(cluster_metallb_manifest_sha256={"x.yaml": "abc"}))


@pytest.mark.parametrize(
    ("pins", "expected"),
    [
        ({"quay.io/metallb/speaker:v1": "sha256:abc"}, "sha256: and 64 digits"),
        ({"quay.io/metallb/speaker:v1": "ab" * 32}, "sha256: and 64 digits"),
        ({"quay.io/metallb/speaker": f"sha256:{'ab' * 32}"}, "with their tag"),
        ({f"quay.io/a:1@sha256:{'ab' * 32}": f"sha256:{'ab' * 32}"}, "with their tag"),
        ({"quay.io/A:1": f"sha256:{'ab' * 32}"}, "with their tag"),
    ],
)
def test_digests_of_images_are_what_a_registry_would_take(pins, expected):
    assert expected in only(inventory(cluster_image_digests=pins))


def test_images_of_any_registry_can_be_named_by_digest():
    names = ("busybox:1", "r.example:5000/a/b_c:v1-flannel1", "localhost:5000/a:1", "rancher/thing:v0.0.30")
    assert texts(inventory(cluster_image_digests=dict.fromkeys(names, f"sha256:{'ab' * 32}"))) == []


def test_defaults_keep_the_rules():
    declared = DECLARATION.variables
    assert texts(inventory(**{name: one.default for name, one in declared.items() if one.default is not None})) == []


SECRET = "s3cret-w0rd"  # noqa: S105
KEY = f"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n{SECRET}\n"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("cluster_registry_ca_certificates", {"r.example": KEY}, "[r.example] holds a private key"),
        ("cluster_registry_ca_certificates", KEY, ""),
        ("cluster_kubernetes_repository", f"https://me:{SECRET}@mirror.example/", "no user and no password"),
        ("cluster_flannel_manifest_url", f"https://me:{SECRET}@mirror.example/f.yml", "no user and no password"),
        ("cluster_image_registry", f"me:{SECRET}@r.example", "cluster_registry_credentials"),
        ("cluster_registry_mirrors", {"docker.io": [f"https://me:{SECRET}@mirror.example"]}, "[docker.io]"),
        ("cluster_registry_credentials", {"r.example": f"me:{SECRET}"}, "username and a password"),
        ("cluster_registry_credentials", {"r.example": {"user": "me", "password": SECRET}}, "username and a password"),
        ("cluster_registry_credentials", [{"r.example": {"username": "me", "password": SECRET}}], ""),
        ("cluster_registry_credentials", f"me:{SECRET}", ""),
        ("cluster_http_proxy", [f"http://me:{SECRET}@proxy"], ""),
        ("cluster_http_proxy", {"http": f"http://me:{SECRET}@proxy"}, ""),
        ("cluster_no_proxy", f"http://me:{SECRET}@proxy", ""),
        ("cluster_no_proxy", [f"http://me:{SECRET}@proxy"], ""),
        ("cluster_docker_settings", [{"log-opts": {"splunk-token": SECRET}}], ""),
        ("cluster_docker_settings", f"splunk-token={SECRET}", ""),
    ],
)
def test_a_mistake_beside_a_secret_shows_no_secret(name, value, told):
    text = "\n".join(texts(inventory(**{name: value})))
    assert name in text
    assert told in text
    assert SECRET not in text


PEM = "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("cluster_addons", None, "is empty, but must be a list"),
        ("cluster_addons", True, "must be a list"),
        ("cluster_addons", "metallb", "must be a list"),
        ("cluster_app_timeout", "\u00b2", "whole number"),
        ("cluster_app_timeout", "--5", "whole number"),
        ("cluster_app_timeout", 10**30, "whole number"),
        ("cluster_kubernetes_version", "1." + "9" * 5000, "no Kubernetes version"),
        ("cluster_app_manifests", [""], "item 1 is empty"),
        (
            "cluster_registry_credentials",
            {"r.example": {"username": "me", "password": None}},
            "username and a password",
        ),
        (
            "cluster_registry_credentials",
            {"r.example": {"username": "me", "password": True}},
            "username and a password",
        ),
        ("cluster_registry_ca_certificates", {"../../x": PEM}, "name:port of a registry"),
        ("cluster_registry_ca_certificates", {"https://r.example": PEM}, "name:port of a registry"),
        ("cluster_registry_ca_certificates", {"r.example": None}, "text of a certificate"),
        ("cluster_registry_ca_certificates", {"r.example": "/etc/ssl/ca.crt"}, "text of a certificate"),
        ("cluster_registry_mirrors", {"docker.io": ["https://m.example:99999"]}, "list of addresses"),
        ("cluster_kubernetes_repository", "https://m.example:99999/", "must be an address"),
        ("cluster_docker_settings", {"registry-mirrors": "https://m.example"}, "must be a list"),
        ("cluster_http_proxy", "http://[fe80::1%eth0]:3128", "in brackets"),
        ("cluster_no_proxy", ["10.0.0.1-10.0.0.9"], "no address and no network"),
        ("cluster_no_proxy", ["010.0.0.1"], "no address and no network"),
        ("cluster_no_proxy", ["a;b"], "no name"),
        ("cluster_no_proxy", ["<local>"], "no name"),
        ("cluster_no_proxy", ["fe80::1%eth0"], "no name"),
        ("cluster_no_proxy", ["a:99999"], "port"),
        ("node_base_sysctls", {"net.core.x": "yes"}, "write 1 or 0"),
        ("node_base_sysctls", {"net.core.x": None}, "must be a number"),
        ("node_base_sysctls", {"net.core.x": [1]}, "must be a number"),
        ("node_base_sysctls", {"net.core.x": "1\nkernel.y = 2"}, "must be a number"),
        ("node_base_sysctls", {"vm": 1}, "such as net.core.somaxconn"),
    ],
)
def test_value_that_no_host_understands(name, value, told):
    text = only(inventory(**{name: value}))
    assert name in text
    assert told in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cluster_no_proxy", ["*", ".example.com", "*.example.com", "a_b", "a:80", "1.2.3.4:80", "::1", "fd00::/8"]),
        ("cluster_registry_ca_certificates", {"r.example:5000": PEM, "s.example": "{{ lookup('file', 'ca.crt') }}"}),
        ("cluster_registry_credentials", {"r.example": {"username": "me", "password": 12345}}),
        ("cluster_docker_settings", {"registry-mirrors": None, "exec-opts": [], "debug": True}),
        ("node_base_sysctls", {"net.ipv4.ip_local_port_range": "1024 65000", "vm.swappiness": 10}),
    ],
)
def test_value_that_hosts_understand(name, value):
    assert texts(inventory(**{name: value})) == []


@pytest.mark.parametrize("address", ["-oProxyCommand=touch x", "a b", "192.0.2.1\n", ""])
def test_address_that_is_an_option_or_none(address):
    subject = inventory(workers=(), hosts={"cp": {"ansible_host": address}})
    assert texts(subject) == [f"ansible_host is {address!r}, which is no name and no address"]


def test_name_of_a_host_that_is_an_option():
    subject = inventory(control_plane=("-oProxyCommand=x",), workers=())
    assert "name of the host" in only(subject)


@pytest.mark.parametrize("port", ["abc", 0, 65536, -1, [22], "\u00b2"])
def test_port_that_is_none(port):
    assert "ansible_port" in only(inventory(workers=(), hosts={"cp": {"ansible_port": port}}))


def test_long_value_is_not_shown_whole():
    assert len(only(inventory(cluster_name="x" * 100_000))) < 1000
