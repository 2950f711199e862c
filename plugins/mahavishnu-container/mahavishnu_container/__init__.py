"""The place ``container``: Mahavishnu's workers in containers of Docker or Podman."""
