"""The job queue: work that waits for its time, done by one worker at a time; in memory, in databases, in Redis."""
