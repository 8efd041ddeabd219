"""Step 3, prepare the data: splits in time, sampling."""

from casebook.data.sampling import correct_downsampled, downsample_negatives
from casebook.data.splits import Fold, Split, rolling_origin, time_split

__all__ = ["Fold", "Split", "correct_downsampled", "downsample_negatives", "rolling_origin", "time_split"]
