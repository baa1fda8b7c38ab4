"""`make bench`: a by-hand script against `kubestrap up`, in turn, on identical fresh hosts."""
