"""The one auto-decoder loop: points drawn from label maps, losses, checkpoints. Every stage that fits uses it."""
