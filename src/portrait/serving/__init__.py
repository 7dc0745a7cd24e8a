"""What every request needs beside its answer: a turn, a name for the log, an end when its caller leaves."""
