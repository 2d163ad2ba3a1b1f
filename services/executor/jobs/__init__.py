"""Jobs that run elsewhere: how one is started, followed and ended, and how what it tells becomes outputs."""
