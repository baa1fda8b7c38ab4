"""Every finding there is: what it means, and what to do. docs/findings.md is made from this.

What a finding says about one host (which file, which address) is said where it is found. Standard library only.
"""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import BLOCKER, WARNING


class Entry(NamedTuple):
    """What is to be known about a finding before it is found.

    Attributes:
        severity: What it can be: BLOCKER, WARNING, or both.
        title: What it means, in one sentence.
        fix: What to do.
        page: What else there is to know.
    """

    severity: tuple[str, ...]
    title: str
    fix: str
    page: str = ""


STOPS = (BLOCKER,)
WARNS = (WARNING,)
EITHER = (BLOCKER, WARNING)

# fmt: off
CATALOGUE = {
    # The machine.
    "os-unsupported": Entry(STOPS, "The operating system is none that kubestrap knows.",
        "Use a system that the finding names."),
    "os-unproved": Entry(WARNS, "This version of the operating system was never tried.",
        "It may work. To be sure, use a version that the finding names."),
    "architecture-unsupported": Entry(STOPS, "The processor is neither amd64 nor arm64.",
        "Use another machine."),
    "systemd-missing": Entry(STOPS, "systemd does not run the host, and nothing would start kubelet.",
        "Use a system that systemd starts. A container needs an image that runs it."),
    "cpu-low": Entry(STOPS, "A control plane has fewer than 2 CPUs, with which kubeadm refuses to work.",
        "Give the machine another CPU, or make it a worker."),
    "memory-low": Entry(STOPS, "A control plane has less than 1700 MiB of memory, with which kubeadm refuses to work.",
        "Give the machine more memory, or make it a worker."),
    "disk-low": Entry(EITHER, "/var is nearly full.",
        "Make room, or give /var a larger disk.",
        "Below 15 % kubelet deletes images and evicts pods: that blocks. Less than 8 GiB is a warning, and so is "
        "either on a host that is a node already."),
    "swap-on": Entry(WARNS, "Swap is on, with which kubelet does not start.",
        "Nothing to do: it is turned off, and kept off after a reboot. In a container kubelet is told to accept it."),
    "swap-comes-back": Entry(WARNS, "A unit or a script turns swap on when the host starts.",
        "Disable that unit, or take the line out of the script.",
        "The node works until the next reboot; then kubelet does not start."),
    "sysctl-overridden": Entry(WARNS, "A file that is read after kubestrap's sets another value of a kernel setting.",
        "Take the line out of that file.",
        "The node works until the next reboot; then the other value holds."),
    "kernel-feature-missing": Entry(STOPS, "The kernel lacks overlay or br_netfilter, built in or as a module.",
        "Install the distribution's ordinary kernel and reboot."),
    "cgroup-v1": Entry(WARNS, "The host uses version 1 of control groups, which Kubernetes is about to give up.",
        "Nothing to do now. Later, boot with `systemd.unified_cgroup_hierarchy=1`."),
    "clock-skew": Entry(STOPS, "The host's clock and yours differ by more than two minutes.",
        "Set it right, and see why its time service does not keep it so.",
        "Certificates made with one clock would not be valid by the other."),
    "clock-unsynchronised": Entry(WARNS, "Nothing keeps the host's clock right.",
        "Install systemd-timesyncd or chrony, or let the one that runs reach a time server (UDP port 123)."),
    "host-name-invalid": Entry(STOPS, "The host's name cannot be the name of a node.",
        "`hostnamectl hostname NAME`, with lower-case letters, digits, `-` and `.`."),
    "host-name-twice": Entry(STOPS, "Several hosts have the same name.",
        "Give each host a name of its own: `hostnamectl hostname NAME`."),
    "machine-id-twice": Entry(STOPS, "Several hosts have the same machine ID: they are clones of each other.",
        "Make a new one on each clone; the finding has the command."),
    # Its network.
    "node-address-missing": Entry(STOPS, "The host does not have the address that the inventory gives it.",
        "Correct `cluster_node_address` of this host."),
    "node-address-unknown": Entry(STOPS, "The host has no default route, so it is not clear which address to use.",
        "Set `cluster_node_address` of this host."),
    "node-address-differs": Entry(STOPS, "The node joined its cluster with another address of the same host.",
        "Set `cluster_node_address` to the address it has in the cluster. A node keeps its address."),
    "control-plane-unreachable": Entry(STOPS, "The host does not reach TCP port 6443 of the control plane.",
        "Open the firewalls between them, or correct `cluster_node_address` of the control plane."),
    "pod-cidr-taken": Entry(STOPS, "The addresses for pods overlap with a network of the host.",
        "Choose another `cluster_pod_cidr`."),
    "service-cidr-taken": Entry(STOPS, "The addresses for Services overlap with a network of the host.",
        "Choose another `cluster_service_cidr`."),
    "pod-network-left": Entry(STOPS, "A pod network of an earlier cluster is left on the host.",
        "Remove its interfaces; the finding has the command."),
    "cni-foreign": Entry(STOPS, "/etc/cni/net.d configures another pod network, and pods would be put into that.",
        "On a bare host move the files away. On a node set `cluster_pod_network: none`: its network stays."),
    "resolver-loop": Entry(STOPS, "The host's name server is the host itself; in a pod that is the pod.",
        "Put the address of a real name server into /etc/resolv.conf, or use systemd-resolved."),
    "resolver-missing": Entry(WARNS, "The host has no name server, so pods will not find names outside the cluster.",
        "Put the address of one into /etc/resolv.conf."),
    "resolver-too-many": Entry(WARNS, "The host names more than three name servers; programs ask only the first three.",
        "Leave three that answer."),
    "resolver-silent": Entry(WARNS, "A name server of the host does not answer, and each look-up waits for it.",
        "Take it out, or let the host reach it (UDP and TCP port 53)."),
    "port-taken": Entry(STOPS, "Another program listens on a port that Kubernetes needs.",
        "Stop that program, or move it to another port."),
    "firewall-active": Entry(WARNS, "A firewall is active on the host.",
        "Open the ports that the finding lists."),
    "virtual-address-elsewhere": Entry(STOPS, "`cluster_api_virtual_address` is not in the network of the host.",
        "Choose a free address of that network, or put a load balancer before the control planes."),
    "virtual-address-taken": Entry(STOPS, "Another machine has `cluster_api_virtual_address` already.",
        "Choose an address that nobody has."),
    "load-balancer-address-taken": Entry(STOPS, "A host has an address of `cluster_metallb_addresses`.",
        "Choose addresses that nobody has."),
    # What it installs, and from where.
    "proxy-unreachable": Entry(EITHER, "The proxy does not answer.",
        "Correct `cluster_http_proxy` and `cluster_https_proxy`, or let the host through to it.",
        "A warning on a node, where nothing need be fetched."),
    "repository-unusable": Entry(STOPS, "The package repository of Kubernetes cannot be read, or another key signs it.",
        "Correct `cluster_kubernetes_repository` or `cluster_kubernetes_repository_key_fingerprint`."),
    "repository-away": Entry(WARNS, "The package repository cannot be read, and nothing is missing on the host.",
        "Nothing to do now. The next host, or the next version, will need it."),
    "package-manager-busy": Entry(WARNS, "Another program works with the packages at the moment.",
        "Nothing to do: what needs packages waits for it."),
    "package-pinned": Entry(EITHER, "The package manager's own settings forbid a package that is needed.",
        "Raise that priority, or remove the entry.", "A warning on a node."),
    "packages-uninstallable": Entry(WARNS, "The package manager would not install what is needed.",
        "Correct what it names; to refresh its lists may be all that is missing."),
    "package-conflict": Entry(EITHER, "A package on the host cannot be installed beside what is needed.",
        "Take another container runtime for this host (`cluster_container_runtime`), or another host.",
        "kubestrap does not remove it. A warning on a node."),
    "package-sources-unreachable": Entry(EITHER, "The package manager cannot read its sources.",
        "Correct them (the finding says where they are), or the proxy they are read through.",
        "A warning when some of them can be read, and on a node."),
    # The container runtime.
    "docker-conflict": Entry(STOPS, "The host has the other family of Docker's packages.",
        "Take the Docker that is there: `cluster_docker_source` docker.com or distribution."),
    "docker-too-old": Entry(STOPS, "cri-dockerd, which links Docker to Kubernetes, needs a newer Docker.",
        "`cluster_docker_source: docker.com`, or `cluster_container_runtime: containerd`."),
    "docker-settings-invalid": Entry(STOPS, "Docker's settings cannot be read.",
        "Correct /etc/docker/daemon.json."),
    "docker-settings-twice": Entry(STOPS, "A setting is in daemon.json and on dockerd's command line as well.",
        "Say it in one place. Docker does not start with both."),
    "docker-userns-remap": Entry(EITHER, "Docker gives containers users of their own (userns-remap).",
        "Take `userns-remap` out, or use containerd on this host.",
        "Pods that use the network of the host, as those of Kubernetes itself do, cannot start with it."),
    "docker-restart": Entry(WARNS, "Docker has to be restarted, which stops other containers for a moment.",
        'Nothing to do. To keep them running, set `"live-restore": true` and reload Docker before.'),
    "docker-restart-removes": Entry(STOPS, "Docker has to be restarted, which removes containers started with --rm.",
        'Save what you need of them and stop them, or set `"live-restore": true` and reload Docker before.'),
    "container-gone": Entry(WARNS, "The restart of Docker ended a container that was started with --rm.",
        "Start it anew."),
    "container-stopped": Entry(WARNS, "The restart of Docker stopped a container, and it does not start again.",
        "Put right what Docker says about it, and start it: `docker start NAME`."),
    "containerd-too-old": Entry(STOPS, "kubelet needs a newer containerd.",
        "Upgrade it, or `cluster_containerd_source: docker.com`."),
    "runtime-change": Entry(STOPS, "A node would get another container runtime under its running containers.",
        "Keep it: set `cluster_container_runtime` of this host to the one it has."),
    "mirror-ignored": Entry(WARNS, "Docker has mirrors of docker.io only.",
        "Give the mirror's own address in place of the registry's, or use containerd."),
    # Images.
    "image-refused": Entry(WARNS, "A host did not take an image from the host before it, because its content differed.",
        "Find out what changes images on that host, or on the way, before you trust it again."),
    "image-not-pinned": Entry(WARNS, "`cluster_image_digests` has a digest for another tag of an image that is used.",
        "Put the name and tag that are used into it, with their digest."),
    "image-tag-moved": Entry(WARNS, "Under one tag, nodes got different images.",
        "Name the image by digest, or give the newer one a tag of its own."),
    # The cluster that is there.
    "other-cluster": Entry(STOPS, "The host belongs to another cluster.",
        "If it is this cluster, set `cluster_api_endpoint` as the finding says; else take the host out of it first."),
    "other-role": Entry(STOPS, "The host is a control plane, and the inventory says worker.",
        "Put it into the group `control_plane`."),
    "control-planes-even": Entry(WARNS, "An even number of control planes survives no more than one fewer.",
        "Use one more, or one fewer."),
    "cluster-not-asked": Entry(WARNS, "There is a cluster, and its API could not be asked.",
        "Nothing to do for that: `up` waits for the API, and says why when it does not come.",
        "Only files of the host were compared with the inventory."),
    "pod-cidr-differs": Entry(STOPS, "The cluster's pods are in another network than the inventory says.",
        "Set `cluster_pod_cidr` to the cluster's. It cannot be changed in a living cluster."),
    "service-cidr-differs": Entry(STOPS, "The cluster's Services are in another network than the inventory says.",
        "Set `cluster_service_cidr` to the cluster's. It cannot be changed in a living cluster."),
    "dns-domain-differs": Entry(STOPS, "The cluster has another DNS domain than the inventory says.",
        "Set `cluster_dns_domain` to the cluster's. It is in the settings of every node and pod."),
    "cluster-name-differs": Entry(STOPS, "The cluster is called otherwise than the inventory says.",
        "Set `cluster_name`, or accept this to have the other name in your kubeconfig only."),
    "pod-network-differs": Entry(STOPS, "Something else than our flannel connects the cluster's pods.",
        "Set `cluster_pod_network: none`: it stays as it is. It cannot be exchanged under running pods."),
    "api-endpoint-differs": Entry(STOPS, "The cluster's API has another address than the inventory says.",
        "Set `cluster_api_endpoint` to the cluster's. It is in every kubeconfig and certificate."),
    "address-changed": Entry(STOPS, "A node lost the address by which its cluster knows it.",
        "Give the host its old address again. Then everything goes on as it was."),
    "control-plane-moved": Entry(WARNS, "The node knows the API at the former address of a control plane.",
        "Nothing to do here: see `address-changed` of that control plane."),
    "node-name-differs": Entry(STOPS, "The host is called otherwise than its node.",
        "Give it the name of the node again: `hostnamectl hostname NAME`."),
    "node-not-in-inventory": Entry(WARNS, "The cluster has a node that is no host of the inventory.",
        "Add it, or take it out of the cluster; the finding has the commands."),
    "host-name-taken": Entry(STOPS, "The cluster has a node of this host's name, with another address.",
        "Give the host another name; or, if it is that node made anew, its old address."),
    "host-reinstalled": Entry(EITHER, "The host was a node of the cluster, and holds nothing of it any more.",
        "Run again in a minute; then it joins under its name.",
        "It blocks while the cluster still takes a worker for Ready."),
    "kubelet-not-packaged": Entry(STOPS, "The node's kubelet did not come as a package, so it cannot be taken over.",
        "Leave the node out of the inventory, and give the cluster another host."),
    "taken-over": Entry(WARNS, "The node was made without kubestrap, and `up` changes something on it.",
        "Nothing to do: see [take-over.md](take-over.md)."),
    "version-differs": Entry(STOPS, "The node runs another version of Kubernetes than the inventory says.",
        "Set `cluster_kubernetes_version` to it. A living cluster is not upgraded in passing."),
    # What runs in it.
    "field-of-another": Entry(WARNS, "A field of a manifest was left as another program set it.",
        "Take the field out of the manifest, or end what that program does."),
    "addon-has-volumes": Entry(WARNS, "local-path is not wanted any more, and stays because it keeps volumes.",
        "Delete their claims when the data is needed no more, or put it back into `cluster_addons`."),
    "addon-in-use": Entry(WARNS, "An add-on is not wanted any more, and stays: people's objects would go with it.",
        "Move or delete them, or put the add-on back into `cluster_addons`."),
    "service-without-address": Entry(WARNS, "A Service of the type LoadBalancer got no address.",
        "`kubectl describe service` says why; give more `cluster_metallb_addresses` when all are taken."),
    # The program itself.
    "strange-answer": Entry(WARNS, "A host answered something that is no finding.",
        "Report it with the run's log."),
}
# fmt: on
