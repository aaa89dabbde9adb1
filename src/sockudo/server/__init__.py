"""The assembly: gathers the components and the wings of a server, starts and stops them."""
