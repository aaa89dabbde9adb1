"""The sections of the configuration, declared."""
