"""What the models are asked."""

SEGMENT = """\
These are frames of a video that a person's own head or chest camera took, each after its time in the video.
They go from {from_s:.1f} to {to_s:.1f} seconds.

List the intervals in which this person works with the hands on an object, with an aim that can be named: opening a
jar, folding a towel, driving in a screw. One interval is one such task, from when a hand reaches for the object until
it lets go or the aim is met. Intervals may overlap when the two hands do different things.

Leave out everything else: walking, looking around, waiting, watching others, hands that rest or gesture, and motion of
the camera alone. Leave out what other people do. An empty list is a good answer.

For each interval give
- start, end: seconds in the video, as the frames' times count them;
- action: one verb, with its particle if it has one ("pick up");
- objects: the things that are handled, the one that the action is about first;
- task: an instruction of one sentence that a helper could follow, made of the action and the objects.

Answer with JSON alone: {{"segments": [{{"start": 12.0, "end": 17.5, "action": "open", "objects": ["jar"], \
"task": "Open the jar"}}]}}
"""

FILTER = """\
Below are tasks seen in videos from people's own cameras. They shall teach a robot that works indoors with its hands.
Judge each by three questions, from its words alone:
- hands: do hands handle an object? Not so for walking, talking, looking, gestures, sport without a thing in the hand.
- artificial: is everything that is handled a made thing, such as a tool, vessel, device, cloth, piece of furniture, or
  prepared food and its packaging? Not so for people, animals and parts of a body, nor for plants, soil, sand, stones,
  wood as it grows.
- indoors: is it likely done inside a building? Not so for gardens, fields, streets, building sites.

Answer with JSON alone, one verdict for every task, `reason` in a few words:
{{"verdicts": [{{"number": 0, "hands": true, "artificial": true, "indoors": true, "reason": "cup on a table"}}]}}

Tasks:
{tasks}
"""
