#!/usr/bin/python3
"""The floor: the least that any tool can do for a fleet through libvirt, by bare API calls (Debian package python3-libvirt).

usage: floor.py [--threads T] [--connections C] [--connect URI] XML_DIR BASE PHASE...
  XML_DIR  one domain XML per member; the first <source file=...> of each is its overlay
  BASE     the backing image (qcow2)
  PHASE    spawn (overlays, define, start), reset (destroy, overlays, start), teardown (destroy, undefine, unlink)
Prints one JSON object: for each phase seconds of wall and of each of its parts.
"""
import argparse, concurrent.futures, glob, json, os, re, subprocess, time
import libvirt

parser = argparse.ArgumentParser()
parser.add_argument('--threads', type=int, default=8)
parser.add_argument('--connections', type=int, default=4)
parser.add_argument('--connect', default='qemu:///system')
parser.add_argument('--settle', type=float, default=2.0)
parser.add_argument('xml_dir')
parser.add_argument('base')
parser.add_argument('phases', nargs='+', choices=['spawn', 'reset', 'teardown'])
options = parser.parse_args()

libvirt.registerErrorHandler(lambda *_: None, None)
xml = {}
for path in sorted(glob.glob(options.xml_dir + '/*.xml')):
    text = open(path).read()
    xml[re.search(r'<name>([^<]+)</name>', text).group(1)] = text
disk = {name: re.search(r'<source file=[\'"]([^\'"]+)', text).group(1) for name, text in xml.items()}
connections = [libvirt.open(options.connect) for _ in range(options.connections)]
pool = concurrent.futures.ThreadPoolExecutor(options.threads)
domains = {}


def each(work):
    list(pool.map(lambda item: work(*item), enumerate(xml)))


def overlays():
    names = list(xml)
    first = disk[names[0]]
    os.makedirs(os.path.dirname(first), exist_ok=True)
    if os.path.exists(first):
        os.unlink(first)
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', os.path.abspath(options.base), first], check=True)
    data = open(first, 'rb').read()
    for name in names[1:]:
        with open(disk[name], 'wb') as file:
            file.write(data)


def define():
    each(lambda i, name: domains.__setitem__(name, connections[i % len(connections)].defineXML(xml[name])))


def start():
    each(lambda i, name: domains[name].create())


def destroy():
    each(lambda i, name: domains[name].destroy())


def undefine():
    each(lambda i, name: domains[name].undefine())


def unlink():
    for path in disk.values():
        os.unlink(path)


parts = {'spawn': [overlays, define, start], 'reset': [destroy, overlays, start], 'teardown': [destroy, undefine, unlink]}
result = {}
for phase in options.phases:
    began = time.time()
    result[phase] = {}
    for part in parts[phase]:
        part_began = time.time()
        part()
        result[phase][part.__name__] = round(time.time() - part_began, 3)
    result[phase]['wall_s'] = round(time.time() - began, 3)
    time.sleep(options.settle)  # guests finish booting, so that they do not slow down what is measured next
print(json.dumps(result))
