"""The verbs. Each reads what the one before it left in the run folder, and leaves its own there.

prepare -> fit -> refine -> fuse; they meet through the run folder alone and never import each other.
"""
