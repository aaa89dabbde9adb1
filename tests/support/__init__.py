"""What tests against a started server have in common: processes, signatures, waiting."""
