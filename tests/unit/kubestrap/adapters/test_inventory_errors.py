"""Of what Ansible says about an inventory, the sentence that helps, and nothing that may be a password."""

import pytest
from kubestrap.adapters.inventory import AnsibleInventoryReader
from kubestrap.errors import InventoryError, KubestrapError

SECRET = "s3cret-w0rd"  # noqa: S105
GOOD = "control_plane:\n  hosts:\n    cp:\n"


@pytest.mark.parametrize(
    ("name", "content", "line", "told"),
    [
        ("i.ini", f'[control_plane]\ncp ansible_password="{SECRET} x\n', 2, "correct the quotes"),
        ("i.ini", f"[control_plane]\ncp\n[control_plane:vars]\nansible_password {SECRET}\n", 4, "name=value"),
        ("i.yml", f"{GOOD}      ansible_password: !{SECRET}\n", 4, "begins with !"),
        ("group_vars/all.yml", f"---\nansible_password: !{SECRET}\n", 2, "begins with !"),
        ("group_vars/all.yml", b"a: gr\xf6\xdfe\n", 1, "save it as UTF-8"),
        ("i.yml", GOOD.encode("utf-16"), 1, "save it as UTF-8"),
    ],
)
def test_what_cannot_be_read_is_told_without_what_it_says(tmp_path, name, content, line, told):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    source = path
    if path.parent != tmp_path:
        source = tmp_path / "i.yml"
        source.write_text(GOOD)
    with pytest.raises(InventoryError) as raised:
        AnsibleInventoryReader(tmp_path / ".kubestrap").read([source], [])
    text = raised.value.message
    assert text.startswith(f"{path}:{line}: ")
    assert told in text
    assert SECRET not in text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a: [\n", "line 2 is not valid YAML"),
        (b"a: gr\xf6\n", "no UTF-8 text"),
        ("- a\n", "holds no variables"),
        (f"a: *{SECRET}\n", "line 1 is not valid YAML"),
        (f"a: !{SECRET}\n", "begins with !"),
        ("$ANSIBLE_VAULT;1.1;AES256\n6162\n", "encrypted with Ansible Vault"),
    ],
)
def test_a_file_of_variables_is_blamed_and_not_the_inventory(tmp_path, content, told):
    source, path = tmp_path / "i.yml", tmp_path / "vars.yml"
    source.write_text(GOOD)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(KubestrapError) as raised:
        AnsibleInventoryReader(tmp_path / ".kubestrap").read([source], [f"@{path}"])
    text = raised.value.message
    assert str(path) in text
    assert str(source) not in text
    assert told in text
    assert SECRET not in text
