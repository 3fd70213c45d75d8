"""Servers that speak and listen, guarded like those that answer. Imported with the first use of the voice."""

from backend_client.speech.asking import SpeechTimeouts
from backend_client.speech.ears import ScribeEar, ServerEar, TranscriptionEar
from backend_client.speech.mouths import ElevenLabsMouth, ServerMouth, SpeechMouth
from backend_client.speech.server import SpeechServer
from backend_client.speech.transcripts import Heard

__all__ = [
    "ElevenLabsMouth",
    "Heard",
    "ScribeEar",
    "ServerEar",
    "ServerMouth",
    "SpeechMouth",
    "SpeechServer",
    "SpeechTimeouts",
    "TranscriptionEar",
]
