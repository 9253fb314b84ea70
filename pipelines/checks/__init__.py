"""What is held against a model's card before its weights are read; free of torch."""
