"""Large models on a GPU, with random weights in the shapes of real ones: bare diffusers beside Backlot."""
