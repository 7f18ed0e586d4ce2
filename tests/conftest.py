"""Settings of all tests."""

import signal

from hypothesis import HealthCheck, settings

# A shell starts what it runs in the background with Ctrl-C ignored, which the tests of Ctrl-C would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The limits of Hypothesis for the time of an example fail on a busy machine.
settings.register_profile("heartmend", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("heartmend")
