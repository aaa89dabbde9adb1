"""The pipeline of push: from an accepted publish to what became of each recipient (spec: push § 6, 7)."""

from sockudo.push.pipeline.pipeline import Pipeline
from sockudo.push.pipeline.works import BreakerOptions, PipelineOptions, RetryOptions

__all__ = ["BreakerOptions", "Pipeline", "PipelineOptions", "RetryOptions"]
