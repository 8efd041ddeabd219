"""Step 5, evaluate: metrics, intervals over the right unit, experiments, off-policy estimates."""

from casebook.evaluate.experiments import (
    Cuped,
    Difference,
    SampleRatio,
    analyse_difference,
    analyse_ratio,
    cuped,
    minimum_detectable_effect,
    sample_ratio_check,
    sample_size,
    statistical_power,
)
from casebook.evaluate.intervals import (
    Interval,
    bootstrap_mean,
    bootstrap_metric,
    bootstrap_ratio,
    cluster_bootstrap,
    paired_bootstrap,
    sums_by_unit,
    wilson_interval,
)
from casebook.evaluate.metrics import (
    GroupedAUC,
    brier_score,
    calibration_by_slice,
    calibration_ratio,
    expected_calibration_error,
    grouped_auc,
    log_loss,
    normalized_entropy,
    pointwise_log_loss,
    reliability_curve,
    roc_auc,
    share_of_gain,
)
from casebook.evaluate.offpolicy import doubly_robust, effective_sample_size, importance_weights, ips, snips

__all__ = [
    "Cuped", "Difference", "GroupedAUC", "Interval", "SampleRatio", "analyse_difference", "analyse_ratio",
    "bootstrap_mean", "bootstrap_metric", "bootstrap_ratio", "brier_score", "calibration_by_slice", "calibration_ratio",
    "cluster_bootstrap", "cuped", "doubly_robust", "effective_sample_size", "expected_calibration_error", "grouped_auc",
    "importance_weights", "ips", "log_loss", "minimum_detectable_effect", "normalized_entropy", "paired_bootstrap",
    "pointwise_log_loss", "reliability_curve", "roc_auc", "sample_ratio_check", "sample_size", "share_of_gain", "snips",
    "statistical_power", "sums_by_unit", "wilson_interval",
]  # fmt: skip
