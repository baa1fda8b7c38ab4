"""From bare Linux machines to your app answering on Kubernetes."""

__version__ = "0.1.0"
