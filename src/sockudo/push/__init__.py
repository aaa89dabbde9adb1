"""Push notifications: who gets them, what was accepted, and what became of each (contract 50)."""
