"""The option `proxy` of every module that downloads; what it takes is module_utils.proxy.ARGUMENT."""


class ModuleDocFragment:
    """What is documented alike wherever it is."""

    DOCUMENTATION = r"""
options:
  proxy:
    description: HTTP proxy of the host, for what this module downloads and for its package manager. Empty means none.
    type: dict
    default: {}
    suboptions:
      http: {description: "Proxy for http addresses, C(http://[user:password@]name:port).", type: str, default: ""}
      https: {description: Proxy for https addresses., type: str, default: ""}
      no_proxy:
        description: "Names, domains (C(.example.com)), addresses and networks that are reached without it."
        type: list
        elements: str
        default: []
"""
