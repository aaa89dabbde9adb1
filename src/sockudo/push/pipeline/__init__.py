"""The pipeline of push: from an accepted publish to what became of each recipient (spec: push § 6, 7)."""

from sockudo.push.pipeline.pipeline import Pipeline

__all__ = ["Pipeline"]
