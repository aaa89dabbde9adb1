"""How nodes behave as one server: the ports, and the cluster of one node inside its process."""
