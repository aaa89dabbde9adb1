"""What every room stands on: names, identifiers, time, tasks, the life of a component."""
