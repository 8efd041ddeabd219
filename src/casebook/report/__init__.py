"""How results leave a notebook: claims, recorded numbers, tables and figures, each under a name.

Every output carries a record in its metadata. The design pages read their numbers from these records, and the
comparison of a re-executed notebook with the stored one works on them: numbers within a tolerance, figures by their
pixels, everything else as text.
"""

from casebook.report.claims import KINDS, ClaimFailed, claim
from casebook.report.figures import COLOURS, figure, style
from casebook.report.fingerprint import changes, fingerprint
from casebook.report.records import record
from casebook.report.tables import table

__all__ = ["COLOURS", "KINDS", "ClaimFailed", "changes", "claim", "figure", "fingerprint", "record", "style", "table"]
