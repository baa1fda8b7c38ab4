"""Documentation of the action plugin node_images."""

DOCUMENTATION = """
module: node_images
short_description: Bring images from the operator's machine to a host
description:
  - Streams images into the host's Docker or containerd over the SSH connection, without a registry or a file there.
  - Hosts of one play that lack the same image stand in a line. It leaves the operator's machine once, for the first;
    each host gives it on to the next while it comes, over TLS, with a certificate made for this line alone.
  - What a host gives on is not believed. Over a host's own SSH connection the operator's machine says the SHA-256 of
    every block (256 KiB) of the archive; what differs reaches neither the runtime nor the next host. A host that
    refuses gets the image from the operator's machine, and the result names the host before it.
  - Not more hosts stand in a line than Ansible works on at a time (forks); further ones make the next line.
  - A host that does not reach the one before it, or has no C(python3), gets the image from the operator's machine.
    C(-vv) says why.
  - An image the host already has with the same content (layers, time, platform, all settings) is skipped.
  - Runs on the operator's machine, for all hosts side by side. Docker packs an image once for all of them, into a file
    that is gone when the run ends; where there is no room for that, once for each.
version_added: 0.1.0
author: kubestrap contributors
options:
  images:
    description: Names in the operator's Docker, or archives made by C(docker save) (paths that end in .tar).
    type: list
    elements: str
    default: []
  manifests:
    description:
      - Kubernetes manifests, as files or directories of *.yaml, *.yml and *.json. The images of their containers with
        C(imagePullPolicy Never) are brought too.
    type: list
    elements: str
    default: []
  base:
    description: Directory at which relative paths start.
    type: str
  address:
    description:
      - Where the other hosts reach this one, for as long as an image takes; the port is any free one.
      - When empty, the address of the host's default route.
    type: str
    default: ""
  relay:
    description: Whether hosts give images on to each other. When false, each gets them from the operator's machine.
    type: bool
    default: true
  container_runtime:
    description: What runs the containers of the host.
    type: str
    default: docker
    choices: [docker, containerd]
attributes:
  check_mode: {description: Says what it would change and changes nothing., support: full}
  diff_mode: {description: Shows what it changes., support: none}
"""

EXAMPLES = """
- name: Bring the app's image to the node
  kubestrap.cluster.node_images:
    images: [shop:1.2]

- name: Bring every image that the app's manifests name and no registry holds
  kubestrap.cluster.node_images:
    manifests: [k8s]
    base: "{{ inventory_dir }}"
"""

RETURN = """
findings:
  description: A warning for each host that gave on another archive than the one that was sent.
  type: list
  returned: when a host was refused
images:
  description: Names of all the images, those from archives included.
  type: list
  returned: success
sent:
  description: Names of the images the host lacked.
  type: list
  returned: success
relayed:
  description: Those of them that another host gave on.
  type: list
  returned: success
"""
