#!/usr/bin/python3
"""Seconds from the start of a domain's QEMU until its guest agent answers (Debian package python3-libvirt).

usage: agent-answers.py [--connect URI] [--restore FILE] DOMAIN
  --restore FILE   restore the domain from this file of libvirt, by an API call
  without          wait for a QEMU of the domain that starts from now on
Prints the seconds.
"""
import argparse, json, os, threading, time
import libvirt, libvirt_qemu

parser = argparse.ArgumentParser()
parser.add_argument('--connect', default='qemu:///system')
parser.add_argument('--restore')
parser.add_argument('domain')
options = parser.parse_args()
libvirt.registerErrorHandler(lambda *_: None, None)
ticks = os.sysconf('SC_CLK_TCK')


def qemus():
    """Seconds since the boot of this machine at which each QEMU of the domain started, by pid."""
    found = {}
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            words = open(f'/proc/{pid}/cmdline').read().split('\0')
            fields = open(f'/proc/{pid}/stat').read().rsplit(') ', 1)[1].split()
        except OSError:
            continue
        if any(word.startswith(f'guest={options.domain},') for word in words):
            found[pid] = int(fields[19]) / ticks
    return found


def answers(domain):
    try:
        libvirt_qemu.qemuAgentCommand(domain, json.dumps({'execute': 'guest-ping'}), 1, 0)
        return True
    except libvirt.libvirtError:
        return False


connection = libvirt.open(options.connect)
before = qemus()
print('ready', flush=True)
if options.restore:
    threading.Thread(target=libvirt.open(options.connect).restore, args=[options.restore]).start()
deadline = time.monotonic() + 120
while not (started := {pid: at for pid, at in qemus().items() if pid not in before}):
    if time.monotonic() > deadline:
        raise SystemExit('no QEMU was started')
    time.sleep(0.005)
domain = connection.lookupByName(options.domain)
while not answers(domain):
    if time.monotonic() > deadline:
        raise SystemExit('the agent does not answer')
    time.sleep(0.01)
print(round(time.clock_gettime(time.CLOCK_BOOTTIME) - min(started.values()), 3))
