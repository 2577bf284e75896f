"""Runs a command in the root shell on the serial console of a domain, see guest.sh.

guest.py UUID COMMAND
"""

import re
import sys
import uuid

import libvirt

domain_uuid, command = sys.argv[1:]
# The terminal shows what is typed: with the quotes, which the lines written by echo do not have.
mark = uuid.uuid4().hex
line = f'echo "<"begin {mark}; {command}; echo "<"end {mark} $?\n'

connection = libvirt.open("qemu:///system")
stream = connection.newStream()
connection.lookupByUUIDString(domain_uuid).openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)


def send(text):
    data = text.encode()
    while data:
        data = data[stream.send(data) :]


def read_until(pattern):
    text = ""
    while not (found := re.search(pattern, text, re.DOTALL)):
        data = stream.recv(4096)
        if not data:
            sys.exit("the console was closed")
        text += data.decode(errors="replace")
    return found


# The prompt of a shell that is waiting, or of one that starts now.
send("\n")
read_until("# ")
send(line)
output, status = read_until(f"<begin {mark}\r?\n(.*?)<end {mark} (\\d+)").groups()
sys.stdout.write(output.replace("\r\n", "\n"))
stream.abort()
sys.exit(int(status))
