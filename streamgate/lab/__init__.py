"""Work on recordings and folders of faces, never on a live camera.

Only the command line imports this package.
"""
