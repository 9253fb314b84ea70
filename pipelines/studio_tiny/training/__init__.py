"""Train studio-tiny from nothing: pictures made on the fly, an autoencoder, then the denoiser with its text."""
