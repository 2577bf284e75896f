#!/usr/bin/python3
"""Runs a command and prints what it and its children took, as one JSON line on stdout.

usage: measure.py [--settle SECONDS] COMMAND [ARG...]
wall_s   from start to end
cpu_s    user and system time of the command and of all its children that it waited for
peak_kib the largest resident size of any single one of these processes
"""
import json, resource, subprocess, sys, time

args = sys.argv[1:]
settle = 0.0
if args[0] == '--settle':
    settle, args = float(args[1]), args[2:]
began = time.time()
code = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode
wall = time.time() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
time.sleep(settle)  # guests finish booting, so that they do not slow down what is measured next
print(json.dumps({'wall_s': round(wall, 3), 'cpu_s': round(used.ru_utime + used.ru_stime, 3), 'peak_kib': used.ru_maxrss, 'exit': code}))
