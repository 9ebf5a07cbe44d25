"""Lets the log of an agent grow, by two users who log in again and again."""

import os
import sys
import time

print("ready", flush=True)
with open(os.path.join(os.environ["DIR"], "auth.log"), "a") as log:
    while True:
        log.write("login ann\nlogin bob\n")
        log.flush()
        time.sleep(0.05)
