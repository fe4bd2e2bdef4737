"""`optimizer doctor`: everything that a service needs, examined; what is wrong, and what to do about it.

It looks and changes nothing: the database is not migrated, and no file is made where there is none.
"""

from optimizer.doctor.examination import examine
from optimizer.doctor.findings import Finding, Level

__all__ = ["Finding", "Level", "examine"]
