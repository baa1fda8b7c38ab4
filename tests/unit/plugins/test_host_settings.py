from ansible_collections.kubestrap.cluster.plugins.modules.host_settings import fstab_without_swap

FSTAB = """\
# <file system> <mount point> <type> <options>
UUID=1 / ext4 errors=remount-ro 0 1
/swapfile none swap sw 0 0
UUID=2\tnone\tswap\tsw,pri=1\t0\t0
#/dev/sdb1 none swap sw 0 0
  /dev/sdd1 none swap sw 0 0
/dev/sdc1 /data/swap ext4 defaults 0 0
"""


def test_only_swap_entries_are_commented_out() -> None:
    changed = [line for line in fstab_without_swap(FSTAB).splitlines() if line not in FSTAB.splitlines()]
    assert changed == [
        "# Kubernetes needs swap off: /swapfile none swap sw 0 0",
        "# Kubernetes needs swap off: UUID=2\tnone\tswap\tsw,pri=1\t0\t0",
        "# Kubernetes needs swap off:   /dev/sdd1 none swap sw 0 0",
    ]


def test_doing_it_again_changes_nothing() -> None:
    once = fstab_without_swap(FSTAB)
    assert fstab_without_swap(once) == once
