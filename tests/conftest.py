"""For all tests: a test says what is right, never how long it may take on a busy machine."""

from hypothesis import settings

settings.register_profile("c1m", deadline=None)
settings.load_profile("c1m")
