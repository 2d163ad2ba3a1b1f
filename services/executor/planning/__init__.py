"""Which step may run now, with which values, and when it is tried again. Pure: no I/O, no clock."""
