"""What `streamgate init` is made of: find a camera, watch it, propose settings, write the file."""
