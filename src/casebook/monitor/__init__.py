"""Step 7, monitor: drift of inputs, calibration over time, alerts with their false-alarm rate."""

from casebook.monitor.alerts import (
    AlertThreshold,
    alarms,
    average_run_length,
    block_bootstrap,
    detection_delay,
    first_alarm,
    threshold_for_run_length,
    threshold_from_history,
)
from casebook.monitor.calibration import Cusum, calibration_cusum, cusum_statistic, observed_over_expected
from casebook.monitor.drift import KS, Reference, ks, null_rate, psi, psi_threshold

__all__ = [
    "KS", "AlertThreshold", "Cusum", "Reference", "alarms", "average_run_length", "block_bootstrap",
    "calibration_cusum", "cusum_statistic", "detection_delay", "first_alarm", "ks", "null_rate",
    "observed_over_expected", "psi", "psi_threshold", "threshold_for_run_length", "threshold_from_history",
]  # fmt: skip
