"""The command `activemimic`: words in a terminal enter, calls of the other packages leave.

Nothing heavy is imported before a command runs, so that `--help` answers at once. Open `main.py` first.
"""
