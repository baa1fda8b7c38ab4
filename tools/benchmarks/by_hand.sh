#!/bin/bash
# One bare Debian host becomes a cluster of one node with Docker, the way a person does it with a good shell script.
#
# Run as root on the host. The environment says where things come from: REPOSITORY, FINGERPRINT, IMAGE_REGISTRY,
# FLANNEL_REGISTRY, REGISTRY_CA, CRI_DOCKERD_URL, CRI_DOCKERD_SHA256, FLANNEL_URL, FLANNEL_SHA256, KUBERNETES_VERSION.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive KUBECONFIG=/etc/kubernetes/admin.conf

# Say what is done, and how many seconds after the start.
stage() { awk -v name="$1" -v start="$START" '{ gsub(" ", "_", name); printf "stage %s %.1f\n", name, $1 - start }' /proc/uptime; }
START=$(cut -d' ' -f1 /proc/uptime)

# The host: forwarding, no swap, the modules where the kernel has them as modules.
swapoff -a
sed -i '/\sswap\s/d' /etc/fstab
printf 'overlay\nbr_netfilter\n' > /etc/modules-load.d/kubernetes.conf
modprobe -a overlay br_netfilter 2>/dev/null || true
cat > /etc/sysctl.d/90-kubernetes.conf <<EOF
net.ipv4.ip_forward = 1
net.bridge.bridge-nf-call-iptables = 1
net.bridge.bridge-nf-call-ip6tables = 1
EOF
sysctl -q --load /etc/sysctl.d/90-kubernetes.conf

# Settings first, so that Docker starts with them.
mkdir -p /etc/docker "/etc/docker/certs.d/${IMAGE_REGISTRY%%/*}" /etc/apt/keyrings /etc/kubernetes
cat > /etc/docker/daemon.json <<EOF
{
  "exec-opts": ["native.cgroupdriver=systemd"],
  "log-driver": "json-file",
  "log-opts": {"max-size": "100m", "max-file": "3"},
  "storage-driver": "overlay2"
}
EOF
printf '%s\n' "$REGISTRY_CA" > "/etc/docker/certs.d/${IMAGE_REGISTRY%%/*}/ca.crt"

curl -fsSL "${REPOSITORY}Release.key" -o /run/kubernetes.asc
gpg --batch --with-colons --show-keys /run/kubernetes.asc | grep -q "^fpr:*$FINGERPRINT:"
gpg --batch --yes --dearmor -o /etc/apt/keyrings/kubernetes.gpg /run/kubernetes.asc
echo "deb [signed-by=/etc/apt/keyrings/kubernetes.gpg] $REPOSITORY /" > /etc/apt/sources.list.d/kubernetes.list
apt-get update -qq
stage "package lists"
apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 docker.io docker-cli conntrack socat ethtool ebtables \
  "kubelet=$KUBERNETES_VERSION-*" "kubeadm=$KUBERNETES_VERSION-*" "kubectl=$KUBERNETES_VERSION-*" cri-tools > /dev/null
apt-mark hold docker.io kubelet kubeadm kubectl cri-tools kubernetes-cni > /dev/null
stage "packages"

# cri-dockerd
curl -fsSL "$CRI_DOCKERD_URL" -o /run/cri-dockerd.tgz
echo "$CRI_DOCKERD_SHA256  /run/cri-dockerd.tgz" | sha256sum --quiet -c
tar -xzf /run/cri-dockerd.tgz -C /usr/local/bin --strip-components=1 cri-dockerd/cri-dockerd
rm /run/cri-dockerd.tgz
cat > /etc/systemd/system/cri-docker.service <<EOF
[Unit]
Description=CRI for Docker Engine
After=network-online.target docker.service
Wants=network-online.target docker.service
Requires=cri-docker.socket

[Service]
Type=notify
ExecStart=/usr/local/bin/cri-dockerd --container-runtime-endpoint fd:// --pod-infra-container-image=$IMAGE_REGISTRY/pause:3.10.2
Restart=always
Delegate=yes
KillMode=process

[Install]
WantedBy=multi-user.target
EOF
cat > /etc/systemd/system/cri-docker.socket <<EOF
[Unit]
Description=CRI socket for Docker Engine

[Socket]
ListenStream=/run/cri-dockerd.sock
SocketMode=0660
SocketUser=root
SocketGroup=docker

[Install]
WantedBy=sockets.target
EOF
cat > /etc/crictl.yaml <<EOF
runtime-endpoint: unix:///run/cri-dockerd.sock
image-endpoint: unix:///run/cri-dockerd.sock
EOF
systemctl daemon-reload
systemctl enable -q --now docker cri-docker.socket cri-docker
stage "runtime"

# cgroup v1 and a read-only conntrack table must be allowed for where they are found.
cgroup_v1=false
[ -f /sys/fs/cgroup/cgroup.controllers ] || cgroup_v1=true
conntrack='{}'
[ -w /proc/sys/net/netfilter/nf_conntrack_max ] || conntrack='{maxPerCore: 0, min: 0}'
cat > /etc/kubernetes/kubeadm.yaml <<EOF
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $(hostname -I | cut -d' ' -f1)}
nodeRegistration:
  criSocket: unix:///run/cri-dockerd.sock
  taints: []
  imagePullSerial: false
$($cgroup_v1 && echo '  ignorePreflightErrors: [SystemVerification]')
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v$KUBERNETES_VERSION
imageRepository: $IMAGE_REGISTRY
networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12}
# Without this, kubectl exec does not work with cri-dockerd from 1.36 on.
apiServer: {extraArgs: [{name: feature-gates, value: ExtendWebSocketsToKubelet=false}]}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: systemd
featureGates: {ExtendWebSocketsToKubelet: false}
$($cgroup_v1 && echo 'failCgroupV1: false')
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
conntrack: $conntrack
EOF
kubeadm config images pull --config /etc/kubernetes/kubeadm.yaml > /dev/null
stage "images"
systemctl enable -q kubelet
kubeadm init --config /etc/kubernetes/kubeadm.yaml > /var/log/kubeadm-init.log
mkdir -p ~/.kube
install -m 600 /etc/kubernetes/admin.conf ~/.kube/config
stage "kubeadm init"

curl -fsSL "$FLANNEL_URL" -o /run/kube-flannel.yml
echo "$FLANNEL_SHA256  /run/kube-flannel.yml" | sha256sum --quiet -c
sed "s|ghcr.io/flannel-io|$FLANNEL_REGISTRY|" /run/kube-flannel.yml | kubectl apply -f - > /dev/null
stage "flannel applied"
kubectl wait --for=condition=Ready node --all --timeout=180s > /dev/null
stage "node Ready"
kubectl -n kube-system rollout status deployment/coredns --timeout=180s > /dev/null
stage "DNS Ready"
