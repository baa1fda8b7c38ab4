"""What the inventory says about SSH, as ssh itself understands it."""

import shlex
import subprocess
from pathlib import Path

import pytest
from kubestrap.adapters.ssh_route import RouteError, login_to, only_ansible_knows, route_to
from kubestrap.model.cluster import Host

# Whatever the tester's own configuration says.
PLAIN = {"ansible_ssh_args": "-F /dev/null", "ansible_host": "192.0.2.11"}


def host(**variables):
    return Host(name="cp1", role="control_plane", variables={**PLAIN, **variables}, directory=Path("/srv/site"))


def test_standard_variables(tmp_path):
    key = tmp_path / "a key"
    key.touch()
    site = host(
        ansible_port=2222,
        ansible_user="deploy",
        ansible_ssh_private_key_file=str(key),
        ansible_become_pass="secret",  # noqa: S106
        ansible_ssh_common_args='-o UserKnownHostsFile="/srv/a b" -o StrictHostKeyChecking=yes',
    )
    route, login = route_to(site), login_to(site)
    assert (route.address, route.port, route.user) == ("192.0.2.11", 2222, "deploy")
    assert f'IdentityFile="{key}"' in login.arguments
    assert login.become_password == "secret"  # noqa: S105
    assert route.known_hosts[0] == Path("/srv/a b")
    assert "StrictHostKeyChecking=no" not in login.arguments
    assert route.places == ("[192.0.2.11]:2222", "192.0.2.11")
    assert route.by_hand == "ssh -p 2222 deploy@192.0.2.11"
    assert not route.proxy


def test_configuration_file_counts(tmp_path):
    config = tmp_path / "config"
    (tmp_path / "more").write_text("Host web\n  HostName 192.0.2.20\n  Port 2200\n  HostKeyAlias web-1\n  User ops\n")
    config.write_text(f"Include {tmp_path}/more\n")
    route = route_to(host(ansible_ssh_args=f"-F {config}", ansible_host="web"))
    assert (route.address, route.port, route.user, route.places) == ("192.0.2.20", 2200, "ops", ("web-1",))


@pytest.mark.parametrize(
    ("jump", "words"),
    [
        ("ops@gate:2200", ["-p", "2200", "-W", "[192.0.2.11]:22", "ops@gate"]),
        ("gate", ["-W", "[192.0.2.11]:22", "gate"]),
        ("first,ops@[2001:db8::1]:22", ["-J", "first", "-p", "22", "-W", "[192.0.2.11]:22", "ops@2001:db8::1"]),
        ("ssh://ops@gate:2200", ["-p", "2200", "-W", "[192.0.2.11]:22", "ops@gate"]),
    ],
)
def test_jump_hosts(jump, words):
    route = route_to(host(ansible_ssh_common_args=f"-J {jump}"))
    proxy = shlex.split(route.proxy)
    assert proxy[:3] == ["ssh", "-F", "/dev/null"]
    assert proxy[-len(words) :] == words
    assert route.bastion == jump.replace("ssh://", "") or route.bastion == jump
    assert subprocess.run([*proxy[:-1], "-G", proxy[-1]], capture_output=True, check=False).returncode == 0


def test_proxy_command_is_kept_but_tells_why_it_fails():
    command = "ssh -q -i {{ inventory_dir }}/key -W %h:%p ops@gate"
    route = route_to(host(ansible_ssh_common_args=f'-o ProxyCommand="{command}"'))
    words = shlex.split(route.proxy)
    assert words[-5:] == ["-i", "/srv/site/key", "-W", "192.0.2.11:22", "ops@gate"]
    assert "-q" not in words
    assert "LogLevel=VERBOSE" in words
    assert route.bastion == "ops@gate"
    other = route_to(host(ansible_ssh_common_args="-o 'ProxyCommand=nc %h %p'"))
    assert (other.proxy, other.bastion) == ("nc 192.0.2.11 22", "nc %h %p")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ansible_ssh_executable": "/nope/ssh"}, "no /nope/ssh on this machine"),
        ({"ansible_ssh_common_args": "-o 'Foo=1"}, "No closing quotation"),
        ({"ansible_ssh_common_args": "-o Foo=1"}, "Bad configuration option"),
    ],
)
def test_nonsense_is_explained(variables, said):
    with pytest.raises(RouteError, match=said):
        route_to(host(**variables))


