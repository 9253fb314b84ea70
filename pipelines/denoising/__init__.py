"""Running batches of images through stock diffusers pipelines."""
