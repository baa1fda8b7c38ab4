from kubestrap.lab import apt

DEB822 = """\
Types: deb deb-src
# A comment between the fields.
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Trusted: yes

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""


def rewritten(path: str, text: str) -> list[tuple[str, str]]:
    sources = apt.rewrite(apt.parse({path: text}), machine_suite="bookworm", suite="trixie")
    return [(source.uri, source.suite) for source in sources]


def test_deb822_entries_get_the_other_suite() -> None:
    assert rewritten("debian.sources", DEB822) == [
        ("http://mirror.example/debian", "trixie"),
        ("http://mirror.example/debian", "trixie-updates"),
        ("http://mirror.example/debian-security", "trixie-security"),
    ]


def test_one_line_entries_get_the_other_suite() -> None:
    text = """\
# deb http://old.example/debian bookworm main
deb [trusted=yes arch=amd64] http://mirror.example/debian bookworm main contrib # ours
deb-src http://mirror.example/debian bookworm main
deb cdrom:[Debian]/ bookworm main
"""
    assert rewritten("sources.list", text) == [("http://mirror.example/debian", "trixie")]
    assert apt.parse({"sources.list": text})[0].trusted


def test_other_publishers_are_left_out() -> None:
    text = """\
deb [signed-by=/etc/apt/keyrings/docker.asc] https://docker.example/linux/debian bookworm main
deb https://cloud.example/apt cloud-sdk-bookworm main
deb https://docker.example/linux/debian bookworm stable
deb https://sql.example/apt bookworm-pgdg main
deb https://other.example/debian sid main
"""
    assert rewritten("sources.list", text) == []


def test_rendered_entries_can_be_read_again() -> None:
    sources = apt.rewrite(apt.parse({"debian.sources": DEB822}), machine_suite="bookworm", suite="trixie")
    text = apt.render(sources)
    assert apt.parse({"debian.sources": text}) == sources
    assert text.count("Trusted: yes") == 1


def test_settings_that_reach_the_mirror_go_along_and_hooks_do_not() -> None:
    dump = """\
Acquire::http "";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::https::Verify-Peer "1";
Acquire::http::Proxy-Auto-Detect "/usr/bin/auto-apt-proxy";
Acquire::AllowInsecureRepositories "0";
Acquire::Check-Valid-Until "false";
Acquire::IndexTargets::deb::DEP-11::MetaKey "$(COMPONENT)/dep11";
Acquire::Languages:: "none";
DPkg::Post-Invoke:: "/usr/bin/test -e /usr/share/dbus-1";
"""
    assert apt.transport_settings(dump).splitlines() == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::https::Verify-Peer "1";',
        'Acquire::Check-Valid-Until "false";',
    ]
