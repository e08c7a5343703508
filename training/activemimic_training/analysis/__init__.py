"""What a policy would have done: its chunks on recorded observations, beside what was recorded.

In: a checkpoint and a dataset. Out: a page with every slot over time, the error by slot and step of the chunk, and
where the hands would have gone, drawn on the head camera's image. Start with `predict.py`.
"""

from activemimic_training.analysis.open_loop_page import run_openloop
from activemimic_training.analysis.predict import OpenLoopError, Prediction, predict_episode

__all__ = ["OpenLoopError", "Prediction", "predict_episode", "run_openloop"]
