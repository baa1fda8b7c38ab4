"""What is built, and from which versions. Everything else in this package is about how."""

import dataclasses
import pathlib
import platform

from kubestrap.adapters.content import collection_module
from kubestrap.adapters.declaration import load_declaration

HERE = pathlib.Path(__file__).parent

# What is downloaded when nobody says otherwise is what is built.
DEFAULTS = {name: variable.default for name, variable in load_declaration().variables.items()}
SUPPLY = collection_module("supply")
VERSIONS = {file.name: file.version for file in SUPPLY.files(DEFAULTS)}
_TAGS = SUPPLY.tags(DEFAULTS)

KUBERNETES = f"v{DEFAULTS['cluster_kubernetes_version']}"
KUBERNETES_COMMIT = "bb826b1d48562f110659e64e8ec444327433db95"
KUBERNETES_DATE = "2026-08-20T00:00:00Z"
COREDNS = "v1.14.2"
ETCD = "v3.6.14"
# kubeadm asks for this tag and starts whatever it names.
ETCD_IMAGE_TAG = "3.6.8-0"
CRI_TOOLS = "v1.36.0"
CNI_PLUGINS = "v1.9.1"
FLANNEL = VERSIONS["cluster_flannel_manifest"]
FLANNEL_CNI_IMAGE_TAG = _TAGS["flannel-io/flannel-cni-plugin"]
CRI_DOCKERD = VERSIONS["cluster_cri_dockerd"]
PAUSE = "3.10.2"
METRICS_SERVER = VERSIONS["cluster_metrics_server_manifest"]
METALLB = VERSIONS["cluster_metallb_manifest"]
LOCAL_PATH = VERSIONS["cluster_local_path_manifest"]
BUSYBOX = _TAGS["library/busybox"]

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
MINOR = KUBERNETES.rpartition(".")[0]


@dataclasses.dataclass(frozen=True)
class Program:
    """A Go package and the name of the program that comes out of it."""

    package: str
    name: str


@dataclasses.dataclass(frozen=True)
class GoBuild:
    """Programs built by one run of the Go compiler, so that they share what they have in common.

    Attributes:
        name: What the build is called in messages and in the cache.
        modules: Required modules, path to version.
        programs: What to build.
        replaced_like: Module whose own `replace` block is taken over. A replacement inside its repository
            (`./staging/...`) becomes the published module of the version in `staging`.
        staging: Version of the published modules that are developed inside the repository of `replaced_like`.
        linker_variables: Strings set by the linker, mostly versions.
        sources: Folders of our own programs, copied to `cmd/` of the module.
        cgo: Whether C is compiled too; linked statically.
    """

    name: str
    modules: dict[str, str]
    programs: tuple[Program, ...]
    replaced_like: str = ""
    staging: str = ""
    linker_variables: dict[str, str] = dataclasses.field(default_factory=dict)
    sources: tuple[pathlib.Path, ...] = ()
    cgo: bool = False

    def source_files(self) -> list[pathlib.Path]:
        """The files of our own programs."""
        return sorted(file for folder in self.sources for file in folder.glob("*.go"))


def kubernetes_version_variables(version: str, commit: str, date: str) -> dict[str, str]:
    """What the linker tells the programs of Kubernetes about themselves."""
    major, minor, _ = version.removeprefix("v").split(".")
    values = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitCommit": commit,
        "gitTreeState": "clean",
        "buildDate": date,
    }
    return {
        f"{package}.{name}": value
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for name, value in values.items()
    }


CONTROL_PLANE_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
CNI_PLUGIN_PROGRAMS = {
    "bridge": "main",
    "host-device": "main",
    "loopback": "main",
    "ptp": "main",
    "bandwidth": "meta",
    "firewall": "meta",
    "portmap": "meta",
    "tuning": "meta",
    "host-local": "ipam",
}

# One module for all of these: they are made of the same packages, which are then compiled once.
_CLUSTER_MODULES = {
    "k8s.io/kubernetes": KUBERNETES,
    "github.com/coredns/coredns": COREDNS,
    "go.etcd.io/etcd/server/v3": ETCD,
    "go.etcd.io/etcd/etcdctl/v3": ETCD,
    "sigs.k8s.io/cri-tools": CRI_TOOLS,
    "github.com/containernetworking/plugins": CNI_PLUGINS,
    "github.com/flannel-io/flannel": FLANNEL,
    # The version that flannel asks for is not published everywhere.
    "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common": "v1.3.149",
}

