"""From a raw video to an answer: who is in it, what was found and named, and what was not.

`recognise` is the door.
"""

from mien.recognition.recognise import recognise
from mien.recognition.records import Answer, Event, Moment, Reason, Track, VideoFacts

__all__ = ["Answer", "Event", "Moment", "Reason", "Track", "VideoFacts", "recognise"]
