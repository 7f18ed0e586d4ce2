"""Forms in which the label map of a case is stored, each with a reader and a writer."""
