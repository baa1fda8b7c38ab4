"""Examples at the end of every help text."""

ALL = """\
from bare machines to your app:
  kubestrap init 203.0.113.10 203.0.113.11 --user admin   write inventory.yml; the first host is the control plane
  kubestrap check                                         is everything ready? changes nothing
  kubestrap up                                            make the cluster, deploy the app, print its address

a cluster on this machine, gone with one command:
  kubestrap lab up && kubestrap up -i .kubestrap/labs/demo/inventory.yml

exit codes:
  0 done · 2 bad inventory or usage · 3 check found blockers · 4 hosts unreachable · 5 a step failed
  6 done, but some hosts are set aside · 7 the cluster is up, the app is not · 130 interrupted
  1 a bug in kubestrap"""
INIT = """\
examples:
  kubestrap init                                  three documentation addresses to replace
  kubestrap init 203.0.113.10 203.0.113.11        the first is the control plane, the others are workers
  kubestrap init --control-plane cp worker1 worker2 --user admin -o prod.yml"""
CHECK = """\
examples:
  kubestrap check
  kubestrap check -i prod.yml --limit workers
  kubestrap check --output json | tail -n 1 | jq .findings"""
UP = """\
examples:
  kubestrap up
  kubestrap up -i prod.yml -e cluster_kubernetes_version=1.36.4
  kubestrap up -i prod.yml --limit worker9        one new worker; asks the control plane, looks at no other host
  kubestrap up -i prod.yml -e @mirror.yml --output json | tail -n 1 | jq .changed"""
DEPLOY = """\
examples:
  docker build -t shop:2 . && kubestrap deploy    the manifests name shop:2
  kubestrap deploy -i prod.yml"""
PUSH = """\
examples:
  kubestrap image push shop:2
  kubestrap image push                 the images of the app
  kubestrap image push shop-2.tar      made by `docker save -o shop-2.tar shop:2`"""
STATUS = """\
examples:
  kubestrap status
  kubestrap status --output json | tail -n 1 | jq -r '.app_urls[]'"""
MINIKUBE = """\
examples:
  kubestrap minikube up                  on the host of the group minikube
  kubestrap minikube up -e cluster_minikube_driver=none
  kubestrap minikube down"""
LAB = """\
examples:
  kubestrap lab up --workers 2
  kubestrap lab ssh demo-cp1 -- uname -a
  kubestrap lab down"""
