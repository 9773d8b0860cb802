"""From a video to an answer: the people in it, their expressions, a class for each, and why some have none.

Start with `recognise`.
"""

from mien.recognition.recognise import recognise
from mien.recognition.records import Answer, Event, Moment, Reason, Track, UnitAnswer, VideoFacts

__all__ = ["Answer", "Event", "Moment", "Reason", "Track", "UnitAnswer", "VideoFacts", "recognise"]
