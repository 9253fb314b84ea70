"""The two ways to run batches of images through stock diffusers pipelines, and what they need."""
