"""What happens on the server, for the people who look: live entries while a watcher is there, and recent problems."""

from sockudo.inspector.entry import KINDS, PROBLEMS, Entry, Kind
from sockudo.inspector.inspector import Inspector
from sockudo.inspector.problems import Group, Problems
from sockudo.inspector.watcher import Selection, Watcher

__all__ = ["KINDS", "PROBLEMS", "Entry", "Group", "Inspector", "Kind", "Problems", "Selection", "Watcher"]
