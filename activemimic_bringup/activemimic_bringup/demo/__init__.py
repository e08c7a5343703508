"""The whole loop in ten minutes: record, generate, train, serve, evaluate, report.

In: nothing but this installation. Out: `report.html` and `summary.json`. Start with `run.py`; `page.py` shows.
"""

from activemimic_bringup.demo.run import run

__all__ = ["run"]
