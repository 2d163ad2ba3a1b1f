"""Five deployable processes. None imports another; what they share lies in `shared`."""
