"""What a model takes for what it scores: time, memory, arithmetic, energy and money, measured or not at all."""
