"""The kit of stores and queues: engines, workers, group commit, migrations, errors of databases, lease holders."""
