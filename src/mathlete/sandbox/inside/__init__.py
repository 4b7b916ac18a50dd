"""What runs inside the jail: started as a program by the host, never imported by it.

Standard library only. `boot.py` is the program; `guard` closes the doors, `zygote` forks the
sessions, `session` runs the blocks.
"""
