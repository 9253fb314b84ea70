"""Images on their way through a denoiser."""
