"""What a body allows, as data: structures, their order of priority, and the parameters of the rules of anatomy."""
