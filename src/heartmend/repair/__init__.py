"""Label maps in, label maps and changes out: one file or folder for each method."""
