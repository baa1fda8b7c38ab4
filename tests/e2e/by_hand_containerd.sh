#!/bin/bash
# One bare Debian host with containerd becomes a control plane (init) or a worker (join COMMAND...), as a person types it
# from the documentation of Kubernetes: no hold, pods in $POD_CIDR, the kubeconfig of the user ada.
#
# The environment says where things come from; see tests/benchmarks/by_hand.sh.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
swapoff -a
printf 'overlay\nbr_netfilter\n' > /etc/modules-load.d/k8s.conf
modprobe -a overlay br_netfilter 2>/dev/null || true
printf 'net.ipv4.ip_forward = 1\nnet.bridge.bridge-nf-call-iptables = 1\n' > /etc/sysctl.d/k8s.conf
sysctl -q --load /etc/sysctl.d/k8s.conf
mkdir -p /etc/apt/keyrings
curl -fsSL "${REPOSITORY}Release.key" | gpg --batch --yes --dearmor -o /etc/apt/keyrings/kubernetes-apt-keyring.gpg
echo "deb [signed-by=/etc/apt/keyrings/kubernetes-apt-keyring.gpg] $REPOSITORY /" > /etc/apt/sources.list.d/kubernetes.list
apt-get update -qq
apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 containerd conntrack socat \
  "kubelet=$KUBERNETES_VERSION-*" "kubeadm=$KUBERNETES_VERSION-*" "kubectl=$KUBERNETES_VERSION-*" cri-tools > /dev/null
directory="/etc/containerd/certs.d/${IMAGE_REGISTRY%%/*}"
mkdir -p "$directory" /etc/cni/net.d
printf '%s\n' "$REGISTRY_CA" > "$directory/ca.crt"
printf 'server = "https://%s"\nca = "%s/ca.crt"\n' "${IMAGE_REGISTRY%%/*}" "$directory" > "$directory/hosts.toml"
containerd config default | sed -e 's/SystemdCgroup = false/SystemdCgroup = true/' \
  -e 's|bin_dir = .*|bin_dir = "/opt/cni/bin"|' -e "s|sandbox_image = .*|sandbox_image = \"$IMAGE_REGISTRY/pause:3.10.2\"|" \
  -e '0,/config_path = ""/s||config_path = "/etc/containerd/certs.d"|' > /etc/containerd/config.toml
systemctl restart containerd
systemctl enable -q kubelet

cgroup_v1=false
[ -f /sys/fs/cgroup/cgroup.controllers ] || cgroup_v1=true
conntrack='{}'
[ -w /proc/sys/net/netfilter/nf_conntrack_max ] || conntrack='{maxPerCore: 0, min: 0}'
ignore=$($cgroup_v1 && echo --ignore-preflight-errors=SystemVerification || true)
if [ "$1" = join ]; then
  shift
  exec "$@" $ignore > /var/log/kubeadm-join.log
fi
cat > /root/kubeadm.yaml <<END
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration: {imagePullSerial: false$($cgroup_v1 && echo ', ignorePreflightErrors: [SystemVerification]')}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v$KUBERNETES_VERSION
imageRepository: $IMAGE_REGISTRY
networking: {podSubnet: $POD_CIDR}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
$($cgroup_v1 && echo 'failCgroupV1: false')
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
conntrack: $conntrack
END
kubeadm init --config /root/kubeadm.yaml > /var/log/kubeadm-init.log
useradd --create-home ada
install -D -m 600 -o ada -g ada /etc/kubernetes/admin.conf /home/ada/.kube/config
export KUBECONFIG=/etc/kubernetes/admin.conf
curl -fsSL "$FLANNEL_URL" -o /root/kube-flannel.yml
sed -e "s|ghcr.io/flannel-io|$FLANNEL_REGISTRY|" -e "s|10.244.0.0/16|$POD_CIDR|" /root/kube-flannel.yml | kubectl apply -f - > /dev/null
kubectl wait --for=condition=Ready node --all --timeout=180s > /dev/null
