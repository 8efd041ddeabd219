"""Exercises that check themselves: each checker takes the reader's function and says what is right or what is off.

>>> from casebook.exercises import ad_click
>>> ad_click.check_recalibration(my_function)  # doctest: +SKIP
"""

from casebook.exercises.result import Result

__all__ = ["Result"]
