"""Of what Ansible says about an inventory, the sentence that helps, and nothing that may be a password."""

import pytest

from bootstrap.adapters.inventory import AnsibleInventoryReader
from bootstrap.errors import InventoryError

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
