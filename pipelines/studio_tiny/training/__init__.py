"""The training of studio-tiny from nothing: pictures made on the fly, an autoencoder, then denoiser and text encoder."""
