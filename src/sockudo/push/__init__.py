"""Push notifications: who gets them, what was accepted, and what became of each (spec: push § 1 to 9)."""