CLUSTER = GoBuild(
    name="cluster programs",
    modules=_CLUSTER_MODULES,
    replaced_like="k8s.io/kubernetes",
    staging=KUBERNETES.replace("v1.", "v0.", 1),
    programs=(
        *(
            Program(f"k8s.io/kubernetes/cmd/{name}", name)
            for name in ("kubeadm", "kubelet", "kubectl", *CONTROL_PLANE_PROGRAMS, "kube-proxy")
        ),
        Program("./cmd/coredns", "coredns"),
        Program("./cmd/pause", "pause"),
        Program("go.etcd.io/etcd/server/v3", "etcd"),
        Program("go.etcd.io/etcd/etcdctl/v3", "etcdctl"),
        Program("sigs.k8s.io/cri-tools/cmd/crictl", "crictl"),
        *(
            Program(f"github.com/containernetworking/plugins/plugins/{kind}/{name}", name)
            for name, kind in CNI_PLUGIN_PROGRAMS.items()
        ),
    ),
    linker_variables={
        **kubernetes_version_variables(KUBERNETES, KUBERNETES_COMMIT, KUBERNETES_DATE),
        "sigs.k8s.io/cri-tools/pkg/version.Version": CRI_TOOLS,
        "github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion": CNI_PLUGINS,
    },
    sources=(HERE / "coredns", HERE / "pause"),
)

FLANNEL_DAEMON = dataclasses.replace(
    CLUSTER,
    name="flannel",
    programs=(Program("github.com/flannel-io/flannel", "flanneld"),),
    linker_variables={"github.com/flannel-io/flannel/pkg/version.Version": FLANNEL},
    sources=(),
    cgo=True,
)

FLANNEL_CNI_PLUGIN = GoBuild(
    name="flannel CNI plugin",
    # The last version that carried flannel's plugin.
    modules={"github.com/containernetworking/plugins": "v0.9.1"},
    programs=(Program("github.com/containernetworking/plugins/plugins/meta/flannel", "flannel"),),
)

CRI_DOCKERD_DAEMON = GoBuild(
    name="cri-dockerd",
    modules={"github.com/Mirantis/cri-dockerd": CRI_DOCKERD},
    replaced_like="github.com/Mirantis/cri-dockerd",
    programs=(Program("github.com/Mirantis/cri-dockerd", "cri-dockerd"),),
    linker_variables={
        "github.com/Mirantis/cri-dockerd/cmd/version.Version": CRI_DOCKERD.removeprefix("v"),
        "github.com/Mirantis/cri-dockerd/cmd/version.GitCommit": "d969e29",
    },
)

# With the cluster's version of Kubernetes' modules.
METRICS_SERVER_PROGRAM = GoBuild(
    name="metrics-server",
    modules={**_CLUSTER_MODULES, "sigs.k8s.io/metrics-server": METRICS_SERVER},
    replaced_like="k8s.io/kubernetes",
    staging=CLUSTER.staging,
    programs=(Program("sigs.k8s.io/metrics-server/cmd/metrics-server", "metrics-server"),),
    linker_variables={"k8s.io/client-go/pkg/version.gitVersion": METRICS_SERVER},
)

METALLB_PROGRAMS = GoBuild(
    name="MetalLB",
    modules={"go.universe.tf/metallb": METALLB},
    programs=(
        Program("go.universe.tf/metallb/controller", "controller"),
        Program("go.universe.tf/metallb/speaker", "speaker"),
    ),
)

LOCAL_PATH_PROVISIONER = GoBuild(
    name="local-path-provisioner",
    modules={
        **_CLUSTER_MODULES,
        # As the cluster's programs have them in the end: the version is part of what a compiled package is known by.
        **{f"k8s.io/{name}": CLUSTER.staging for name in ("api", "apimachinery", "streaming")},
        "golang.org/x/oauth2": "v0.36.0",
        "github.com/rancher/local-path-provisioner": LOCAL_PATH,
    },
    replaced_like="k8s.io/kubernetes",
    staging=CLUSTER.staging,
    programs=(Program("github.com/rancher/local-path-provisioner", "local-path-provisioner"),),
    linker_variables={"main.VERSION": LOCAL_PATH},
)

ADDON_BUILDS = (METRICS_SERVER_PROGRAM, METALLB_PROGRAMS, LOCAL_PATH_PROVISIONER)
# Repository of an add-on's manifests to the module, and its version, that holds the same files.
ADDON_MANIFESTS = {
    "kubernetes-sigs/metrics-server": ("sigs.k8s.io/metrics-server", METRICS_SERVER),
    "metallb/metallb": ("go.universe.tf/metallb", METALLB),
    "rancher/local-path-provisioner": ("github.com/rancher/local-path-provisioner", LOCAL_PATH),
}


@dataclasses.dataclass(frozen=True)
class Image:
    """A container image: one program or a few, perhaps on top of a small Debian.

    Attributes:
        names: Names in the registry, with tags.
        files: Path in the image to the name of a built program.
        entrypoint: As in a Dockerfile.
        userland: Whether the programs of Debian (shell, cp, iptables, ip) are below.
        user: As in a Dockerfile; empty is root.
    """

    names: tuple[str, ...]
    files: dict[str, str]
    entrypoint: tuple[str, ...] = ()
    userland: bool = False
    user: str = ""


