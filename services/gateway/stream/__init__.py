"""Live views: fan-out of what happens, and the story of one run from any point on."""
