"""What of a module's parameters is in the host's log and in what the module returns, as Ansible itself makes both."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.kubestrap.cluster.plugins.module_utils import confidential, credentials, proxy, registry_trust
from ansible_collections.kubestrap.cluster.plugins.modules import containerd_runtime, docker_runtime, preflight

# What Python and JSON write otherwise than it is.
ODD = (
    r"back\slash-w0rd",
    "it's-a-w0rd",
    "\"quoted\"-'w0rd'",
    "w\u00f6rd-0815",
    "tab\tw0rd",
    "{{w0rd}} $(w0rd)",
    "12345678",
)
SPEC: dict[str, Any] = {
    "registry_credentials": credentials.ARGUMENT,
    "settings": {"type": confidential.settings, "default": {}},
    "proxy": proxy.ARGUMENT,
    "registry_ca_certificates": registry_trust.AUTHORITIES,
}

Ran = Callable[..., tuple[str, str]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ran:
    """Runs a module: what it logged, and what it returned."""
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda _self, msg, **_: logged.append(msg))

    def run(asked: dict[str, Any], end: Callable[[AnsibleModule], None]) -> tuple[str, str]:
        logged.clear()
        with patch_module_args({**asked, "_ansible_inject_invocation": True}), pytest.raises(SystemExit):
            end(basic.AnsibleModule(argument_spec=SPEC))
        return "".join(logged), capsys.readouterr().out

    return run


def forms(secret: str) -> set[str]:
    """A secret as it is, as JSON and as Python write it."""
    return {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}


@pytest.mark.parametrize("secret", ODD)
def test_a_login_at_a_registry_is_in_no_log_and_no_result(ran: Ran, secret: str) -> None:
    login = {"username": "somebody", "password": secret}
    asked = {"registry_credentials": [{"registry": "r.example:5000", "login": login}]}

    def end(module: AnsibleModule) -> None:
        assert credentials.rendered(module.params["registry_credentials"]) == credentials.rendered(
            asked["registry_credentials"]
        )
        module.exit_json(said=f"unauthorized: {secret} of somebody")

    logged, returned = ran(asked, end)
    assert "somebody" in logged
    assert "somebody" in returned
    assert [form for form in forms(secret) if form in logged or form in returned] == []


@pytest.mark.parametrize("secret", ODD)
@pytest.mark.parametrize(
    "settings",
    [
        lambda secret: {"log-opts": {"splunk-token": secret}},
        lambda secret: {"a": [{"gelf-password": secret}]},
        lambda secret: {"plugins": {"configs": {"r.example": {"auth": {"auth": secret, "identitytoken": secret}}}}},
        lambda secret: {"registry-mirrors": [f"https://me:{secret}@mirror.example"]},
        lambda secret: {"proxies": {"http-proxy": f"http://me:{secret}@proxy.example:3128/"}},
    ],
)
def test_a_secret_among_settings_is_in_no_log_no_diff_and_no_result(
    ran: Ran, secret: str, settings: Callable[[str], dict[str, Any]]
) -> None:
    asked = {"settings": {"data-root": "/srv/docker", **settings(secret)}}

    def end(module: AnsibleModule) -> None:
        found = module.params["settings"]
        assert json.loads(json.dumps(found)) == asked["settings"]
        assert confidential.keep(module, found)
        module.exit_json(diff=[{"before": "", "after": json.dumps(found, indent=2)}], said=f"dockerd: {secret}")

    logged, returned = ran(asked, end)
    assert "data-root" in logged
    assert "/srv/docker" in returned
    assert [form for form in forms(secret) if form in logged or form in returned] == []


def test_settings_without_a_secret_stay_readable(ran: Ran) -> None:
    asked = {"settings": {"live-restore": True, "log-opts": {"max-size": "10m"}, "dns": ["10.0.0.1"]}}

    def end(module: AnsibleModule) -> None:
        assert not confidential.keep(module, module.params["settings"])
        module.exit_json()

    assert "10m" in ran(asked, end)[1]


@pytest.mark.parametrize("module", [docker_runtime, containerd_runtime, preflight])
def test_modules_take_them_as_confidential(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, Any] = {}

    def take(**options: Any) -> None:
        taken.update(options["argument_spec"])
        raise SystemExit

    monkeypatch.setattr(module, "AnsibleModule", take)
    with pytest.raises(SystemExit):
        module.main()
    for name, option in taken.items():
        if name.endswith("settings"):
            assert option["type"] is confidential.settings, name
        if "certificates" in name:
            assert option is registry_trust.AUTHORITIES
        if "credentials" in name:
            assert option is credentials.ARGUMENT
        if name == "proxy":
            assert option is proxy.ARGUMENT


def test_a_private_key_beside_a_certificate_is_refused_and_shown_nowhere(ran: Ran) -> None:
    key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIHidden\n-----END EC PRIVATE KEY-----\n"
    logged, returned = ran({"registry_ca_certificates": {"r.example": f"-----BEGIN C...\n{key}"}}, lambda _: None)
    assert "r.example holds a private key" in returned
    assert "MHcCAQEEIHidden" not in logged + returned


def test_certificates_are_given_on_as_they_are(ran: Ran) -> None:
    certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

    def end(module: AnsibleModule) -> None:
        assert module.params["registry_ca_certificates"] == {"r.example": certificate}
        module.exit_json()

    assert "NOT_LOGGING_PARAMETER" in ran({"registry_ca_certificates": {"r.example": certificate}}, end)[0]


@pytest.mark.parametrize(
    "address",
    ["http://me:w0rd-0815@proxy:3128", "http://me:w0rd#0815@proxy", "https://me:w0rd-0815@proxy", "w0rd-0815"],
)
def test_the_address_of_a_proxy_is_in_no_log_and_no_result(ran: Ran, address: str) -> None:
    logged, returned = ran({"proxy": {"http": address}}, lambda module: module.exit_json())
    assert "w0rd" not in logged + returned
    assert "0815" not in logged + returned