def test_what_only_ansible_knows():
    vault = {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256"}
    assert only_ansible_knows(host(ansible_host="{{ lookup('env', 'X') }}"))
    assert only_ansible_knows(host(ansible_connection="local"))
    assert not only_ansible_knows(host(ansible_ssh_private_key_file="{{ inventory_dir }}/key"))
    # The rest can be tried.
    encrypted = host(ansible_become_password=vault)
    assert not only_ansible_knows(encrypted)
    assert (login_to(encrypted).become, login_to(encrypted).become_password) == ("", None)


@pytest.mark.parametrize(
    "variables",
    [
        {"ansible_password": {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256"}},
        {"ansible_ssh_pass": "{{ lookup('env', 'X') }}"},
        {"ansible_user": "{{ lookup('env', 'X') }}"},
        {"ansible_private_key": "for the agent of Ansible"},
    ],
)
def test_a_login_that_only_ansible_knows_leaves_the_way_to_look_at(variables):
    assert not only_ansible_knows(host(**variables))
    assert login_to(host(**variables)).sealed
    assert not login_to(host(ansible_password="known", ansible_other="{{ x }}")).sealed  # noqa: S106


@pytest.mark.parametrize("password", ["pw", {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256"}])
def test_sshpass_that_is_not_here_is_told_as_ansible_would_miss_it(monkeypatch, tmp_path, password):
    asked = {"ansible_ssh_password_mechanism": "sshpass"}
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RouteError, match="sshpass, which is not on this machine"):
        login_to(host(ansible_password=password, **asked))
    assert not login_to(host(**asked)).password
    program = tmp_path / "sshpass"
    program.touch(mode=0o755)
    assert login_to(host(ansible_password="pw", **asked)).password == "pw"  # noqa: S105, S106


def test_a_password_that_ansible_keeps_from_ssh_is_not_tried(monkeypatch):
    monkeypatch.setenv("ANSIBLE_SSH_PASSWORD_MECHANISM", "disable")
    login = login_to(host(ansible_password="pw"))  # noqa: S106
    assert (login.password, login.withheld) == (None, True)
    assert "PasswordAuthentication=no" not in login.arguments


@pytest.mark.parametrize("name", ["ansible_host_key_checking", "ansible_ssh_host_key_checking"])
def test_both_names_for_no_check_of_host_keys_count(name):
    assert "StrictHostKeyChecking=no" in login_to(host(**{name: "no"})).arguments
    assert "StrictHostKeyChecking=no" not in login_to(host()).arguments


@pytest.mark.parametrize("executable", [False, True])
def test_passwords_from_files(tmp_path, monkeypatch, executable):
    path = tmp_path / "password"
    path.write_text("#!/bin/sh\necho 'from file'\n" if executable else "from file\n")
    path.chmod(0o700 if executable else 0o600)
    monkeypatch.setenv("ANSIBLE_BECOME_PASSWORD_FILE", str(path))
    assert login_to(host()).become_password == "from file"  # noqa: S105
    typed = host(ansible_become_password={"__ansible_unsafe": "{{x}}"})
    assert not only_ansible_knows(typed)
    assert (login_to(typed).become, login_to(typed).become_password) == ("sudo", "{{x}}")


def test_options_are_those_of_ansible_in_its_order(monkeypatch):
    site = host(
        ansible_port=2222,
        ansible_user="deploy",
        ansible_private_key_file="/k/%h",
        ansible_host_key_checking=False,
        ansible_ssh_common_args="-o Common=1",
        ansible_ssh_extra_args="-o Extra=1",
    )
    monkeypatch.setenv("ANSIBLE_SSH_COMMON_ARGS", "-o Environment=1")
    words = [word for word in login_to(site).arguments if word != "-o"]
    assert words == [
        "-F", "/dev/null", "StrictHostKeyChecking=no", "Port=2222", 'IdentityFile="/k/%h"',
        "KbdInteractiveAuthentication=no", "PreferredAuthentications=gssapi-with-mic,gssapi-keyex,hostbased,publickey",
        "PasswordAuthentication=no", 'User="deploy"', "Common=1", "Extra=1",
    ]  # fmt: skip
    assert not login_to(site).missing_key


def test_what_the_inventory_leaves_open_comes_from_the_environment_or_our_configuration(monkeypatch):
    bare = Host(name="cp1", role="control_plane", variables={}, directory=Path("/srv"))
    assert "ServerAliveInterval=15" in login_to(bare).arguments
    for name, text in {"COMMON_ARGS": "-o Environment=1", "EXECUTABLE": "/opt/ssh"}.items():
        monkeypatch.setenv(f"ANSIBLE_SSH_{name}", text)
    monkeypatch.setenv("ANSIBLE_REMOTE_USER", "ops")
    login = login_to(bare)
    assert (login.program, login.user, login.address) == ("/opt/ssh", "ops", "cp1")
    assert "Environment=1" in login.arguments


def test_a_password_lets_ssh_ask_for_it():
    login = login_to(host(ansible_password="x"))  # noqa: S106
    assert "NumberOfPasswordPrompts=1" in login.arguments
    assert "PasswordAuthentication=no" not in login.arguments
