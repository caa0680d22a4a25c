"""Metrics, one file a family, by name: `get_metric("cider")(predictions, references).value`."""

from unified.evaluation.metrics.base import Metric, Score, get_metric, metric, metric_names

__all__ = ["Metric", "Score", "get_metric", "metric", "metric_names"]
