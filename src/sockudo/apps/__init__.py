"""The apps: who they are, what they may do, and where their records are kept."""
