"""Pages to look at: what a run made of one episode, and of a whole corpus; and an episode as a Rerun recording.

In: a run's folder, finished or not. Open `episode_view.py` first: what is known of an episode, from whichever stages
there are; then `projection.py`, where it lies in the image, and `episode_page.py`, whose markup and script are in
`templates`.
"""
