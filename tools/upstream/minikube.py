"""Minikube and the Kubernetes it starts by itself: built for `tools.upstream minikube` only, for it takes long."""

import dataclasses

from tools.upstream.recipes import (
    CLUSTER,
    CONTROL_PLANE_PROGRAMS,
    HERE,
    VERSIONS,
    GoBuild,
    Image,
    Program,
    kubernetes_version_variables,
)

VERSION = VERSIONS["cluster_minikube"]
COMMIT = "f8f52f5de11fc6ad8244afac475e1d0f96841df1"
STORAGE_PROVISIONER = "v5"

# What this minikube starts when nobody asks for another version, and the tags it asks for.
KUBERNETES = "v1.33.1"
KUBERNETES_COMMIT = "8adc0f041b8e7ad1d30e29cc59c6ae7a15e19828"
KUBERNETES_DATE = "2025-05-15T00:00:00Z"
COREDNS = "v1.12.0"
ETCD = "v3.5.21"
PAUSE = "3.10"

# Fetched by minikube as single files.
NODE_PROGRAMS = ("kubeadm", "kubectl", "kubelet")

MINIKUBE_PROGRAMS = GoBuild(
    name="minikube",
    modules={"k8s.io/minikube": VERSION},
    replaced_like="k8s.io/minikube",
    programs=(
        Program("k8s.io/minikube/cmd/minikube", "minikube"),
        Program("k8s.io/minikube/cmd/storage-provisioner", "storage-provisioner"),
    ),
    linker_variables={
        "k8s.io/minikube/pkg/version.version": VERSION,
        "k8s.io/minikube/pkg/version.isoVersion": VERSION,
        "k8s.io/minikube/pkg/version.gitCommitID": COMMIT,
        "k8s.io/minikube/pkg/version.storageProvisionerVersion": STORAGE_PROVISIONER,
    },
)

KUBERNETES_PROGRAMS = GoBuild(
    name="minikube cluster programs",
    modules={
        "k8s.io/kubernetes": KUBERNETES,
        "github.com/coredns/coredns": COREDNS,
        "go.etcd.io/etcd/server/v3": ETCD,
    },
    replaced_like="k8s.io/kubernetes",
    staging=KUBERNETES.replace("v1.", "v0.", 1),
    programs=(
        *(
            Program(f"k8s.io/kubernetes/cmd/{name}", name)
            for name in (*NODE_PROGRAMS, *CONTROL_PLANE_PROGRAMS, "kube-proxy")
        ),
        Program("go.etcd.io/etcd/server/v3", "etcd"),
    ),
    linker_variables=kubernetes_version_variables(KUBERNETES, KUBERNETES_COMMIT, KUBERNETES_DATE),
)

# Minikube adds two plugins to kubeadm's Corefile. CoreDNS v1.12.0 itself does not compile with the libraries of its
# Kubernetes, so the tag names the version that the other clusters have.
COREDNS_PROGRAM = dataclasses.replace(
    CLUSTER,
    name="CoreDNS for minikube",
    programs=(Program("./cmd/coredns_minikube", "coredns"),),
    linker_variables={},
    sources=(HERE / "coredns_minikube",),
)

BUILDS = (MINIKUBE_PROGRAMS, KUBERNETES_PROGRAMS, COREDNS_PROGRAM)

IMAGES = (
    *(Image(names=(f"{name}:{KUBERNETES}",), files={f"usr/local/bin/{name}": name}) for name in CONTROL_PLANE_PROGRAMS),
    Image(names=(f"kube-proxy:{KUBERNETES}",), files={"usr/local/bin/kube-proxy": "kube-proxy"}, userland=True),
    Image(names=(f"etcd:{ETCD.removeprefix('v')}-0",), files={"usr/local/bin/etcd": "etcd"}),
    Image(
        names=(f"coredns:{COREDNS}", f"coredns/coredns:{COREDNS}"),
        files={"coredns": "coredns"},
        entrypoint=("/coredns",),
    ),
    Image(names=(f"pause:{PAUSE}",), files={"pause": "pause"}, entrypoint=("/pause",), user="65535:65535"),
    Image(
        names=(f"k8s-minikube/storage-provisioner:{STORAGE_PROVISIONER}",),
        files={"storage-provisioner": "storage-provisioner"},
        entrypoint=("/storage-provisioner",),
    ),
)
