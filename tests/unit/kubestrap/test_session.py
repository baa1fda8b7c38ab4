"""The flow every verb shares: mistakes start nothing, lost hosts are set aside, without any control plane it ends."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from kubestrap import session
from kubestrap.adapters.declaration import load_declaration
from kubestrap.errors import InventoryError, UsageError
from kubestrap.model.cluster import Inventory
from kubestrap.model.events import TaskFinished
from kubestrap.model.probe import ProbeResult
from kubestrap.model.run import Outcome, Request
from kubestrap.ports import Tools
from kubestrap.verbs import check, deploy, image_push, minikube_down, minikube_up, status, up


@dataclass
class World:
    """Fakes for all that is outside."""

    variables: dict = field(default_factory=dict)
    lost: tuple = ()
    bad_manifests: tuple = ()
    bad_images: tuple = ()
    images_in_manifests: tuple = ()
    others: tuple = ()
    probed: list = field(default_factory=list)
    groups: dict = field(default_factory=dict)
    planes: tuple = ("cp",)
    played: list = field(default_factory=list)
    summaries: list = field(default_factory=list)
    images: list = field(default_factory=list)

    def tools(self):
        hosts = {name: f"192.0.2.{index}" for index, name in enumerate((*self.planes, "w1"), start=1)}
        inventory = Inventory(
            groups={"control_plane": self.planes, "workers": ("w1",), **self.groups},
            variables={
                **{name: {"ansible_host": address, **self.variables} for name, address in hosts.items()},
                **{name: {} for name in self.others},
            },
        )
        run = SimpleNamespace(directory=Path("run"), log=Path("log"), record=lambda _: None, finish=lambda *_: None)
        nothing = lambda *_: None  # noqa: E731
        return Tools(
            declaration=load_declaration(),
            inventories=SimpleNamespace(
                read=lambda *_: inventory, describe=lambda problems, *_: tuple(problem.text for problem in problems)
            ),
            app_files=SimpleNamespace(
                manifest_problems=lambda *_: self.bad_manifests,
                local_images=lambda *_: dict.fromkeys(self.images_in_manifests, "app.yml:1"),
                image_problems=lambda images, found, _: self.images.extend([*images, *found]) or self.bad_images,
            ),
            hosts=SimpleNamespace(probe=self._probe),
            runner=SimpleNamespace(run=self._run),
            state=SimpleNamespace(run=lambda: run, lock=lambda _: nullcontext()),
            reporter=SimpleNamespace(
                note=nothing,
                start=nothing,
                set_aside=nothing,
                handle=nothing,
                finish=self.summaries.append,
                close=nothing,
            ),
            renderer=None,
            terminal=None,
            clock=lambda: 0.0,
        )

    def _probe(self, hosts):
        self.probed += [host.name for host in hosts]
        return tuple(ProbeResult(host=host.name, problem="off" if host.name in self.lost else "") for host in hosts)

    def _run(self, playbook, *, log, handle, notify):  # noqa: ARG002
        self.played.append(playbook)
        handle(TaskFinished(host="cp", stage="node_base", task="Do", outcome="ok", started=0, ended=1))
        return Outcome(code=0)


def request(**more):
    return Request(inventories=(Path("inventory.yml"),), **more)


def test_up_runs_its_playbook_on_all_hosts():
    world = World()
    assert session.run(up.VERB, request(), world.tools()) == 0
    (playbook,) = world.played
    assert (playbook.name, playbook.limit, playbook.forks) == ("kubestrap.cluster.up", (), 10)


@pytest.mark.parametrize(
    "world",
    [
        World(variables={"cluster_pod_cdir": "x"}),
        World(bad_manifests=("app.yml:3: not valid YAML",)),
        World(bad_images=("there is no image",)),
    ],
)
def test_nothing_starts_on_a_mistake(world):
    with pytest.raises(InventoryError) as caught:
        session.run(up.VERB, request(), world.tools())
    assert caught.value.exit_code == 2
    assert caught.value.details
    assert world.played == []


def test_lost_worker_is_set_aside():
    world = World(lost=("w1",))
    assert session.run(up.VERB, request(), world.tools()) == 6
    assert world.played[0].limit == ("cp",)


def test_lost_control_plane_ends_it_before_the_first_step():
    world = World(lost=("cp",))
    assert session.run(up.VERB, request(), world.tools()) == 4
    assert world.played == []
    assert world.summaries[0].unreachable == {"cp": "off"}


@pytest.mark.parametrize("verb", [up.VERB, status.VERB])
def test_one_of_several_control_planes_is_set_aside(verb):
    world = World(planes=("cp", "cp2", "cp3"), lost=("cp",), variables={"cluster_api_virtual_address": "192.0.2.200"})
    assert session.run(verb, request(), world.tools()) == 6
    assert world.played[0].limit == ("cp2", "cp3", "w1")


def test_check_goes_on_with_the_hosts_that_answer():
    world = World(lost=("cp",))
    assert session.run(check.VERB, request(), world.tools()) == 4
    assert world.played[0].limit == ("w1",)


def test_limit():
    world = World()
    assert session.run(status.VERB, request(limit="cp"), world.tools()) == 0
    assert world.played[0].limit == ("cp",)
    with pytest.raises(UsageError, match="there are: cp, w1"):
        session.run(status.VERB, request(limit="nope"), world.tools())


def test_up_of_one_worker_leaves_the_control_plane_alone_but_asks_it():
    world = World()
    assert session.run(up.VERB, request(limit="w1"), world.tools()) == 0
    assert world.probed == ["w1", "cp"]
    assert world.played[0].limit == ("w1",)


def test_up_of_one_worker_asks_the_control_planes_that_answer():
    world = World(planes=("cp", "cp2", "cp3"), lost=("cp",), variables={"cluster_api_virtual_address": "192.0.2.200"})
    assert session.run(up.VERB, request(limit="w1"), world.tools()) == 0
    assert world.played[0].limit == ("w1",)
    assert world.played[0].variables == {"__cluster_consulted_hosts": ["cp2", "cp3"]}
    assert world.summaries[0].unreachable == {}


@pytest.mark.parametrize("lost", ["cp", "w1"])
def test_up_of_one_worker_needs_it_and_the_control_plane(lost):
    world = World(lost=(lost,))
    assert session.run(up.VERB, request(limit="w1"), world.tools()) == 4
    assert world.played == []
    assert world.summaries[0].unreachable == {lost: "off"}


def test_image_push_to_one_worker_asks_nobody_else():
    world = World(lost=("cp",))
    assert session.run(image_push.VERB, request(limit="w1", images=("new:1",)), world.tools()) == 0
    assert world.played[0].limit == ("w1",)


def test_hosts_of_no_group_are_left_alone():
    world = World(others=("printer",))
    session.run(up.VERB, request(), world.tools())
    assert world.played[0].limit == ("cp", "w1")


def test_image_push_takes_the_named_images():
    world = World(variables={"cluster_app_images": ["old:1"]})
    session.run(image_push.VERB, request(images=("new:1", "new.tar")), world.tools())
    assert world.images == ["new:1", "new.tar"]
    named = {"cluster_app_images": ["new:1", str(Path("new.tar").absolute())], "cluster_app_manifests": []}
    assert world.played[0].variables == named
    assert world.played[0].name == "kubestrap.cluster.image_push"


def test_image_push_of_named_images_does_not_read_the_apps_manifests():
    tools = World().tools()
    tools.app_files.local_images = lambda *_: pytest.fail("they may not even be there")
    assert session.run(image_push.VERB, request(images=("new:1",)), tools) == 0


def test_image_push_takes_those_listed_and_those_found_when_none_is_named():
    world = World(variables={"cluster_app_images": ["old:1"]}, images_in_manifests=("found:1",))
    session.run(image_push.VERB, request(), world.tools())
    assert world.images == ["old:1", "found:1"]
    assert world.played[0].variables == {}
    found_alone = World(images_in_manifests=("found:1",))
    assert session.run(image_push.VERB, request(), found_alone.tools()) == 0


def test_verbs_that_need_an_app_say_so():
    with pytest.raises(InventoryError, match="no image"):
        session.run(image_push.VERB, request(), World().tools())
    with pytest.raises(InventoryError, match="no app"):
        session.run(deploy.VERB, request(), World().tools())


def test_minikube_is_for_its_own_host_alone():
    world = World(groups={"minikube": ("mk",)}, others=("mk",))
    assert session.run(minikube_up.VERB, request(), world.tools()) == 0
    assert session.run(minikube_down.VERB, request(), world.tools()) == 0
    assert [(play.name, play.limit) for play in world.played] == [
        ("kubestrap.cluster.minikube_up", ("mk",)),
        ("kubestrap.cluster.minikube_down", ("mk",)),
    ]
    assert world.summaries[0].cluster == "minikube"


def test_without_a_host_for_minikube_nothing_starts():
    world = World()
    with pytest.raises(InventoryError) as caught:
        session.run(minikube_up.VERB, request(), world.tools())
    assert "the group minikube has no host" in caught.value.details[0]
    assert world.played == []


def test_a_slow_login_is_told_and_gets_patience():
    world = World()
    notes = []
    tools = world.tools()
    tools.reporter.note = notes.append
    tools.hosts.probe = lambda hosts: tuple(
        ProbeResult(host=host.name, seconds=25.0 if host.name == "w1" else 0.3) for host in hosts
    )
    assert session.run(up.VERB, request(), tools) == 0
    assert world.played[0].login_seconds == 75
    assert notes[0].startswith("w1: reached, but slowly: the login takes 25 s")
