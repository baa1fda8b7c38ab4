#!/bin/bash
# One bare Debian host becomes a control plane (init) or a worker (join COMMAND...), as a person types it from the
# documentation of Kubernetes. The environment says where things come from (see tools/benchmarks/by_hand.sh), and:
# RUNTIME (docker, containerd), HOLD (yes, no), PEOPLE who get a kubeconfig, POD_CIDR, NETWORK (flannel,
# old-flannel: in kube-system, as its manifests were for years; bridge: no DaemonSet, only files and routes).
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
registry=${IMAGE_REGISTRY%%/*}
if [ "$RUNTIME" = docker ]; then
  packages="docker.io docker-cli" socket=unix:///run/cri-dockerd.sock
  mkdir -p "/etc/docker/certs.d/$registry"
  printf '%s\n' "$REGISTRY_CA" > "/etc/docker/certs.d/$registry/ca.crt"
  printf '{"exec-opts": ["native.cgroupdriver=systemd"], "storage-driver": "overlay2"}\n' > /etc/docker/daemon.json
else
  packages=containerd socket=unix:///run/containerd/containerd.sock
fi
# shellcheck disable=SC2086 # the names of several packages
apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 $packages conntrack socat \
  "kubelet=$KUBERNETES_VERSION-*" "kubeadm=$KUBERNETES_VERSION-*" "kubectl=$KUBERNETES_VERSION-*" cri-tools > /dev/null
[ "$HOLD" = no ] || apt-mark hold kubelet kubeadm kubectl > /dev/null
if [ "$RUNTIME" = docker ]; then
  curl -fsSL "$CRI_DOCKERD_URL" | tar -xz -C /usr/local/bin --strip-components=1 cri-dockerd/cri-dockerd
  # Under both names that are in use.
  unit=cri-docker$([ "$1" = init ] || echo d).service
  cat > "/etc/systemd/system/$unit" <<END
[Unit]
Description=CRI for Docker Engine
After=docker.service
Requires=docker.service

[Service]
Type=notify
ExecStart=/usr/local/bin/cri-dockerd --container-runtime-endpoint $socket --pod-infra-container-image=$IMAGE_REGISTRY/pause:3.10.2
Restart=always
Delegate=yes
KillMode=process

[Install]
WantedBy=multi-user.target
END
  systemctl daemon-reload
  systemctl enable -q --now docker "$unit"
else
  directory="/etc/containerd/certs.d/$registry"
  mkdir -p "$directory"
  printf '%s\n' "$REGISTRY_CA" > "$directory/ca.crt"
  printf 'server = "https://%s"\nca = "%s/ca.crt"\n' "$registry" "$directory" > "$directory/hosts.toml"
  containerd config default | sed -e 's/SystemdCgroup = false/SystemdCgroup = true/' \
    -e 's|bin_dir = .*|bin_dir = "/opt/cni/bin"|' -e "s|sandbox_image = .*|sandbox_image = \"$IMAGE_REGISTRY/pause:3.10.2\"|" \
    -e '0,/config_path = ""/s||config_path = "/etc/containerd/certs.d"|' > /etc/containerd/config.toml
  systemctl restart containerd
fi
systemctl enable -q kubelet

cgroup_v1=false
[ -f /sys/fs/cgroup/cgroup.controllers ] || cgroup_v1=true
conntrack='{}'
[ -w /proc/sys/net/netfilter/nf_conntrack_max ] || conntrack='{maxPerCore: 0, min: 0}'
ignore=$($cgroup_v1 && echo --ignore-preflight-errors=SystemVerification || true)
if [ "$1" = join ]; then
  shift
  exec "$@" --cri-socket "$socket" $ignore > /var/log/kubeadm-join.log
fi
# Without the feature gate, kubectl exec does not work with cri-dockerd from 1.36 on.
gate=ExtendWebSocketsToKubelet
cat > /root/kubeadm.yaml <<END
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration:
  criSocket: $socket
  imagePullSerial: false
$($cgroup_v1 && echo '  ignorePreflightErrors: [SystemVerification]')
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v$KUBERNETES_VERSION
imageRepository: $IMAGE_REGISTRY
networking: {podSubnet: $POD_CIDR}
$([ "$RUNTIME" = containerd ] || echo "apiServer: {extraArgs: [{name: feature-gates, value: $gate=false}]}")
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
$([ "$RUNTIME" = containerd ] || echo "featureGates: {$gate: false}")
$($cgroup_v1 && echo 'failCgroupV1: false')
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
conntrack: $conntrack
END
kubeadm init --config /root/kubeadm.yaml > /var/log/kubeadm-init.log
for person in $PEOPLE; do
  id "$person" > /dev/null 2>&1 || useradd --create-home "$person"
  install -D -m 600 -o "$person" -g "$person" /etc/kubernetes/admin.conf "$(eval echo "~$person")/.kube/config"
done
export KUBECONFIG=/etc/kubernetes/admin.conf
[ "$NETWORK" != bridge ] || exit 0
curl -fsSL "$FLANNEL_URL" -o /root/kube-flannel.yml
sed -i -e "s|ghcr.io/flannel-io|$FLANNEL_REGISTRY|" -e "s|10.244.0.0/16|$POD_CIDR|" /root/kube-flannel.yml
[ "$NETWORK" = flannel ] || sed -i -e 's/namespace: kube-flannel/namespace: kube-system/' \
  -e 's/name: kube-flannel-ds/name: kube-flannel-ds-amd64/' -e 's/^  name: kube-flannel$/  name: kube-system/' /root/kube-flannel.yml
kubectl apply -f /root/kube-flannel.yml > /dev/null