IMAGES = (
    *(Image(names=(f"{name}:{KUBERNETES}",), files={f"usr/local/bin/{name}": name}) for name in CONTROL_PLANE_PROGRAMS),
    Image(names=(f"kube-proxy:{KUBERNETES}",), files={"usr/local/bin/kube-proxy": "kube-proxy"}, userland=True),
    Image(
        names=(f"etcd:{ETCD_IMAGE_TAG}",),
        files={"usr/local/bin/etcd": "etcd", "usr/local/bin/etcdctl": "etcdctl"},
    ),
    # kubeadm asks a registry of one's own for the first name, registry.k8s.io for the second.
    Image(
        names=(f"coredns:{COREDNS}", f"coredns/coredns:{COREDNS}"),
        files={"coredns": "coredns"},
        entrypoint=("/coredns",),
    ),
    Image(names=(f"pause:{PAUSE}",), files={"pause": "pause"}, entrypoint=("/pause",), user="65535:65535"),
    Image(
        names=(f"flannel-io/flannel:{FLANNEL}",),
        files={"opt/bin/flanneld": "flanneld"},
        entrypoint=("/opt/bin/flanneld",),
        userland=True,
    ),
    Image(
        names=(f"flannel-io/flannel-cni-plugin:{FLANNEL_CNI_IMAGE_TAG}",), files={"flannel": "flannel"}, userland=True
    ),
)

ADDON_IMAGES = (
    Image(
        names=(f"metrics-server/metrics-server:{METRICS_SERVER}",),
        files={"metrics-server": "metrics-server"},
        entrypoint=("/metrics-server",),
        user="65534",
    ),
    *(
        Image(names=(f"metallb/{name}:{METALLB}",), files={name: name}, entrypoint=(f"/{name}",))
        for name in ("controller", "speaker")
    ),
    Image(
        names=(f"rancher/local-path-provisioner:{LOCAL_PATH}",),
        files={"usr/bin/local-path-provisioner": "local-path-provisioner"},
    ),
    # local-path makes and removes directories with its shell.
    Image(names=(f"library/busybox:{BUSYBOX}",), files={}, userland=True),
)

# Programs of Debian that kube-proxy, flannel and the containers that only copy files call.
USERLAND_PACKAGES = ("conntrack", "coreutils", "dash", "iproute2", "iptables", "kmod", "nftables")


@dataclasses.dataclass(frozen=True)
class DebianPackage:
    """A package as pkgs.k8s.io has it.

    Attributes:
        name: Name of the package.
        version: Version of the package, with the packaging's own revision.
        programs: Path on the host to the name of a built program.
        summary: The description's first line.
        depends: The `Depends` field.
        texts: Path on the host to a file's text.
    """

    name: str
    version: str
    programs: dict[str, str]
    summary: str
    depends: str = ""
    texts: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """Name of the archive."""
        return f"{self.name}_{self.version}_{ARCHITECTURE}.deb"


KUBELET_UNIT = """\
[Unit]
Description=kubelet: runs the pods of this Kubernetes node
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
RestartSec=10
StartLimitInterval=0

[Install]
WantedBy=multi-user.target
"""

KUBEADM_DROP_IN = """\
# kubeadm writes config.yaml and kubeadm-flags.env; /etc/default/kubelet is the administrator's.
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
--kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"""


def _package_version(version: str) -> str:
    return version.removeprefix("v") + "-1.1"


PACKAGES = (
    DebianPackage(
        "kubeadm",
        _package_version(KUBERNETES),
        {"usr/bin/kubeadm": "kubeadm"},
        "makes a Kubernetes cluster out of machines",
        texts={"usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf": KUBEADM_DROP_IN},
    ),
    DebianPackage(
        "kubelet",
        _package_version(KUBERNETES),
        {"usr/bin/kubelet": "kubelet"},
        "the node agent of Kubernetes",
        depends="iptables (>= 1.4.21), kubernetes-cni (>= 1.2.0), mount, util-linux",
        texts={"usr/lib/systemd/system/kubelet.service": KUBELET_UNIT},
    ),
    DebianPackage(
        "kubectl", _package_version(KUBERNETES), {"usr/bin/kubectl": "kubectl"}, "the command line of Kubernetes"
    ),
    DebianPackage(
        "cri-tools", _package_version(CRI_TOOLS), {"usr/bin/crictl": "crictl"}, "looks into container runtimes"
    ),
    DebianPackage(
        "kubernetes-cni",
        _package_version(CNI_PLUGINS),
        {f"opt/cni/bin/{name}": name for name in CNI_PLUGIN_PROGRAMS},
        "network plugins for containers",
    ),
)
