"""Property tests try the same examples on every run, and none fails because the machine is busy."""

import hypothesis

hypothesis.settings.register_profile("casebook", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("casebook")
