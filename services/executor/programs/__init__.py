"""Programs that commands start as processes of their own, so that limits, users, cancel and timeout hold for them."""
