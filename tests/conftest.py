"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# The limits of Hypothesis for the time of an example fail on a busy machine.
settings.register_profile("heartmend", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("heartmend")
