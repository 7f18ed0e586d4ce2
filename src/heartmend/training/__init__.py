"""The one auto-decoder loop: sampling, losses, schedule, checkpoints."""
