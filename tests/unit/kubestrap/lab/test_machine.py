import pytest
from kubestrap.lab import machine


@pytest.mark.parametrize(
    ("bounding_set", "expected"), [("000001fffeffffff", False), ("000001ffffffffff", True), ("0000000001000000", True)]
)
def test_the_bounding_set_says_whether_limits_can_be_raised(bounding_set: str, *, expected: bool) -> None:
    assert machine.may_raise_limits(f"CapEff:\t0000000000000000\nCapBnd:\t{bounding_set}\n") is expected


def test_loopback_nameservers_do_not_count() -> None:
    stub = "# resolved\nnameserver 127.0.0.53\noptions edns0\n"
    assert machine.nameservers([stub, "nameserver 192.0.2.1\nnameserver 2001:db8::1\n"]) == ("192.0.2.1", "2001:db8::1")
    assert machine.nameservers(["nameserver 192.0.2.9\nnameserver 127.0.0.1\n", stub]) == ("192.0.2.9",)
    assert machine.nameservers([stub, "nameserver ::1\n"]) == ()
