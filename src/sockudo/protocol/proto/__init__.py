"""The schema of protocol V2 in protocol buffers, and the module that ``scripts/proto`` generates from it."""
