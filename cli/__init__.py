"""The command line of lipcert: the only place that prints or exits."""
