"""The speed and memory of the server beside other servers under the same load: ``scripts/bench``."""
