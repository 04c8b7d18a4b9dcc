"""What `headstart COMMAND` runs: a module each, named as the command, whose `main` is a click command.

They read the command line and print; what they do is done by the library.
"""
