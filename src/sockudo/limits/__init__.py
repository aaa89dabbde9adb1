"""How often something may be asked for, and what was asked for already. Synchronous; time is passed in."""
